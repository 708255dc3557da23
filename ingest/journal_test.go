package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// follows is the policy of a node that follows on whenever it is deposed.
func follows(error) error { return nil }

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A node that was deposed goes on with the state that it has, and leads again.
func TestAJournalIsLedAgainAfterItWasDeposed(t *testing.T) {
	f := newFolder(t)
	j, first := f.open(follows)
	openTestKey(t, first)
	if r := appendOne(t, first, AcksAll, batchtest.Spec{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	other := f.other().start()
	openTestKey(t, other)
	if r := appendOne(t, other, AcksAll, batchtest.Spec{}); r.Err != nil || r.BaseOffset != 2 {
		t.Fatalf("%+v", r)
	}
	if err := first.Prove(t.Context()); !errors.Is(err, journal.ErrEnded) {
		t.Fatalf("a deposed leader proves with %v", err)
	}
	<-first.Done()
	if !errors.Is(first.Err(), journal.ErrFenced) {
		t.Errorf("deposed by %v", first.Err())
	}
	until(t, "the records of the other leader are applied", func() bool {
		v, _ := j.opt.State.Lookup(testKey)
		return v.End == 4
	})
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := f.lead(j)
	openTestKey(t, again)
	if r := appendOne(t, again, AcksAll, batchtest.Spec{}); r.Err != nil || r.BaseOffset != 4 {
		t.Fatalf("%+v", r)
	}
	if r := appendOne(t, first, AcksAll, batchtest.Spec{}); !errors.Is(r.Err, ErrNotLeader) {
		t.Errorf("the first leadership took a batch: %+v", r)
	}
	for what, err := range map[string]error{
		"proves": first.Prove(t.Context()), "confirms itself": first.Confirm(t.Context()),
		"carries": first.Carry(t.Context(), nil), "settles": ended(first.Settle(t.Context())),
	} {
		if !errors.Is(err, journal.ErrEnded) {
			t.Errorf("the first leadership %s while the second one goes on: %v", what, err)
		}
	}
	if err := again.Confirm(t.Context()); err != nil {
		t.Error(err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// ended is the answer of a settler in the form of the others.
func ended(err error) error {
	if errors.Is(err, ErrNotLeader) || err == nil { // nil: nothing that it acknowledged is open
		return journal.ErrEnded
	}
	return err
}

// Records that only the log of a lost leadership has are brought to the bucket by the next
// one of the same folder, if no other node has led since.
func TestALeadershipThatIsGivenUpLeavesItsLogToTheNext(t *testing.T) {
	f, down := newFlakyFolder(t)
	j, first := f.open(follows)
	openTestKey(t, first)
	down.Store(true)
	if r := appendOne(t, first, AcksLeader, batchtest.Spec{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := first.Close(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("closed with %v", err)
	}
	down.Store(false)
	again := f.lead(j)
	if v, _ := j.opt.State.Lookup(testKey); v.End != 2 || again.SetAside() != 0 {
		t.Errorf("%d records are there, %d set aside", v.End, again.SetAside())
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A leadership of this folder is its own also if its log does not lie there any more.
func TestALogIsReplayedAcrossLeadershipsThatTheFolderKnows(t *testing.T) {
	for _, knows := range []bool{false, true} {
		f, down := newFlakyFolder(t)
		first := f.start()
		openTestKey(t, first)
		down.Store(true)
		if r := appendOne(t, first, AcksLeader, batchtest.Spec{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		f.kill(first)
		down.Store(false)
		elsewhere := *f
		elsewhere.dir = t.TempDir()
		between := elsewhere.start()
		if closeLeader(t, between); knows {
			f.own = []segment.ID{between.opt.Journal.Incarnation}
		}
		last := f.start()
		until(t, "logs set aside are counted", func() bool { return knows || last.SetAside() == 2 })
		if v, _ := last.opt.State.Lookup(testKey); (v.End == 2) != knows {
			t.Errorf("knows the leadership: %v, and has %d records", knows, v.End)
		}
		closeLeader(t, last)
	}
}

func TestAJournalIsLedOnceAtATime(t *testing.T) {
	f := newFolder(t)
	j, l := f.open(follows)
	if _, err := j.Lead(Term{}); !errors.Is(err, errLed) {
		t.Errorf("led twice: %v", err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := f.lead(j); again.Close(t.Context()) != nil {
		t.Error(again.Err())
	}
}

// A journal that ends ends its leadership.
func TestTheEndOfAJournalEndsItsLeadership(t *testing.T) {
	f := newFolder(t)
	j, l := f.open(follows)
	j.Close()
	<-l.Done()
	if _, err := j.Lead(Term{Incarnation: testTopic}); err != nil {
		t.Fatal(err)
	}
	<-j.last.Done()
	if !errors.Is(j.last.Err(), journal.ErrEnded) {
		t.Errorf("led after the end: %v", j.last.Err())
	}
	<-j.last.closed
}

// A follower applies the records of another node, and takes the journal over when that hands
// it over.
func TestAJournalIsHandedOver(t *testing.T) {
	f := newFolder(t)
	f.change = func(o *Options) { o.Journal.Ends = func() bool { return true } }
	j, l := f.open(follows)
	openTestKey(t, l)
	g := f.other()
	named := make(chan journal.End, 1)
	g.change = func(o *Options) { o.OnEnd = func(_ uint32, e journal.End) { named <- e } }
	follower := g.prepare(follows)
	follower.Follow()
	<-follower.AtHead()
	local := appendOne(t, l, AcksLeader, batchtest.Spec{})
	end := journal.End{To: g.node, Assignment: 3}
	if err := l.HandOver(t.Context(), end); err != nil || local.Err != nil {
		t.Fatal(err, local.Err)
	}
	if got := <-named; got != end {
		t.Errorf("the follower learned of %v", got)
	}
	if r := appendOne(t, l, AcksAll, batchtest.Spec{}); !errors.Is(r.Err, ErrNotLeader) {
		t.Errorf("a request after the hand-over got %v", r.Err)
	}
	next := g.lead(follower)
	openTestKey(t, next)
	if r := appendOne(t, next, AcksAll, batchtest.Spec{}); r.Err != nil || r.BaseOffset != local.BaseOffset+2 {
		t.Errorf("%+v after a record with acks=1 at %d", r, local.BaseOffset)
	}
	if err := next.Close(t.Context()); err != nil {
		t.Error(err)
	}
	again := f.lead(j) // all of its own log was committed
	if again.SetAside() != 0 {
		t.Errorf("%d records were set aside", again.SetAside())
	}
}

// The bucket does not answer. Requests wait while the leadership is to end, and are
// answered when it goes on.
func TestAHandOverThatIsTakenBackRefusesNoRequest(t *testing.T) {
	f, down := newFlakyFolder(t)
	f.change = func(o *Options) { o.Journal.Ends = func() bool { return true } }
	_, l := f.open(follows)
	openTestKey(t, l)
	down.Store(true)
	if r := appendOne(t, l, AcksLeader, batchtest.Spec{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- l.HandOver(ctx, journal.End{To: segment.ID{8}}) }()
	until(t, "requests wait", func() bool {
		stopped := make(chan bool, 1)
		_ = l.loop.Do(t.Context(), func() { stopped <- l.machine.stopped })
		return <-stopped
	})
	answer := make(chan Result, 1)
	go func() { answer <- appendOne(t, l, AcksAll, batchtest.Spec{}) }()
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("the hand-over ended with %v", err)
	}
	down.Store(false)
	if r := <-answer; r.Err != nil || r.BaseOffset != 2 {
		t.Errorf("%+v", r)
	}
	if err := l.HandOver(t.Context(), journal.End{To: segment.ID{8}}); err != nil {
		t.Error(err)
	}
}
