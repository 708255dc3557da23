package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/segment"
)

// TestWhatDoesNotBelongInTheBucketIsAClearEnd: such objects can never become
// right, so a start names the object, and does not try again for long.
func TestWhatDoesNotBelongInTheBucketIsAClearEnd(t *testing.T) {
	t.Parallel()
	whole, _ := archive(t, 2)
	seqs := whole.journal(t)
	head := seqs[len(seqs)-1]
	content, err := os.ReadFile(filepath.Join(whole.folder, segment.ClusterKey))
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := segment.DecodeCluster(content)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := segment.EncodeFloor(segment.Floor{
		Cluster: cluster.ID, Journal: 1, N: 2, Floor: 3, Object: segment.NewID(), Hash: [32]byte{1},
		Checkpoint: segment.CheckpointKey(1, segment.Ref{Seq: 2, Object: segment.NewID()}),
	})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(whole.folder, segment.JournalKey(0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	both := []string{"ingest,fetch,tiering", "fetch"}
	for name, test := range map[string]struct {
		key   string
		bytes []byte
		roles []string // that do not start
		words []string
	}{
		"junk far beyond the head":           {segment.JournalKey(1, head+1000), []byte("not varve's"), both[:1], []string{"journal 1", segment.JournalKey(1, head+1000)}},
		"another journal's object beyond it": {segment.JournalKey(1, head+1000), foreign, both[:1], []string{"journal 1", "journal 0", "varve bucket verify"}},
		"junk right behind the head":         {segment.JournalKey(1, head+1), []byte("not varve's"), both, []string{segment.JournalKey(1, head+1), "varve bucket verify"}},
		"a floor copied to another number":   {segment.FloorKey(1, 1), copied, both, []string{"floor 1 of journal 1", "floor 2", "varve bucket verify"}},
		"a floor of other bytes":             {segment.FloorKey(1, 1), []byte("not varve's"), nil, nil}, // the last floor is passed over
	} {
		t.Run(name, func(t *testing.T) {
			b := whole.copied(t)
			path := filepath.Join(b.folder, test.key)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, test.bytes, 0o444); err != nil {
				t.Fatal(err)
			}
			for _, roles := range test.roles {
				wantRefusal(t, b.varve(as(roles)...), permanent, test.words...)
			}
			verify := testenv.Varve{Args: []string{"bucket", "verify", "--bucket", b.url}}.Run(t, patience)
			if verify.Code != 1 || !strings.Contains(string(verify.Stdout), "error: "+test.key) || !strings.Contains(string(verify.Stdout), " 1 error, ") {
				t.Errorf("bucket verify: exit code %d: %s", verify.Code, verify.Stdout)
			}
		})
	}
}
