package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// is asks the machine of the leadership on the goroutine that owns it.
func (l *Leader) is(t *testing.T, question func(m *machine) bool) bool {
	t.Helper()
	answer := make(chan bool, 1)
	if err := l.loop.Do(t.Context(), func() { answer <- question(l.machine) }); err != nil {
		t.Fatal(err)
	}
	return <-answer
}

func (l *Leader) until(t *testing.T, what string, question func(m *machine) bool) {
	t.Helper()
	until(t, what, func() bool { return l.is(t, question) })
}

// Producers send faster than the bucket takes: more than one flush is left at any time.
func TestAHandOverUnderSaturationEnds(t *testing.T) {
	f, down := newFlakyFolder(t)
	var late atomic.Int64
	f.change = func(o *Options) {
		o.Journal.Ends = func() bool { return true }
		o.FlushBytes = 1
		o.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	}
	_, l := f.open(follows)
	openTestKey(t, l)
	down.Store(true)
	for range 50 { // more than the flushes that may be under way
		if r := appendOne(t, l, AcksLeader, batchtest.Spec{}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	over := make(chan error, 1)
	go func() { over <- l.HandOver(t.Context(), journal.End{To: segment.ID{8}}) }()
	l.until(t, "it hands over", func(m *machine) bool { return m.next != nil })
	late.Store(int64(handOverTakes))
	if l.is(t, func(m *machine) bool { return m.stopped }) {
		t.Fatal("requests wait, and records of before are not committed")
	}
	l.is(t, func(m *machine) bool { m.behind = 0; return true }) // as if they were
	l.until(t, "the time to take requests begins", func(m *machine) bool { return !m.takesUntil.IsZero() })
	if l.is(t, func(m *machine) bool { return m.stopped }) {
		t.Fatal("requests wait, and more than one flush is left")
	}
	late.Store(2 * int64(handOverTakes))
	l.until(t, "requests wait", func(m *machine) bool { return m.stopped })
	down.Store(false)
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// The bucket does not take the records of before. Those with acks=1 are not acknowledged faster than
// they are flushed while the journal is handed over, nor after the node began to leave.
func TestAHandOverAcknowledgesByTheBucket(t *testing.T) {
	f, down := newFlakyFolder(t)
	f.change = func(o *Options) {
		o.Journal.Ends = func() bool { return true }
		o.FlushBytes = 1
	}
	_, l := f.open(follows)
	openTestKey(t, l)
	local := func() <-chan Result {
		answer := make(chan Result, 1)
		go func() { answer <- appendOne(t, l, AcksLeader, batchtest.Spec{}) }()
		return answer
	}
	waits := func(n int) func(m *machine) bool {
		return func(m *machine) bool { return len(m.answers.onCommit.queue) == n }
	}
	down.Store(true)
	for range 50 { // more than the flushes that may be under way
		if r := <-local(); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- l.HandOver(ctx, journal.End{To: segment.ID{8}}) }()
	l.until(t, "it hands over", func(m *machine) bool { return m.next != nil })
	first := local()
	l.until(t, "a record waits for the bucket", waits(1))
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("the hand-over ended with %v", err)
	}
	if r := <-local(); r.Err != nil { // by the disk again
		t.Fatal(r.Err)
	}
	l.Leave()
	second := local()
	l.until(t, "another one does", waits(2))
	down.Store(false)
	for _, answer := range []<-chan Result{first, second} {
		if r := <-answer; r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
	if err := l.HandOver(t.Context(), journal.End{To: segment.ID{8}}); err != nil {
		t.Error(err)
	}
}

// A fence of another node comes first: the journal was not handed over.
func TestAHandOverThatIsFencedFails(t *testing.T) {
	f, down := newFlakyFolder(t)
	f.change = func(o *Options) { o.Journal.Ends = func() bool { return true } }
	_, l := f.open(follows)
	down.Store(true)
	over := make(chan error, 1)
	go func() { over <- l.HandOver(t.Context(), journal.End{To: segment.ID{8}}) }()
	l.until(t, "it hands over", func(m *machine) bool { return m.next != nil })
	_ = l.loop.Do(t.Context(), func() { l.machine.giveUp(journal.ErrFenced) })
	if err := <-over; !errors.Is(err, journal.ErrFenced) {
		t.Errorf("the hand-over ended with %v", err)
	}
}
