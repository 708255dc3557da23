package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// TestAFloorFoundDamagedByALeaderIsATrouble: the leader goes on, and reports
// that no start could, until the foreign file is removed.
func TestAFloorFoundDamagedByALeaderIsATrouble(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t, "--flush-interval", "1ms", "--checkpoint-objects", "8")
	createTopic(t, node.Kafka, "events", 1)
	producer := client(t, node.Kafka)
	n := 0
	until := func(kind string, want bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			produce(t, producer, numbered("events", 0, "r", n+1)[n:]...)
			n++
			if got, _ := metric(t, node, "varve_trouble", `kind="`+kind+`"`); got > 0 == want {
				return
			} else if time.Now().After(end) {
				t.Fatalf("trouble of %s: %v after %d records, want %v\n%s", kind, got, n, want, node.Log())
			}
		}
	}
	junk := filepath.Join(b.folder, segment.FloorKey(1, 1))
	if err := os.MkdirAll(filepath.Dir(junk), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(junk, []byte("not varve's"), 0o644); err != nil {
		t.Fatal(err)
	}
	until("checkpoints", true)
	awaitReadyz(t, node, http.StatusOK, "trouble: checkpoints (journal 1, floor): floors are damaged")
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	until("checkpoints", false)
	node.Stop(t)
	wantLog(t, node, "floors are damaged, missing or foreign", "checkpoints are written, floors move")
}
