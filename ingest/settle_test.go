package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// ask asks the core as a client does that wants to know the end of the log.
func (b *bench) ask() *[]error {
	var got []error
	b.c.settle(func(err error) { got = append(got, err) })
	b.progress()
	return &got
}

func (b *bench) progress() {
	b.t.Helper()
	if err := b.c.progress(); err != nil {
		b.t.Fatal(err)
	}
}

func TestTheEndIsAnsweredWhenWhatWasAcknowledgedIsCommitted(t *testing.T) {
	for _, acks := range []Acks{AcksLeader, AcksNone} {
		b := newBench(t)
		b.append(acks, batchtest.Spec{})
		b.c.wasSynced(1)
		got := b.ask()
		if len(*got) > 0 || len(b.sent) != 1 {
			t.Fatalf("acks=%d: answered %v, %d objects sent, want none and one", acks, *got, len(b.sent))
		}
		b.commit()
		if b.progress(); len(*got) != 1 || (*got)[0] != nil {
			t.Errorf("acks=%d: answered %v once it is committed", acks, *got)
		}
		if v, _ := b.c.state.Lookup(testKey); v.End != 2 {
			t.Errorf("acks=%d: the log ends at %d", acks, v.End)
		}
	}
}

// TestAskingForTheEndCostsNothingWhereNothingWaits: records with acks=all are
// not acknowledged before they are committed, so no client may take them for
// the end.
func TestAskingForTheEndCostsNothingWhereNothingWaits(t *testing.T) {
	b := newBench(t)
	if got := b.ask(); len(*got) != 1 || (*got)[0] != nil {
		t.Errorf("empty: answered %v", *got)
	}
	b.append(AcksAll, batchtest.Spec{})
	if got := b.ask(); len(*got) != 1 || (*got)[0] != nil || len(b.sent) > 0 {
		t.Errorf("acks=all: answered %v, %d objects sent", *got, len(b.sent))
	}
	if b.c.answers.unsettled() {
		t.Error("callers are not let past the owner's goroutine")
	}
}

// TestManyThatAskForTheEndShareAFlush: a client that writes and asks in a loop, or many
// of them, get one object at a time.
func TestManyThatAskForTheEndShareAFlush(t *testing.T) {
	b := newBench(t)
	const clients, objects = 100, 5
	var asked []*[]error
	for i := range objects {
		for range clients {
			b.append(AcksLeader, batchtest.Spec{})
			asked = append(asked, b.ask())
		}
		if len(b.sent) != 1 {
			t.Fatalf("round %d: %d objects under way after %d questions", i, len(b.sent), len(asked))
		}
		b.commit()
		b.progress()
	}
	b.commit() // the questions during the last PUT
	b.progress()
	for i, got := range asked {
		if len(*got) != 1 || (*got)[0] != nil {
			t.Fatalf("question %d of %d is answered %v", i, len(asked), *got)
		}
	}
	if b.progress(); len(b.sent) > 0 {
		t.Errorf("%d objects under way, and nothing waits", len(b.sent))
	}
}

func TestTheEndIsNotKnownWhileTheBucketIsAway(t *testing.T) {
	b := newBench(t)
	b.append(AcksLeader, batchtest.Spec{})
	waiting := b.ask()
	b.c.stall()
	if len(*waiting) != 1 || !errors.Is((*waiting)[0], ErrUnavailable) {
		t.Errorf("answered %v when the bucket stalls", *waiting)
	}
	if got := b.ask(); len(*got) != 1 || !errors.Is((*got)[0], ErrUnavailable) {
		t.Errorf("answered %v while the bucket is away", *got)
	}
	b.commit()
	if got := b.ask(); len(*got) != 1 || (*got)[0] != nil {
		t.Errorf("answered %v when it is back", *got)
	}
	b.append(AcksLeader, batchtest.Spec{})
	waiting = b.ask()
	b.c.fail(nil)
	if len(*waiting) != 1 || !errors.Is((*waiting)[0], ErrNotLeader) {
		t.Errorf("answered %v when the leadership ends", *waiting)
	}
	if got := b.ask(); len(*got) != 1 || !errors.Is((*got)[0], ErrNotLeader) {
		t.Errorf("answered %v afterwards", *got)
	}
}

// TestSpilledBatchesAreFlushedForClientsThatAsk: also batches that are in the
// write-ahead log alone.
func TestSpilledBatchesAreFlushedForClientsThatAsk(t *testing.T) {
	b := newBench(t)
	b.c.flusher.maxMemory, b.c.flusher.interval = 1, time.Hour
	for range 4 {
		b.append(AcksLeader, batchtest.Spec{})
	}
	b.c.wasSynced(4)
	got := b.ask()
	for range 4 {
		if len(*got) == 0 && len(b.sent) > 0 {
			b.commit()
			b.progress()
		}
	}
	if len(*got) != 1 || (*got)[0] != nil || b.c.answers.committed != 4 {
		t.Errorf("answered %v with %d committed", *got, b.c.answers.committed)
	}
}

// TestDeletionKnowsWhatWasAcknowledged: the end is after it.
func TestDeletionKnowsWhatWasAcknowledged(t *testing.T) {
	for _, before := range []int64{AllCommitted, 2} {
		b := newBench(t)
		b.append(AcksLeader, batchtest.Spec{})
		b.c.wasSynced(1)
		done := b.deleteBefore(Deletion{Key: testKey, Before: before})
		for b.progress(); len(b.sent) > 0; b.flush() {
			b.commit()
			b.progress()
		}
		if got := answer(t, done)[0]; got.Err != nil || got.LogStart != 2 {
			t.Errorf("delete before %d: %+v", before, got)
		}
	}
}

// TestSettleOfALeader: with a flush that is an hour away, and a bucket that goes away.
func TestSettleOfALeader(t *testing.T) {
	f, down := newFlakyFolder(t)
	f.change = func(o *Options) { o.FlushInterval = time.Hour }
	l := f.start()
	openTestKey(t, l)
	for want := int64(2); want <= 6; want += 2 {
		if r := appendOne(t, l, AcksLeader, batchtest.Spec{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		if err := l.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v, _ := l.opt.State.Lookup(testKey); v.End != want {
			t.Fatalf("the log ends at %d, want %d", v.End, want)
		}
	}
	down.Store(true)
	if r := appendOne(t, l, AcksLeader, batchtest.Spec{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Settle(ctx); !errors.Is(err, ErrUnavailable) {
		t.Errorf("bucket away: %v, want %v", err, ErrUnavailable)
	}
	if got := l.DeleteRecords(ctx, []Deletion{{Key: testKey, Before: AllCommitted}}); !errors.Is(got[0].Err, ErrUnavailable) {
		t.Errorf("bucket away: deletion %+v, want %v", got[0], ErrUnavailable)
	}
	f.kill(l)
	if err := l.Settle(t.Context()); !errors.Is(err, ErrNotLeader) {
		t.Errorf("ended: %v, want %v", err, ErrNotLeader)
	}
}
