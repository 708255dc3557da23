package lint

import (
	"fmt"
	"slices"
	"strings"
)

// All that may stand at the root.
var (
	rootFolders = []string{"cmd", "fetch", "ingest", "metadata", "testenv", "tiering"}
	rootFiles   = []string{".ci", ".gitignore", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "go.mod", "go.sum"}
)

func layout(t *tree) (findings []Finding) {
	for _, name := range t.entries {
		if !slices.Contains(rootFolders, name) && !slices.Contains(rootFiles, name) {
			findings = append(findings, Finding{Path: name, What: "does not belong at the root",
				Remedy: "move it into the folder it belongs to (" + strings.Join(rootFolders, ", ") + ")"})
		}
	}
	return findings
}

// Limits of length, in lines. Lower them when the longest one gets shorter;
// never raise them.
const (
	maxFileLines         = 450
	maxFunctionLines     = 60
	maxTestFunctionLines = 100
)

func sizes(t *tree) (findings []Finding) {
	for f := range t.source {
		findings = append(findings, fileSize(f)...)
		limit := maxFunctionLines
		if f.test() {
			limit = maxTestFunctionLines
		}
		for _, function := range functions(f.ast) {
			begin, end := t.line(function.Pos()), t.line(function.End())
			if n := end - begin + 1; n > limit {
				findings = append(findings, Finding{Path: f.path, Line: begin,
					What:   fmt.Sprintf("function %s has %d lines, over %d", function.Name.Name, n, limit),
					Remedy: "give its steps names"})
			}
		}
	}
	return findings
}

func fileSize(f file) []Finding {
	n := strings.Count(string(f.text), "\n")
	if n <= maxFileLines {
		return nil
	}
	return []Finding{{Path: f.path, What: fmt.Sprintf("%d lines, over %d", n, maxFileLines), Remedy: "split it by subject"}}
}
