package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// An error that is logged as tried again is logged as done again, once.
func TestACheckpointerLogsThatItSucceedsAgain(t *testing.T) {
	c := NewCheckpointer(CheckpointerOptions{NewID: segment.NewID})
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

// An error that is not likely to pass is reported each time, and so is its end.
// It is not logged as well.
func TestACheckpointerReportsWhatStays(t *testing.T) {
	var got []string
	c := NewCheckpointer(CheckpointerOptions{NewID: segment.NewID, OnTrouble: func(step Step, err error) {
		got = append(got, fmt.Sprintf("%s: %v", step, err))
	}})
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	away, denied := errors.New("away"), fmt.Errorf("%w", objstore.ErrDenied)
	for i, step := range []struct {
		res  CheckpointResult
		says []string
	}{
		{CheckpointResult{Err: away}, nil},
		{CheckpointResult{Err: away}, nil},
		{CheckpointResult{Err: away}, []string{"checkpoint: away"}},
		{CheckpointResult{Err: away}, []string{"checkpoint: away"}},
		{CheckpointResult{FloorErr: ErrDamaged}, []string{"checkpoint: <nil>", "floor: " + ErrDamaged.Error()}},
		{CheckpointResult{Err: away}, nil}, // says nothing of the floor
		{CheckpointResult{FloorErr: away}, []string{"floor: away"}},
		{CheckpointResult{RemoveErr: denied}, []string{"floor: <nil>", "old checkpoints: " + denied.Error()}},
		{CheckpointResult{FloorErr: away}, nil}, // nor this of old checkpoints
		{CheckpointResult{}, []string{"old checkpoints: <nil>"}},
		{CheckpointResult{}, nil},
	} {
		got = nil
		if err := c.Finished(step.res, log); err != nil || !slices.Equal(got, step.says) {
			t.Errorf("step %d: reported %q, want %q, %v", i, got, step.says, err)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 6 { // four before a report, and two ends without one
		t.Errorf("%d lines in the log:\n%s", n, out.String())
	}
}

// That old checkpoints may not be deleted keeps no floor from moving.
func TestDeniedDeletesAreReported(t *testing.T) {
	l := newLed(t)
	troubles := map[Step]error{}
	l.cp.opt.OnTrouble = func(step Step, err error) { troubles[step] = err }
	l.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpDelete {
			return mem.FailBefore(fmt.Errorf("%w", objstore.ErrDenied))
		}
		return mem.Action{}
	}
	deny := func() {
		l.write()
		if res, err := l.checkpoint(); res.Err != nil || res.FloorErr != nil || err != nil {
			t.Fatal(res.Err, res.FloorErr, err)
		}
	}
	for range 30 {
		deny()
	}
	if n := l.floors().n; n < 3 || !errors.Is(troubles[RemoveOld], objstore.ErrDenied) {
		t.Fatalf("floor %d, reported %v", n, troubles)
	}
	l.fault = nil
	l.step()
	if err, ok := troubles[RemoveOld]; !ok || err != nil || len(troubles) != 1 {
		t.Errorf("reported %v after deletes are allowed", troubles)
	}
}
