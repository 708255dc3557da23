package clients

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
)

// findings are the outcomes of each feature of each client, for the table at
// the end.
var findings table

type table struct {
	mu    sync.Mutex
	cells map[string]map[string]string // by feature and client
}

// outcome is that of a test that has ended.
func outcome(t *testing.T) string {
	switch {
	case t.Failed():
		return "FAIL"
	case t.Skipped():
		return "-" // the line of the skipped test says why
	}
	return "ok"
}

func (f *table) note(feature, client, outcome string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cells == nil {
		f.cells = map[string]map[string]string{}
	}
	if f.cells[feature] == nil {
		f.cells[feature] = map[string]string{}
	}
	f.cells[feature][client] = outcome
}

// order is that of the lines.
func order() (names []string) {
	for _, f := range features {
		names = append(names, f.name)
	}
	for _, topic := range tiered {
		names = append(names, topic.name)
	}
	names = append(names, steered)
	for _, tool := range toolTests {
		names = append(names, tool.name)
	}
	for _, e := range ecosystem {
		names = append(names, e.name)
	}
	return names
}

// print prints a line for each feature and a column for each client.
func (f *table) print(out io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clients := map[string]bool{}
	for _, row := range f.cells {
		for client := range row {
			clients[client] = true
		}
	}
	columns := slices.Sorted(maps.Keys(clients))
	place := func(name string) int {
		return slices.Index(order(), name)
	}
	rows := slices.SortedFunc(maps.Keys(f.cells), func(a, b string) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
	})
	line := func(name string, cell func(client string) string) {
		fmt.Fprintf(out, "%-26s", name)
		for _, client := range columns {
			fmt.Fprintf(out, " %*s", max(len(client), 4), cell(client))
		}
		fmt.Fprintln(out)
	}
	if len(rows) > 0 {
		line("", func(client string) string { return client })
	}
	for _, row := range rows {
		line(row, func(client string) string { return f.cells[row][client] })
	}
}
