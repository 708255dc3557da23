package node

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/metadata/cluster"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// An error that can end a node has a row in kinds that says how it ends.
func TestEveryErrorThatCanEndANodeHasItsKind(t *testing.T) {
	text, err := os.ReadFile("ending.go")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`\{(\w+\.Err\w+|err\w+),`).FindAllStringSubmatch(string(text), -1)
	names := map[string]bool{}
	for _, k := range known {
		names[k[1]] = true
	}
	found := 0
	for _, folder := range []string{
		"cmd/internal/bucket", "cmd/internal/datadir", "ingest", "ingest/wal", "metadata", "metadata/announce",
		"tiering/journal", "tiering/objstore", "tiering/partlog", "tiering/segment",
	} {
		for _, name := range sentinels(t, filepath.Join("../../..", folder)) {
			found++
			if name = filepath.Base(folder) + "." + name; !names[name] && !answersOnly(name) {
				t.Errorf("%s has no row in kinds: say there how a node ends with it", name)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d errors found: the test does not look any more", found)
	}
}

// answersOnly reports whether an error is part of an answer to a request.
func answersOnly(name string) bool {
	return slices.Contains([]string{
		"ingest.ErrOutOfRange", "metadata.ErrTopicExists", "metadata.ErrUnknownTopic", "metadata.ErrInternalTopic",
		"metadata.ErrInvalidName", "metadata.ErrInvalidPartitions", "metadata.ErrInvalidReplication", "metadata.ErrInvalidConfig", "metadata.ErrInvalidAssignment", "metadata.ErrReservedName",
		"metadata.ErrUnknownLevel", "metadata.ErrLowerLevel",
		"metadata.ErrUnknownNode", "metadata.ErrLastServing", "metadata.ErrNodeInUse", "metadata.ErrTooManyJournals", "metadata.ErrFewerJournals",
		"metadata.ErrNoSecurity", "metadata.ErrInvalidACL", "metadata.ErrInvalidCredential", "metadata.ErrUnknownUser", "metadata.ErrTooManyACLs", "metadata.ErrTooManyUsers",
		"metadata.ErrAuthenticationIsOn",
	}, name)
}

// sentinels are the exported errors that a package makes.
func sentinels(t *testing.T, folder string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

func TestEndingIsThatOfTheWorstCause(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Ending
	}{
		{errors.New("connection refused"), Passing},
		{fmt.Errorf("journal 1: %w", explain(journal.ErrFenced)), TakenOver},
		{errors.Join(fmt.Errorf("journal 1: %w", journal.ErrFenced), errors.New("flush: time is up")), TakenOver},
		{errors.Join(errors.New("flush"), &segment.CorruptError{Reason: "no magic"}), Permanent},
		{fmt.Errorf("open: %w", objstore.ErrDenied), Permanent},
		{cluster.ErrNone, Passing},
	} {
		if got := EndingOf(test.err); got != test.want {
			t.Errorf("%v: ending %d, want %d", test.err, got, test.want)
		}
	}
}

// The shipped unit must not start a node again that others wait for to stay away.
func TestTheUnitLeavesEndedWhatStartingDoesNotHelp(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "varve.service"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(string(text))
	if want := "2 4 5"; found == nil || found[1] != want { // cli: usage, taken over, permanent
		t.Errorf("RestartPreventExitStatus is %q, want %s", found, want)
	}
}
