package lint

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// tablePath is the file of the counts that packages may have: a line for each,
// sorted, with a column for each kind. A package without a line has zeros.
const tablePath = "testenv/lint/english.txt"

// table is counts by package, and then by the name of the kind.
type table map[string]map[string]int

// readTable reads the counts. A tree without the file has none.
func readTable(t *tree) (table, []Finding) {
	limits := make(table)
	i := slices.IndexFunc(t.files, func(f file) bool { return f.path == tablePath })
	if i < 0 {
		return limits, nil
	}
	var findings []Finding
	last := ""
	for i, line := range strings.Split(strings.TrimSpace(string(t.files[i].text)), "\n") {
		fields := strings.Fields(line)
		if i == 0 {
			if !slices.Equal(fields, header()) {
				return limits, []Finding{{Path: tablePath, Line: 1, What: "columns are not the kinds that are counted", Remedy: "write " + strings.Join(header(), " ")}}
			}
			continue
		}
		row, err := readRow(fields)
		if err != nil {
			findings = append(findings, Finding{Path: tablePath, Line: i + 1, What: err.Error(), Remedy: "write a package and a number for each column"})
			continue
		}
		if fields[0] <= last {
			findings = append(findings, Finding{Path: tablePath, Line: i + 1, What: fields[0] + " is out of order", Remedy: "keep one line a package, sorted"})
		}
		last, limits[fields[0]] = fields[0], row
	}
	return limits, findings
}

func header() []string {
	names := []string{"package"}
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

func readRow(fields []string) (map[string]int, error) {
	if len(fields) != len(kinds)+1 {
		return nil, fmt.Errorf("%d columns, want %d", len(fields), len(kinds)+1)
	}
	row := make(map[string]int)
	for i, k := range kinds {
		n, err := strconv.ParseUint(fields[i+1], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is no count", fields[i+1])
		}
		row[k.name] = int(n)
	}
	return row, nil
}

// Lowered returns the table of counts with each number that is above today's
// count lowered to it. None is raised. A tree without a table gets today's.
func Lowered(fsys fs.FS) (name string, text []byte, err error) {
	t, err := load(fsys)
	if err != nil {
		return "", nil, err
	}
	limits, findings := readTable(t)
	if len(findings) > 0 {
		return "", nil, fmt.Errorf("%v", findings[0])
	}
	today := make(table)
	for folder, of := range usesOf(t) {
		today[folder] = make(map[string]int)
		for _, k := range kinds {
			today[folder][k.name] = len(of[k.name])
			if t.paths[tablePath] {
				today[folder][k.name] = min(len(of[k.name]), limits[folder][k.name])
			}
		}
	}
	return tablePath, []byte(today.String()), nil
}

func (t table) String() string {
	var text strings.Builder
	write := func(cells []string) {
		fmt.Fprintf(&text, "%-36s", cells[0])
		for i, cell := range cells[1:] {
			fmt.Fprintf(&text, " %*s", max(4, len(kinds[i].name)), cell)
		}
		text.WriteByte('\n')
	}
	write(header())
	for _, folder := range slices.Sorted(maps.Keys(t)) {
		cells, sum := []string{folder}, 0
		for _, k := range kinds {
			cells = append(cells, strconv.Itoa(t[folder][k.name]))
			sum += t[folder][k.name]
		}
		if sum > 0 {
			write(cells)
		}
	}
	return text.String()
}
