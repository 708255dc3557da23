package merge

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestAMismatchLastsUntilTheRecordsAreMerged has a store that flips a bit of each output. A
// job of other records does not end the trouble; the same records merged right do, and so
// does their deletion.
func TestAMismatchLastsUntilTheRecordsAreMerged(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		w := newWorld(t, 2, seeded.Seed(t))
		var reported []bool // whether it was an error
		w.opt.OnMismatch = func(err error) { reported = append(reported, err != nil) }
		w.opt.DueBytes = 1
		w.lead()
		hit, other := w.keys()[0], w.keys()[1]
		w.produceTo(3, 300, hit)
		flips := func(c mem.Call) mem.Action {
			if isOutput(c.Key) && c.Op != objstore.OpCreate {
				return mem.BitFlipped(segment.MergedHeaderSize + 70)
			}
			return mem.Action{}
		}
		w.fault = flips
		for range 2 {
			w.now = w.now.Add(time.Hour)
			if _, err := w.merger.Run(t.Context()); !errors.Is(err, ErrMismatch) {
				t.Fatalf("merged with a flipped bit: %v", err)
			}
		}
		w.fault = nil
		topic := w.topics[hit.Topic]
		delete(w.topics, hit.Topic)
		w.produceTo(3, 300, other)
		w.now = w.now.Add(time.Hour)
		w.work()
		if !slices.Equal(reported, []bool{true, true}) {
			t.Errorf("after a job of other records: %v", reported)
		}
		if deleted {
			view, _ := w.state.Lookup(hit)
			w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: hit, Before: view.End}.Encode()}, nil)
		} else {
			w.topics[hit.Topic] = topic
		}
		w.now = w.now.Add(time.Hour)
		w.work()
		if !slices.Equal(reported, []bool{true, true, false}) || w.merger.Stats().Mismatches != 2 {
			t.Errorf("deleted %v: %v, %d mismatches", deleted, reported, w.merger.Stats().Mismatches)
		}
	}
}
