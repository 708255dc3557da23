package mutants

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A mutant is a bug put into the program on purpose, as a change of its source:
// one that a rule of tiering/journal/PROTOCOL.md, or of the packages' own
// promises, forbids. The simulations and the random schedules of the journal must
// find each: a net with a hole says nothing about the program as it is.
type mutant struct {
	name  string
	by    catcher
	plain bool // the test draws nothing, so that it has no seeds
	slow  bool // it takes minutes to be found, and is left to make mutants
	edits []edit
}

// An edit changes exactly one place of a function. It names the function by its
// symbol and the place by its syntax, so that neither a move to another file nor
// formatting nor comments make it stale. In the syntax of the place, f(_) is a call
// with any arguments, and {_} any block.
type edit struct {
	in    string // the function: tiering/journal.Core.stored
	under string // if set, the condition, the tag or the case under which the place is
	at    string // an expression, or statements that follow each other
	op    op
	text  string // new Go source
}

type op int

const (
	replace op = iota
	insertBefore
	insertAfter
)

// swap puts text in the place, drop nothing; never and always decide a condition.
func swap(in, at, text string) edit   { return edit{in: in, at: at, text: text} }
func drop(in, at string) edit         { return edit{in: in, at: at} }
func never(in, condition string) edit { return swap(in, condition, "false && ("+condition+")") }
func always(in, condition string) edit {
	return swap(in, condition, "true || ("+condition+")")
}

// before and after leave the place as it is, and put statements next to it.
func before(in, at, text string) edit { return edit{in: in, at: at, op: insertBefore, text: text} }
func after(in, at, text string) edit  { return edit{in: in, at: at, op: insertAfter, text: text} }

// below is e at a place that is under a condition.
func (e edit) below(condition string) edit {
	e.under = condition
	return e
}

// catcher is a test, most often one that runs seeds.
type catcher struct {
	pkg, test string
}

var (
	ingest      = catcher{"./ingest", "TestSimulation"}
	upkeeps     = catcher{"./ingest", "TestUpkeepSimulation"}
	flushes     = catcher{"./ingest", "TestFlushPolicy"}
	carries     = catcher{"./ingest", "TestCarryModel"}
	damages     = catcher{"./tiering/merge", "TestDamageModel"}
	shards      = catcher{"./ingest", "TestShardSimulation"}
	compactions = catcher{"./metadata/coordinator/shard", "TestCompactionModel"}
	groups      = catcher{"./metadata/coordinator/group", "TestModel"}
	metadata    = catcher{"./metadata", "TestSimulation"}
	follows     = catcher{"./fetch/follow", "TestSimulation"}
	merges      = catcher{"./fetch", "TestMergedModel"}
	memories    = catcher{"./fetch/cache", "TestMemoryAddsUp"}
	expiries    = catcher{"./tiering/expire", "TestModel"}

	standings = catcher{"./fetch", "TestStandingModel"}

	supervisors = catcher{"./metadata/coordinator/supervisor", "TestSimulation"}
	core        = catcher{"./tiering/journal", "TestRandomSchedules"}
)

const root = "../.."

var (
	all  = flag.Bool("mutants.all", false, "run every mutant, not only those that are found quickly")
	only = flag.String("mutants.only", "", "run the mutants whose names match this regular expression")
)

// maxSeeds is within how many seeds each mutant must be found.
const maxSeeds = 5000

// limit bounds the run of one mutant: some never come to an end.
const limit = 10 * time.Minute

func TestEveryMutantIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the program once for each mutant")
	}
	pattern := regexp.MustCompile(*only)
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			overlay, err := m.overlay(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if !pattern.MatchString(m.name) || *only == "" && !*all && (m.slow || i%quickOneIn != 0) {
				t.Skip("left to make mutants")
			}
			t.Log(m.run(t, overlay))
		})
	}
}

// quickOneIn is how many mutants there are for one that is run without the flag.
const quickOneIn = 8

// changed returns the texts of the files that the mutant changes, by file.
func (m mutant) changed() (map[string]string, error) {
	places := map[*sourceFile][]replacement{}
	for _, e := range m.edits {
		file, r, err := e.place()
		if err != nil {
			return nil, err
		}
		places[file] = append(places[file], r)
	}
	changed := map[string]string{}
	for file, replacements := range places {
		text, err := file.replace(replacements)
		if err != nil {
			return nil, err
		}
		changed[file.path] = text
	}
	return changed, nil
}

// overlay writes the changed files and the list of them for go test -overlay.
func (m mutant) overlay(dir string) (string, error) {
	changed, err := m.changed()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range changed {
		from, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[from] = to
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, list, 0o600)
}

var (
	seed = regexp.MustCompile(`seed (\d+): (.*)`)
	// overReleased is a panic of a goroutine of the program. It ends the process before the
	// seed is printed.
	overReleased = regexp.MustCompile(`(?m)^panic: buffer of \d+ bytes released once too often`)
)

// run returns how the mutant was found.
func (m mutant) run(t *testing.T, overlay string) string {
	if m.plain {
		out, err := m.by.run(t, overlay)
		switch {
		case err == nil:
			t.Fatalf("survived %s in %s", m.by.test, m.by.pkg)
		case !strings.Contains(string(out), "--- FAIL: "+m.by.test):
			t.Fatalf("failed otherwise than by %s: %v\n%s", m.by.test, err, out)
		}
		return "caught"
	}
	out, err := m.by.run(t, overlay, fmt.Sprintf("-sim.seeds=%d", maxSeeds))
	found := seed.FindSubmatch(out)
	switch {
	case err == nil:
		t.Fatalf("survived %d seeds of %s in %s", maxSeeds, m.by.test, m.by.pkg)
	case found == nil && overReleased.Match(out):
		return "caught by a panic: " + string(overReleased.Find(out))
	case found == nil:
		t.Fatalf("failed otherwise than by a seed: %v\n%s", err, out)
	}
	return fmt.Sprintf("caught by seed %s: %s", found[1], found[2])
}

// run runs the test on a changed program. Memory that is used after its release is
// overwritten.
func (c catcher) run(t *testing.T, overlay string, args ...string) (out []byte, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	args = append([]string{"test", "-tags=poison", "-vet=off", "-count=1", "-overlay=" + overlay, "-run=^" + c.test + "$", c.pkg}, args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err = cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("no end within %v:\n%s", limit, out)
	}
	return out, err
}

var shrunk = regexp.MustCompile(`(?s)seed 0: (\d+) events, (\d+) choices.*seed \d+, shrunk to (\d+) events, (\d+) choices`)

// TestTheRunThatFindsAMutantIsShrunk takes a mutant that the first seed finds.
func TestTheRunThatFindsAMutantIsShrunk(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the program")
	}
	i := slices.IndexFunc(mutants, func(m mutant) bool { return m.name == "rule 3: other bytes for the same seq" })
	overlay, err := mutants[i].overlay(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out, _ := mutants[i].by.run(t, overlay, "-sim.seed=0", "-v")
	var n [4]int
	for i, number := range shrunk.FindStringSubmatch(string(out)) {
		if i > 0 {
			n[i-1], _ = strconv.Atoi(number)
		}
	}
	if n[3] == 0 || n[2] >= n[0]/2 || n[3] >= n[1]/2 {
		t.Fatalf("%d events and %d choices shrunk to %d and %d, want less than half:\n%s", n[0], n[1], n[2], n[3], out)
	}
	t.Logf("%d events and %d choices shrunk to %d and %d", n[0], n[1], n[2], n[3])
}
