package ingest

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// steps is a command that is reached after some looks at the committed state, and
// adds an entry before each.
type steps struct {
	left     int
	onAnswer func()
	answers  []error
}

func (s *steps) propose(add func(segment.Entry)) {
	add(partlog.ExpireProducers{BeforeMs: 1}.Encode())
	s.left--
}
func (s *steps) reached() bool { return s.left == 0 }
func (s *steps) answer(err error) {
	s.answers = append(s.answers, err)
	if s.onAnswer != nil {
		s.onAnswer()
	}
}

func (b *bench) commitAll() {
	for b.flush(); len(b.sent) > 0; b.flush() {
		b.commit()
	}
}

func TestCommandProposesAfterEachCommitOfEntriesUntilItIsReached(t *testing.T) {
	b := newBench(t)
	s := &steps{left: 3}
	b.c.start(s)
	for want := 2; want >= 0; want-- {
		if b.append(AcksAll, batchtest.Spec{}); s.left != want || len(s.answers) > 0 {
			t.Fatalf("%d steps left, want %d; answered %v", s.left, want, s.answers)
		}
		b.flush()
		b.commit()
	}
	b.commitAll()
	if len(s.answers) != 1 || s.answers[0] != nil || s.left != 0 {
		t.Errorf("answered %v with %d steps left, want one success", s.answers, s.left)
	}
}

func TestCommandThatIsReachedCostsNoEntry(t *testing.T) {
	b := newBench(t)
	s := &steps{}
	b.c.start(s)
	if len(s.answers) != 1 || s.answers[0] != nil || !b.c.flusher.buffer.empty() {
		t.Errorf("answered %v, buffer %+v", s.answers, b.c.flusher.buffer)
	}
}

func TestEndOfTheLeadershipAnswersEachCommandOnce(t *testing.T) {
	b := newBench(t)
	reached, waiting, late, rider, lateRider := &steps{left: 1}, &steps{left: 5}, &steps{left: 1}, &steps{left: 1}, &steps{left: 1}
	b.c.start(reached)
	b.c.start(waiting)
	waiting.onAnswer = func() { b.c.start(late) }
	b.flush()
	b.commit()
	b.c.commands.ride(rider)
	b.c.fail(nil)
	b.c.commands.ride(lateRider)
	b.c.fail(nil)
	if len(reached.answers) != 1 || reached.answers[0] != nil {
		t.Errorf("reached before: answered %v", reached.answers)
	}
	for name, s := range map[string]*steps{"waiting": waiting, "started at the end": late, "riding": rider} {
		if len(s.answers) != 1 || !errors.Is(s.answers[0], ErrNotLeader) {
			t.Errorf("%s: answered %v, want %v once", name, s.answers, ErrNotLeader)
		}
	}
}

func TestAnswerMayStartTheNextCommand(t *testing.T) {
	b := newBench(t)
	first, second := &steps{left: 1}, &steps{left: 1}
	first.onAnswer = func() { b.c.start(second) }
	b.c.start(first)
	b.commitAll()
	if len(first.answers) != 1 || len(second.answers) != 1 || second.answers[0] != nil {
		t.Errorf("answered %v and %v", first.answers, second.answers)
	}
}

// TestRidersWaitForAnObjectThatIsWrittenAnyway: an idle journal writes none for them.
func TestRidersWaitForAnObjectThatIsWrittenAnyway(t *testing.T) {
	b := newBench(t)
	for n := range uint64(3) {
		b.c.checkpointed(journal.CheckpointResult{Plan: &journal.FloorPlan{N: n + 1, At: segment.Ref{Seq: 1, Object: segment.ID{1}}, Object: segment.ID{2}}})
	}
	b.clock = b.clock.Add(2 * time.Hour)
	if b.flush(); !b.c.flusher.due().IsZero() || len(b.sent) > 0 {
		t.Fatalf("%d objects of an idle journal, the next one at %v", len(b.sent), b.c.flusher.due())
	}
	b.append(AcksAll, batchtest.Spec{})
	b.flush()
	if o := b.commit(); len(o.Entries) != 1 || o.Floor == nil || o.Floor.N != 3 {
		t.Errorf("the next object has %d entries for the state and plans %+v, want an expiry and the newest plan", len(o.Entries), o.Floor)
	}
	b.append(AcksAll, batchtest.Spec{})
	b.flush()
	if o := b.commit(); len(o.Entries) != 0 || len(b.c.commands.waiting) > 0 {
		t.Errorf("the one after it has %d entries, and %d commands wait", len(o.Entries), len(b.c.commands.waiting))
	}
}

func TestEntriesOfAnObjectAreBounded(t *testing.T) {
	var b buffer
	b.first = 1
	small, large := segment.Entry{Payload: make([]byte, 1)}, segment.Entry{Payload: make([]byte, 1000)}
	for range segment.MaxEntries + 10 {
		b.addEntry(small, time.Time{})
	}
	rider := []segment.Entry{large}
	if n := len(b.takeEntries(rider, 1<<20)); n != segment.MaxEntries {
		t.Errorf("%d entries taken, at most %d fit", n, segment.MaxEntries)
	}
	if n := len(b.takeEntries(nil, 1<<20)); n != 11 {
		t.Errorf("%d entries taken next, 11 were left", n)
	}
	for _, e := range []segment.Entry{large, small, large} {
		b.addEntry(e, time.Time{})
	}
	for _, want := range []int{2, 1, 0} {
		if n := len(b.takeEntries(nil, 1001)); n != want {
			t.Errorf("%d entries taken, %d fit into 1001 bytes", n, want)
		}
	}
}
