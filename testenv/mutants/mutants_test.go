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
	"strings"
	"testing"
	"time"
)

// A mutant is a bug put into the program on purpose, as a change of its source:
// one that a rule of tiering/journal/PROTOCOL.md, or of the packages' own
// promises, forbids. The simulations and the random schedules of the journal must
// find each: a net with a hole would tell nothing about the program as it is.
type mutant struct {
	name  string
	by    catcher
	edits []edit
}

// edit replaces text that stands exactly once in a file.
type edit struct{ file, old, new string }

// catcher is a test that runs seeds.
type catcher struct {
	pkg, test, seeds string // seeds is the name of the flag
}

var (
	ingest   = catcher{"./ingest", "TestSimulation", "sim.seeds"}
	shards   = catcher{"./ingest", "TestShardSimulation", "sim.seeds"}
	groups   = catcher{"./metadata/coordinator/group", "TestModel", "model.runs"}
	metadata = catcher{"./metadata", "TestSimulation", "sim.seeds"}
	core     = catcher{"./tiering/journal", "TestRandomSchedules", "seeds"}
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
			if !pattern.MatchString(m.name) || *only == "" && !*all && i%quickOneIn != 0 {
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
	changed := map[string]string{}
	for _, e := range m.edits {
		text, ok := changed[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s has the text to change %d times, not once: bring the mutant up to date:\n%s", e.file, n, e.old)
		}
		changed[e.file] = strings.Replace(text, e.old, e.new, 1)
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

var seed = regexp.MustCompile(`seed (\d+): (.*)`)

// run returns how the mutant was found.
func (m mutant) run(t *testing.T, overlay string) string {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-count=1", "-overlay="+overlay,
		"-run=^"+m.by.test+"$", m.by.pkg, fmt.Sprintf("-%s=%d", m.by.seeds, maxSeeds))
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	found := seed.FindSubmatch(out)
	switch {
	case ctx.Err() != nil:
		t.Fatalf("no end within %v:\n%s", limit, out)
	case err == nil:
		t.Fatalf("survived %d seeds of %s in %s", maxSeeds, m.by.test, m.by.pkg)
	case found == nil:
		t.Fatalf("failed otherwise than by a seed: %v\n%s", err, out)
	}
	return fmt.Sprintf("caught by seed %s: %s", found[1], found[2])
}
