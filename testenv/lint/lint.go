// Package lint holds the rules of the repository that a compiler does not
// check:
//   - which package may import which;
//   - every package has its one doc comment;
//   - library code does not make calls that are for commands;
//   - handlers of Kafka requests find topics only through their gate;
//   - files and functions have limits of length;
//   - a name that only tests use is not exported;
//   - texts name only documents, folders and symbols that exist;
//   - comments, messages and names keep to plain English.
//
// It promises that each finding has a place, a fault and a remedy. It
// knows no exception that is not written down, with its reason, in the rule's
// own table. A limit may only go down.
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
	for _, rule := range []func(*tree) []Finding{layout, packageDocs, imports, calls, gates, sizes, texts, symbols, exports, english} {
		findings = append(findings, rule(repository)...)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	return findings, nil
}
