package journal

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// What is logged as tried again is logged as done again, once.
func TestACheckpointerLogsThatItSucceedsAgain(t *testing.T) {
	c := NewCheckpointer(CheckpointerOptions{Store: mem.New(nil, nil), NewID: segment.NewID})
	defer c.Close()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	away := errors.New("away")
	for _, step := range []struct {
		res  CheckpointResult
		says string // "" for nothing
	}{
		{CheckpointResult{}, ""},
		{CheckpointResult{Err: away}, "checkpoint not written, trying again later"},
		{CheckpointResult{FloorErr: away}, "checkpoints are written again"},
		{CheckpointResult{FloorErr: away}, "floor not moved, trying again later"},
		{CheckpointResult{}, "floor moves again"},
		{CheckpointResult{}, ""},
	} {
		out.Reset()
		if err := c.Finished(step.res, log); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); step.says == "" && got != "" || !strings.Contains(got, step.says) {
			t.Errorf("%+v: logged %q, want %q", step.res, got, step.says)
		}
	}
}
