package lint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/varvelog/varve/testenv/lint"
)

const (
	counts  = "testenv/lint/english.txt"
	columns = "package tell nobody whoever anew for-ever beside meanwhile what long\n"
)

// Each case is the text of a file below its package clause, and the kinds that
// are found in it, with their lines.
func TestPlainEnglishFinds(t *testing.T) {
	words := func(n int) string { return strings.TrimSpace(strings.Repeat("so ", n)) }
	for name, test := range map[string]struct{ text, want string }{
		"words of comments":          {"// It told Nobody.\n\n// Whoever asks, asks anew, beside it, for ever; meanwhile.", "1 tell, 1 nobody, 3 whoever, 3 anew, 3 beside, 3 for-ever, 3 meanwhile"},
		"words over a line's end":    {"// It waits for\n// ever.", "2 for-ever"},
		"a comment behind code":      {"var x int // tells", "1 tell"},
		"a block":                    {"/* It holds\nwhat is left. */", "2 what"},
		"messages":                   {"var x = fmt.Errorf(\"read %s: told nobody\", `a\nb is what follows`)", "1 tell, 1 nobody, 2 what"},
		"words next to an escape":    {`var x = "a b\nmeanwhile\t\"b"`, "1 meanwhile"},
		"a key":                      {`var x = "anew"`, ""},
		"names":                      {"func tellsNobody(told int) { anewBy := told; _ = anewBy }", "1 tell, 1 nobody, 1 tell, 1 anew"},
		"a name with what":           {"var whatFor, MEANWHILE int", ""},
		"parts of words":             {"// Besides, it retells: a storyteller.", ""},
		"a word that is spoken of":   {"// The word \"told\", `anew`.", ""},
		"a thing without a name":     {"// What does not fit is refused.", "1 what"},
		"a question, direct or not":  {"// What is it? It says what it does, with a hint for what to do, depends on what, and shows what is wrong.", ""},
		"a question, then a thing":   {"// Why? It holds what it has.", "1 what"},
		"thirty words":               {"// " + words(30) + ".", ""},
		"more than thirty words":     {"// It is. " + words(12) + "\n// " + words(19) + ".", "1 long"},
		"long, but of a message":     {`var x = "` + words(40) + `"`, ""},
		"paragraphs are apart":       {"// " + words(20) + "\n//\n// " + words(20), ""},
		"items are apart":            {"// " + words(20) + ":\n//   - " + words(20) + "\n//     and\n//   - " + words(20), ""},
		"an item over two lines":     {"//   - " + words(20) + "\n//     " + words(20), "1 long"},
		"indented text":              {"// Bytes:\n//\n//\t0  what was told  " + words(31), ""},
		"a directive":                {"//go:generate tell nobody", ""},
		"a full stop within a quote": {"// It said \"" + words(20) + ".\" " + words(20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := clean()
			fsys["tiering/z.go"] = &fstest.MapFile{Data: []byte("package tiering\n" + test.text + "\n")}
			var got []string
			for _, finding := range check(t, fsys) {
				_, rest, _ := strings.Cut(finding.What, "of kind \"")
				kind, _, _ := strings.Cut(rest, "\"")
				got = append(got, fmt.Sprint(finding.Line-1, " ", kind))
			}
			var want []string
			if test.want != "" {
				want = strings.Split(test.want, ", ")
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
}

// withCounts is the clean repository with three uses of "told" in tiering.
func withCounts(table string) fstest.MapFS {
	fsys := clean()
	fsys["tiering/z.go"] = &fstest.MapFile{Data: []byte("package tiering\n\n// Told.\n\n// Told.\n\n// Told.\n")}
	fsys[counts] = &fstest.MapFile{Data: []byte(table)}
	return fsys
}

func TestCountsMayOnlyGoDown(t *testing.T) {
	for name, test := range map[string]struct {
		row   string
		isNew func(path string, line int) bool
		want  []int // lines of findings
	}{
		"as counted":                    {row: "tiering 3 0 0 0 0 0 0 0 0\n"},
		"fewer":                         {row: "tiering 4 0 0 0 0 0 0 0 0\n"},
		"more":                          {row: "tiering 2 0 0 0 0 0 0 0 0\n", want: []int{3, 5, 7}},
		"more of this kind":             {row: "tiering 2 9 9 9 9 9 9 9 9\n", want: []int{3, 5, 7}},
		"a package without a line":      {row: "tiering/journal 9 0 0 0 0 0 0 0 0\n", want: []int{3, 5, 7}},
		"more, and the new one is seen": {"tiering 2 0 0 0 0 0 0 0 0\n", func(_ string, line int) bool { return line == 5 }, []int{5}},
		"more, and no line is new":      {"tiering 2 0 0 0 0 0 0 0 0\n", func(string, int) bool { return false }, []int{3, 5, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			findings, err := lint.Check(withCounts(columns+test.row), test.isNew)
			if err != nil {
				t.Fatal(err)
			}
			var lines []int
			for _, f := range findings {
				if f.Path != "tiering/z.go" || f.Remedy == "" || !strings.Contains(f.What, "tiering has 3") {
					t.Error(f)
				}
				lines = append(lines, f.Line)
			}
			if !slices.Equal(lines, test.want) {
				t.Errorf("findings on lines %v, want %v", lines, test.want)
			}
		})
	}
}

func TestOnlySomeOfManyPlacesAreShown(t *testing.T) {
	fsys := clean()
	fsys["tiering/z.go"] = &fstest.MapFile{Data: []byte("package tiering\n" + strings.Repeat("\n// Anew.\n", 7))}
	fsys[counts] = &fstest.MapFile{Data: []byte(columns + "tiering 9 9 9 1 9 9 9 9 9\n")}
	findings := check(t, fsys)
	if len(findings) != 5 || !strings.Contains(findings[0].What, "tiering has 7, over 1") {
		t.Errorf("%d findings, want 5 of 7 places: %v", len(findings), findings)
	}
}

func TestADamagedTableIsFound(t *testing.T) {
	enough := "tiering 3 0 0 0 0 0 0 0 0\n"
	for name, test := range map[string]struct{ table, want string }{
		"other columns":      {"package tell\n" + enough, counts + ":1: columns"},
		"too few numbers":    {columns + "fetch 1 2\n" + enough, counts + ":2: 3 columns, want 10"},
		"no number":          {columns + "fetch 0 0 0 0 -1 0 0 0 0\n" + enough, counts + ":2: \"-1\" is no count"},
		"not sorted":         {columns + enough + "fetch 0 0 0 0 0 0 0 0 0\n", counts + ":3: fetch is out of order"},
		"the same one again": {columns + enough + enough, counts + ":3: tiering is out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := withCounts(test.table)
			findings := check(t, fsys)
			if len(findings) == 0 || !strings.Contains(findings[0].String(), test.want) {
				t.Errorf("findings %v, want %s", findings, test.want)
			}
			if _, text, err := lint.Lowered(fsys); err == nil {
				t.Errorf("lowered all the same:\n%s", text)
			}
		})
	}
}

func TestLoweringRaisesNoCount(t *testing.T) {
	for name, test := range map[string]struct{ table, want string }{
		"lowered":              {columns + "fetch 5 0 0 0 0 0 0 0 0\ntiering 7 1 0 0 0 0 0 0 0\n", "tiering 3 0 0 0 0 0 0 0 0"},
		"not raised":           {columns + "tiering 2 1 0 0 0 0 0 0 0\n", "tiering 2 0 0 0 0 0 0 0 0"},
		"not added":            {columns, ""},
		"written without file": {"", "tiering 3 0 0 0 0 0 0 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := withCounts(test.table)
			if test.table == "" {
				delete(fsys, counts)
			}
			path, text, err := lint.Lowered(fsys)
			if err != nil || path != counts {
				t.Fatal(path, err)
			}
			if got := strings.Join(strings.Fields(string(text)), " "); got != strings.TrimSpace(columns)+strings.TrimRight(" "+test.want, " ") {
				t.Errorf("table:\n%s\nwant the row %q", text, test.want)
			}
			fsys[path] = &fstest.MapFile{Data: text}
			if _, again, err := lint.Lowered(fsys); err != nil || string(again) != string(text) {
				t.Errorf("lowered again: %v\n%s", err, again)
			}
		})
	}
}
