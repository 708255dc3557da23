package datadir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/tiering/segment"
)

var cluster = segment.ID{7}

func open(t *testing.T, path string) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(path, segment.NewID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// closed closes a folder that a test has opened.
func closed(t *testing.T, d *datadir.Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func bind(t *testing.T, d *datadir.Dir, id segment.ID) {
	t.Helper()
	if err := d.Bind(id); err != nil {
		t.Fatal(err)
	}
}

// wantError fails the test unless err contains every word.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestIdentityIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "there", "yet")
	d := open(t, path)
	node := d.Node()
	bind(t, d, cluster)
	bind(t, d, cluster)
	closed(t, d)
	if d = open(t, path); d.Node() != node || node.IsZero() {
		t.Errorf("node %s, was %s", d.Node(), node)
	}
	wantError(t, d.Bind(segment.ID{8}), "belongs to cluster "+cluster.Base64(), "--data-dir", "--bucket")
	bind(t, d, cluster)
	id, err := datadir.Inspect(path)
	if want := (datadir.Identity{Node: node, Cluster: cluster}); id != want || err != nil {
		t.Errorf("Inspect = %v, %v; want %v", id, err, want)
	}
}

func TestOneProcessAtATimeHasAFolder(t *testing.T) {
	path := t.TempDir()
	inUse := func(want bool) {
		t.Helper()
		if got, err := datadir.InUse(path); got != want || err != nil {
			t.Errorf("InUse = %v, %v; want %v", got, err, want)
		}
	}
	inUse(false)
	d := open(t, path)
	inUse(true)
	_, err := datadir.Open(path, segment.NewID)
	wantError(t, err, path, "in use", "--data-dir")
	inUse(true)
	closed(t, d)
	inUse(false)
	open(t, path)
}

// A node may start at any instant during an inspection.
func TestLookingDoesNotKeepANodeFromStarting(t *testing.T) {
	path := t.TempDir()
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			if _, err := datadir.InUse(path); err != nil {
				done <- err
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	for range 200 {
		closed(t, open(t, path))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestInspectWritesNothing(t *testing.T) {
	path := t.TempDir()
	_, err := datadir.Inspect(path)
	wantError(t, err, path, "no data folder of varve", "--data-dir")
	if names := names(t, path); len(names) != 0 {
		t.Errorf("left %v", names)
	}
	missing := filepath.Join(path, "missing")
	_, err = datadir.Inspect(missing)
	wantError(t, err, missing, "no such file", "--data-dir")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	d := open(t, path)
	if id, err := datadir.Inspect(path); id.Node != d.Node() || !id.Cluster.IsZero() || err != nil {
		t.Errorf("Inspect = %v, %v", id, err)
	}
}

func names(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWitnessNeverGoesBack(t *testing.T) {
	path := t.TempDir()
	ref := func(seq uint64) segment.Ref { return segment.Ref{Seq: seq, Object: segment.ID{byte(seq)}} }
	d := open(t, path)
	want := func(journal uint32, want segment.Ref) {
		t.Helper()
		if got := d.Witness(journal); got != want {
			t.Errorf("witness of journal %d is %v, want %v", journal, got, want)
		}
	}
	d.Saw(3, ref(10))
	d.Saw(3, ref(9))
	d.Saw(4, ref(1))
	d.Saw(3, segment.Ref{Seq: 10, Object: segment.ID{99}})
	want(3, ref(10))
	if err := d.SaveWitness(); err != nil {
		t.Fatal(err)
	}
	d.Saw(4, ref(2))
	closed(t, d) // saves
	d = open(t, path)
	want(3, ref(10))
	want(4, ref(2))
	want(5, segment.Ref{})
	d.Saw(3, ref(5))
	closed(t, d)
	d = open(t, path)
	want(3, ref(10))
}

func TestWitnessThatCouldNotBeSavedIsSavedLater(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	blocked := filepath.Join(path, "witness.json.tmp")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	want := segment.Ref{Seq: 2, Object: segment.ID{2}}
	d.Saw(1, want)
	wantError(t, d.SaveWitness(), "witness.json.tmp")
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	closed(t, d)
	if got := open(t, path).Witness(1); got != want {
		t.Errorf("witness is %v, want %v", got, want)
	}
}

// made makes a folder of a node that has seen objects.
func made(t *testing.T) (path string, node segment.ID) {
	t.Helper()
	path = t.TempDir()
	d := open(t, path)
	bind(t, d, cluster)
	d.Saw(1, segment.Ref{Seq: 5, Object: segment.ID{5}})
	closed(t, d)
	return path, d.Node()
}

// Between the temporary file and the rename the old content counts, whatever
// exists of the new one.
func TestCrashBeforeTheRenameKeepsTheOldFile(t *testing.T) {
	path, node := made(t)
	for _, name := range []string{"node.json.tmp", "witness.json.tmp"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(`{"version": 1, "node": "00`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, path)
	if d.Node() != node || d.Witness(1).Seq != 5 {
		t.Errorf("node %s, witness %v", d.Node(), d.Witness(1))
	}
	bind(t, d, cluster)
	d.Saw(1, segment.Ref{Seq: 6, Object: segment.ID{6}})
	closed(t, d)
	if got := open(t, path).Witness(1).Seq; got != 6 {
		t.Errorf("witness %d, want 6", got)
	}
}

// The first start may end before the identity has its name.
func TestCrashBeforeTheFirstRenameDrawsAnIdentity(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "node.json.tmp"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if open(t, path).Node().IsZero() {
		t.Error("no node id")
	}
}

func TestFilesThatCannotBeReadAreRefused(t *testing.T) {
	id := cluster.String()
	for name, tc := range map[string]struct {
		file, content, want string
	}{
		"empty":                   {"node.json", "", "damaged"},
		"cut short":               {"node.json", `{"version": 1, "node": "` + id, "damaged"},
		"no object":               {"node.json", "null", "damaged"},
		"no version":              {"node.json", `{"node": "` + id + `"}`, "damaged"},
		"other type":              {"node.json", `{"version": 1, "node": 3}`, "damaged"},
		"newer":                   {"node.json", `{"version": 2, "node": {"id": "x"}}`, "newer varve"},
		"no node":                 {"node.json", `{"version": 1}`, "no node id"},
		"zero node":               {"node.json", `{"version": 1, "node": "` + segment.ID{}.String() + `"}`, "no node id"},
		"bad cluster":             {"node.json", `{"version": 1, "node": "` + id + `", "cluster": "zz"}`, "no cluster id"},
		"zero cluster":            {"node.json", `{"version": 1, "node": "` + id + `", "cluster": "` + segment.ID{}.String() + `"}`, "no cluster id"},
		"empty witness":           {"witness.json", "", "damaged"},
		"witness of garbage":      {"witness.json", "\x00\x00\x00", "damaged"},
		"newer witness":           {"witness.json", `{"version": 3, "journals": []}`, "newer varve"},
		"witness of nothing":      {"witness.json", `{"version": 1, "journals": {"1": {"seq": 0, "object": "` + id + `"}}}`, "no object of journal 1"},
		"witness without id":      {"witness.json", `{"version": 1, "journals": {"1": {"seq": 4, "object": "4"}}}`, "no object of journal 1"},
		"witness of whom":         {"witness.json", `{"version": 1, "journals": {"one": {"seq": 4, "object": "` + id + `"}}}`, "damaged"},
		"witness of zero id":      {"witness.json", `{"version": 1, "journals": {"1": {"seq": 4, "object": "` + segment.ID{}.String() + `"}}}`, "no object of journal 1"},
		"leaderships of garbage":  {"incarnations.json", "{", "damaged"},
		"newer leaderships":       {"incarnations.json", `{"version": 2}`, "newer varve"},
		"leadership without name": {"incarnations.json", `{"version": 1, "journals": {"1": ["7"]}}`, "no leadership of journal 1"},
		"witness is negative":     {"witness.json", `{"version": 1, "journals": {"1": {"seq": -4, "object": "` + id + `"}}}`, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := made(t)
			file := filepath.Join(path, tc.file)
			if err := os.WriteFile(file, []byte(tc.content), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := datadir.Open(path, segment.NewID)
			wantError(t, err, file, tc.want)
			if got, err := os.ReadFile(file); string(got) != tc.content || err != nil {
				t.Errorf("%s was changed: %q, %v", file, got, err)
			}
			if inUse, err := datadir.InUse(path); inUse || err != nil {
				t.Errorf("still locked: %v, %v", inUse, err)
			}
			if tc.file == "node.json" {
				_, err := datadir.Inspect(path)
				wantError(t, err, file, tc.want)
			}
		})
	}
}

func TestJournalsAreFoundByTheirFolders(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	if found, err := datadir.Journals(path); len(found) != 0 || err != nil {
		t.Errorf("Journals = %v, %v", found, err)
	}
	want := []uint32{1, 2, 10, 1<<32 - 1}
	for _, journal := range []uint32{10, 2, 1<<32 - 1, 1} {
		if err := os.MkdirAll(d.WAL(journal), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"01", "lost+found", "4294967296", "-1"} {
		if err := os.Mkdir(filepath.Join(path, "wal", other), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := datadir.Journals(path); !slices.Equal(found, want) || err != nil {
		t.Errorf("Journals = %v, %v; want %v", found, err, want)
	}
	if want := filepath.Join(path, "wal", "10"); d.WAL(10) != want {
		t.Errorf("WAL = %s, want %s", d.WAL(10), want)
	}
}

func TestTheProgressOfVerificationIsKept(t *testing.T) {
	path := t.TempDir()
	for _, want := range []string{"", `{"version":1}`, `{"version":1,"at":2}`} {
		d, err := datadir.Open(path, segment.NewID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Verified(1)
		var compact bytes.Buffer
		if err == nil && len(b) > 0 {
			err = json.Compact(&compact, b)
		}
		if err != nil || compact.String() != want {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
		next := map[string]string{"": `{"version":1}`}[want]
		if next == "" {
			next = `{"version":1,"at":2}`
		}
		if err := d.SaveVerified(1, []byte(next)); err != nil {
			t.Fatal(err)
		}
		if b, err := d.Verified(2); b != nil || err != nil {
			t.Errorf("of another journal: %q, %v", b, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeadershipsAreKeptByJournal(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	want := map[uint32][]segment.ID{}
	for n := range 10 {
		journal, id := uint32(n%2), segment.ID{1, byte(n)}
		if err := d.Leads(journal, id); err != nil {
			t.Fatal(err)
		}
		want[journal] = append(want[journal], id)
	}
	closed(t, d)
	d = open(t, path)
	for _, journal := range []uint32{0, 1, 2} {
		if got := d.Incarnations(journal); !slices.Equal(got, want[journal]) {
			t.Errorf("leaderships of journal %d are %v, want %v", journal, got, want[journal])
		}
	}
}

func TestLeadershipsOfLongAgoAreForgotten(t *testing.T) {
	path := t.TempDir()
	many := make([]string, 1024)
	for n := range many {
		many[n] = segment.ID{1, byte(n >> 8), byte(n)}.String()
	}
	b, err := json.Marshal(map[string]any{"version": 1, "journals": map[string][]string{"3": many}})
	if err != nil {
		t.Fatal(err)
	}
	closed(t, open(t, path))
	if err := os.WriteFile(filepath.Join(path, "incarnations.json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	if err := d.Leads(3, segment.ID{2}); err != nil {
		t.Fatal(err)
	}
	if got := d.Incarnations(3); len(got) != 1024 || got[1023] != (segment.ID{2}) || got[0] != (segment.ID{1, 0, 1}) {
		t.Errorf("%d leaderships, from %v to %v", len(got), got[0], got[len(got)-1])
	}
}

func TestALeadershipThatCannotBeNotedIsNotNoted(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	blocked := filepath.Join(path, "incarnations.json.tmp")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, d.Leads(1, segment.ID{2}), "incarnations.json.tmp")
	if got := d.Incarnations(1); len(got) != 0 {
		t.Errorf("has noted %v", got)
	}
}
