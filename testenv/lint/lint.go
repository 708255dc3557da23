// Package lint holds the rules of the repository that a compiler does not
// check: who may import whom, that every package has its one doc comment, what
// library code may not call, how long files and functions may be, and that
// texts name only what is there, the symbols of the code included.
//
// It promises that each finding says where, what, and what to do instead. It
// knows no exception that is not written down, with its reason, in the rule's
// own table; a limit is a ratchet and may only go down.
//
// It never changes a file, and reads nothing outside of the tree it is given.
package lint

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
)

// Finding is one place that breaks a rule.
type Finding struct {
	Path   string // slash-separated, from the root of the tree
	Line   int    // from 1; 0: the whole file or folder
	What   string
	Remedy string
}

func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s; %s", f.Path, f.What, f.Remedy)
	}
	return fmt.Sprintf("%s:%d: %s; %s", f.Path, f.Line, f.What, f.Remedy)
}

// Check applies every rule to the repository at the root of fsys and returns
// the findings by path and line. An error means that it could not be read.
func Check(fsys fs.FS) ([]Finding, error) {
	repository, err := load(fsys)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, rule := range []func(*tree) []Finding{layout, packageDocs, imports, calls, sizes, texts, symbols} {
		findings = append(findings, rule(repository)...)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	return findings, nil
}
