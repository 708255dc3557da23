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

// longerFiles are files that were over the limit when it came to bind. Each may
// have this many lines, and must leave the list when it is split.
var longerFiles = map[string]int{
	"fetch/cache/replay_test.go":              513,
	"fetch/fetch_test.go":                     508,
	"ingest/sim_shard_test.go":                484,
	"metadata/coordinator/group/join_test.go": 498,
	"tiering/batch/check_test.go":             522,
	"tiering/journal/core_test.go":            538,
	"tiering/journal/mover_test.go":           519,
	"tiering/segment/hostile_test.go":         501,
	"tiering/verify/verify_test.go":           578,
}

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
	n, longer := strings.Count(string(f.text), "\n"), longerFiles[f.path]
	switch limit := max(maxFileLines, longer); {
	case n > limit:
		return []Finding{{Path: f.path, What: fmt.Sprintf("%d lines, over %d", n, limit), Remedy: "split it by subject"}}
	case longer > 0 && n <= maxFileLines:
		return []Finding{{Path: f.path, What: fmt.Sprintf("%d lines, and still among longerFiles", n),
			Remedy: "delete its line in testenv/lint/layout.go"}}
	}
	return nil
}
