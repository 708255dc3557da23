package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// carry begins a carriage of n entries and returns where its outcome will be.
func (b *bench) carry(n int) chan error {
	done, entries := make(chan error, 1), make([]segment.Entry, n)
	for i := range entries {
		entries[i] = partlog.ExpireProducers{BeforeMs: int64(i + 1)}.Encode()
	}
	b.c.carry(entries, done)
	return done
}

func outcome(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	default:
		t.Fatal("not answered")
		return nil
	}
}

// step has core do everything that is due, as a driver does.
func (b *bench) step() {
	b.t.Helper()
	if err := b.c.progress(); err != nil {
		b.t.Fatal(err)
	}
}

func TestCarriedEntriesRideOnAnObjectThatIsWrittenAnyway(t *testing.T) {
	b := newBench(t)
	b.append(AcksAll, batchtest.Spec{})
	b.flush()
	done := b.carry(3)
	other := b.carry(1)
	if b.commit(); len(done) > 0 {
		t.Fatal("answered by an object that does not have the entries")
	}
	b.append(AcksAll, batchtest.Spec{})
	b.open(partlog.Key{Topic: segment.ID{77}})
	b.flush()
	if len(b.sent) != 1 || len(b.sent[0].Entries) != 5 || len(done) > 0 {
		t.Fatalf("%d objects, answered %d times before the commit", len(b.sent), len(done))
	}
	o := b.commit()
	for i, e := range o.Entries[:3] {
		if x, err := partlog.DecodeExpireProducers(e.Payload); err != nil || x.BeforeMs != int64(i+1) {
			t.Errorf("entry %d is %+v (%v), want the order of the call", i, x, err)
		}
	}
	if err := errors.Join(outcome(t, done), outcome(t, other)); err != nil {
		t.Error(err)
	}
}

func TestCarriedEntriesGetAnObjectOfTheirOwnAfterLongIdleness(t *testing.T) {
	b := newBench(t)
	b.c.carryAfter = 10 * time.Minute
	b.wait(time.Hour)
	first := b.carry(1)
	b.wait(4 * time.Minute)
	second := b.carry(1)
	b.step()
	if at := b.c.wakeAt().Sub(b.clock); at != 6*time.Minute || len(b.sent) > 0 {
		t.Fatalf("%d objects, the next one in %v, want it 10 min after the call", len(b.sent), at)
	}
	b.room = 0
	b.wait(6 * time.Minute)
	if b.step(); len(b.sent) > 0 {
		t.Fatal("written without room in the journal")
	}
	b.room = 4
	b.step()
	b.step()
	if len(b.sent) != 1 || len(b.sent[0].Entries) < 2 {
		t.Fatalf("%d objects, want one with all entries", len(b.sent))
	}
	b.commit()
	if err := errors.Join(outcome(t, first), outcome(t, second)); err != nil || !b.c.wakeAt().IsZero() {
		t.Errorf("%v, woken again at %v", err, b.c.wakeAt())
	}
}

// TestCarriedEntriesThatAreLateWaitForTheNextFlush: a wake-up in the past would be followed
// by another one at once, until that flush is due.
func TestCarriedEntriesThatAreLateWaitForTheNextFlush(t *testing.T) {
	b := newBench(t)
	b.c.carryAfter = time.Minute
	b.room = 0
	b.carry(1)
	b.wait(time.Hour)
	b.room = 4
	b.append(AcksLeader, batchtest.Spec{})
	if b.step(); len(b.sent) > 0 || !b.c.wakeAt().After(b.clock) {
		t.Errorf("%d objects, woken again in %v", len(b.sent), b.c.wakeAt().Sub(b.clock))
	}
	b.c.close()
	b.flush()
	if at := b.c.wakeAt(); !at.IsZero() {
		t.Errorf("woken again in %v after the close", at.Sub(b.clock))
	}
}

// TestClosingDoesNotWaitForCarriedEntries: the next leader plans again.
func TestClosingDoesNotWaitForCarriedEntries(t *testing.T) {
	b := newBench(t)
	b.c.carryAfter = time.Minute
	done := b.carry(1)
	b.wait(time.Hour)
	b.c.close()
	if b.step(); len(b.sent) > 0 || !b.c.finished() {
		t.Fatalf("%d objects, finished %v", len(b.sent), b.c.finished())
	}
	if late := outcome(t, b.carry(1)); !errors.Is(late, ErrClosed) {
		t.Errorf("after the close: %v", late)
	}
	b.c.fail(nil)
	if err := outcome(t, done); !errors.Is(err, ErrNotLeader) {
		t.Errorf("answered %v, want %v", err, ErrNotLeader)
	}
}

// TestCarriedEntriesWaitWhileTheJournalIsHandedOver: an error ends the upkeep, and the
// leadership may go on.
func TestCarriedEntriesWaitWhileTheJournalIsHandedOver(t *testing.T) {
	b := newBench(t)
	b.settleAll()
	b.c.stopped = true
	lost, kept := b.carry(1), b.carry(1)
	b.wait(time.Hour)
	if b.step(); len(b.sent) > 0 || len(lost)+len(kept) > 0 || !b.c.wakeAt().IsZero() {
		t.Fatalf("%d objects, answered %d times, woken at %v", len(b.sent), len(lost)+len(kept), b.c.wakeAt())
	}
	b.c.stopped = false // it was taken back
	if b.step(); len(b.sent) != 1 || len(b.sent[0].Entries) < 2 {
		t.Fatalf("%d objects after the hand-over was taken back, want one", len(b.sent))
	}
	b.settleAll()
	if err := errors.Join(outcome(t, lost), outcome(t, kept)); err != nil {
		t.Error(err)
	}
	b.c.stopped = true
	lost = b.carry(1)
	b.c.fail(nil)
	if err := outcome(t, lost); !errors.Is(err, ErrNotLeader) {
		t.Errorf("after the hand-over: %v, want %v", err, ErrNotLeader)
	}
}

func TestEndOfTheLeadershipAnswersCarriedEntries(t *testing.T) {
	b := newBench(t)
	sent := b.carry(1)
	b.append(AcksAll, batchtest.Spec{})
	b.flush()
	waiting := b.carry(1)
	b.c.fail(nil)
	for _, done := range []chan error{sent, waiting, b.carry(1)} {
		if err := outcome(t, done); !errors.Is(err, ErrNotLeader) {
			t.Errorf("answered %v, want %v", err, ErrNotLeader)
		}
	}
}

func TestCarriedEntriesAreBounded(t *testing.T) {
	b := newBench(t)
	done := make(chan error, 1)
	b.c.carry([]segment.Entry{{Kind: partlog.EntryExpireProducers, Payload: make([]byte, maxCarried+1)}}, done)
	if err := outcome(t, done); !errors.Is(err, errCarryTooLarge) {
		t.Errorf("too many bytes: %v", err)
	}
	if err := outcome(t, b.carry(segment.MaxEntries)); !errors.Is(err, errCarryTooLarge) {
		t.Errorf("too many entries: %v", err)
	}
}

func TestALeaderCarriesEntries(t *testing.T) {
	f := newFolder(t)
	f.change = func(o *Options) { o.CarryAfter = time.Millisecond }
	l := f.start()
	openTestKey(t, l)
	entries := []segment.Entry{partlog.DeleteRecords{Key: testKey, Before: 1}.Encode()}
	appendOne(t, l, AcksAll, batchtest.Spec{})
	if err := l.Carry(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	if v, _ := l.opt.State.Lookup(testKey); v.Start != 1 {
		t.Errorf("answered before it was applied: %+v", v)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Carry(ended, entries); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	closeLeader(t, l)
	if err := l.Carry(t.Context(), entries); !errors.Is(err, journal.ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// TestCarriedDeletionsOfASealedPartitionAreLeftOut: they would contradict the seal in front
// of them, and the journal could not go on.
func TestCarriedDeletionsOfASealedPartitionAreLeftOut(t *testing.T) {
	b := newBench(t)
	b.append(AcksAll, batchtest.Spec{})
	b.settleAll()
	deletion := func() segment.Entry { return partlog.DeleteRecords{Key: testKey, Before: 1}.Encode() }
	kept, alone := make(chan error, 1), make(chan error, 1)
	b.c.carry([]segment.Entry{deletion(), partlog.ExpireProducers{BeforeMs: 1}.Encode()}, kept)
	b.c.carry([]segment.Entry{deletion()}, alone)
	b.seal(testKey)
	b.flush()
	if o := b.sent[0]; len(o.Entries) != 2 {
		t.Errorf("the object has %d entries, want the other one and the seal", len(o.Entries))
	}
	b.settleAll()
	if err := outcome(t, kept); err != nil {
		t.Error(err)
	}
	if err := outcome(t, alone); err != nil {
		t.Error(err)
	}
	head := b.c.state.Head()
	b.c.carry([]segment.Entry{deletion()}, kept)
	b.clock = b.clock.Add(b.c.carryAfter)
	b.step()
	if err := outcome(t, kept); err != nil || len(b.sent) > 0 || b.c.state.Head() != head {
		t.Errorf("an object is written for entries that are left out: %v", err)
	}
}

// TestEntriesThatAreNotWantedAnyMoreAreLeftOut: they may have waited for long.
func TestEntriesThatAreNotWantedAnyMoreAreLeftOut(t *testing.T) {
	b := newBench(t)
	b.settleAll()
	wanted, done := true, make(chan error, 1)
	asked := 0
	entry := func(ms int64) segment.Entry { return partlog.ExpireProducers{BeforeMs: ms}.Encode() }
	only := func(e segment.Entry) bool { asked++; return wanted && e.Payload[len(e.Payload)-1] == 1 }
	b.c.carryWanted([]segment.Entry{entry(1), entry(2)}, only, done)
	if asked > 0 {
		t.Error("asked before an object takes them")
	}
	b.clock = b.clock.Add(b.c.carryAfter)
	if b.step(); len(b.sent) != 1 || len(b.sent[0].Entries) != 1 {
		t.Fatalf("sent %d objects", len(b.sent))
	}
	b.settleAll()
	if err := outcome(t, done); err != nil {
		t.Error(err)
	}
	b.c.carryWanted([]segment.Entry{entry(1)}, only, done)
	wanted = false
	b.clock = b.clock.Add(b.c.carryAfter)
	if b.step(); len(b.sent) != 0 {
		t.Errorf("sent %d objects for nothing", len(b.sent))
	}
	if err := outcome(t, done); err != nil {
		t.Error(err)
	}
}
