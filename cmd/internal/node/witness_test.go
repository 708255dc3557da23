package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/tiering/segment"
)

// TestWitnessThatCannotBeWrittenDoesNotEndTheNode: the old one is kept, the board says
// so, and it is written when that is possible again.
func TestWitnessThatCannotBeWrittenDoesNotEndTheNode(t *testing.T) {
	path := t.TempDir()
	dir, err := datadir.Open(path, segment.NewID)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: dir, board: health.NewBoard(slog.New(slog.DiscardHandler), time.Now), failed: make(chan error, 1), log: slog.New(slog.DiscardHandler)}
	saved := func() string {
		b, err := os.ReadFile(filepath.Join(path, "witness.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	saw := func(seq uint64) { dir.Saw(1, segment.Ref{Seq: seq, Object: segment.ID{byte(seq)}}) }
	saw(7)
	n.saveWitness()
	old := saved()
	blocked := filepath.Join(path, "witness.json.tmp") // as a full disk, which a test cannot have
	if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	saw(8)
	stop := n.keepWitness(time.Millisecond)
	for len(n.board.Troubles()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if trouble := n.board.Troubles()[0]; trouble.Kind != health.Witness || !strings.Contains(trouble.Text, "the old one is kept") {
		t.Errorf("trouble is %+v", trouble)
	}
	if now := saved(); now != old {
		t.Errorf("the old witness is not kept: %s", now)
	}
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	for len(n.board.Troubles()) > 0 {
		time.Sleep(time.Millisecond)
	}
	if now := saved(); !strings.Contains(now, `"seq": 8`) {
		t.Errorf("the witness is not written: %s", now)
	}
	stop()
	n.closeDir()
	select {
	case err := <-n.failed:
		t.Errorf("the node ended: %v", err)
	default:
	}
}
