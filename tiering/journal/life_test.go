package journal

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// rival leads the journal of w after its leader, which does not know yet.
func (w *world) rival() *node {
	n := w.lead()
	n.propose()
	n.settle()
	return n
}

// cut takes the Put of a seq off the line, without an answer yet.
func (n *node) cut(seq uint64) Put {
	i := n.find(seq)
	put := n.pending[i].(Put)
	n.pending = slices.Delete(n.pending, i, i+1)
	return put
}

func TestADeposedLeaderReadsOnAndLeadsAgain(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.stays = true
	n.propose()
	n.settle()
	other := w.rival()
	void := n.propose()
	n.step(Prove{})
	n.settle()
	if !errors.Is(n.lost, ErrFenced) || n.err != nil || n.failed != 1 || n.core.Stands() {
		t.Fatalf("deposed by %v, ended with %v, proofs failed up to %d", n.lost, n.err, n.failed)
	}
	if !slices.Equal(n.log, other.log) {
		t.Fatalf("has applied %v, its successor %v", n.log, other.log)
	}
	n.step(Stand{Incarnation: segment.ID{4, 99}})
	n.settle()
	last := n.propose()
	n.settle()
	if !n.led || n.core.Chain().Epoch != 3 || n.own[len(n.own)-1] != last || slices.Contains(n.own, void) {
		t.Fatalf("leads %v with epoch %d, its own are %v", n.led, n.core.Chain().Epoch, n.own)
	}
	if h := w.header(other.log[len(other.log)-1].Seq + 1); h.Kind != segment.KindFence || h.Incarnation != (segment.ID{4, 99}) {
		t.Errorf("fenced with %+v", h)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

// Objects that were under way when a leadership was given up may land, and count then.
func TestALeaderThatGivesUpReadsItsOwnLateObjects(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.stays = true
	ref := n.propose()
	put := n.cut(ref.Seq)
	n.step(Resign{})
	n.settle()
	if n.led || n.lost != nil || n.losses != 1 {
		t.Fatalf("leads %v, lost %d times, the last time for %v", n.led, n.losses, n.lost)
	}
	if err := w.land(put); err != nil {
		t.Fatal(err)
	}
	n.step(Poke{})
	n.settle()
	if last := n.log[len(n.log)-1]; last != ref || len(n.own) != 0 {
		t.Errorf("has applied %v, as its own %v; want seq %d as that of any leader", n.log, n.own, ref.Seq)
	}
}

// The PUT of a fence has no answer yet when that of an older filler for the same seq has
// one.
func TestAnAnswerToAnEarlierLeadershipCountsForNothing(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.stays = true
	ref := n.propose()
	put := n.cut(ref.Seq)
	n.step(Resign{})
	n.settle()
	n.step(Stand{Incarnation: segment.ID{4, 99}})
	for !slices.ContainsFunc(n.pending, func(a Action) bool { p, ok := a.(Put); return ok && p.Seq == ref.Seq }) {
		n.answer(0)
	}
	if err := w.land(put); err != nil {
		t.Fatal(err)
	}
	n.step(PutDone{Seq: put.Seq, Token: put.Token})
	if n.settle(); !n.led || n.core.Chain().Fence.Seq != ref.Seq+1 {
		t.Errorf("leads %v, its fence is %v, and seq %d has the object of before", n.led, n.core.Chain().Fence, ref.Seq)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

// A follower found the end before it was to lead, and reads the floor.
func TestAFollowerThatStandsLooksBeyondTheGap(t *testing.T) {
	w := newWorld(t)
	w.rival()
	delete(w.objects, 5) // of 1 to 5
	w.place(segment.Header{Kind: segment.KindData, Epoch: 1, Seq: 6, Confirmed: 5, Prev: segment.Ref{Seq: 5, Object: segment.ID{1}}})
	n := w.add(w.config(false))
	for n.core.Chain().Next < 5 || !n.core.atEnd {
		n.answer(0)
	}
	n.step(Stand{Incarnation: segment.ID{4, 99}})
	if n.settle(); !errors.Is(n.err, ErrBroken) || w.objects[5] != nil {
		t.Errorf("leads %v, ended with %v, want %v and no fence (%v)", n.led, n.err, ErrBroken, w.objects[5] != nil)
	}
}

// A follower found the end, and then stood and gave up before it had read the floor. That
// end proves nothing later.
func TestAnEndThatWasFoundBeforeALeadershipIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.rival()
	n := w.add(w.config(false))
	n.stays = true
	for !n.core.atEnd {
		n.answer(0)
	}
	n.step(Stand{Incarnation: segment.ID{4, 99}})
	n.core.Step(Resign{}) // its owner asks before it looks
	other := w.lead()
	n.step(Prove{})
	for n.proved == 0 {
		n.answer(0)
	}
	if last := n.log[len(n.log)-1]; last != other.log[len(other.log)-1] {
		t.Errorf("proves the head at seq %d, seq %d is committed", last.Seq, other.log[len(other.log)-1].Seq)
	}
}

// life is a Life on a stage.
type life struct {
	*Life
	s       *stage
	o       *Owner
	follows *scripted
	policy  error   // of the end of a leadership
	lost    []error // reasons of these ends
}

func newLife(t *testing.T) *life {
	w := newWorld(t)
	l := &life{s: &stage{w: w, now: time.UnixMilli(1)}, follows: &scripted{}}
	checkpoints := CheckpointerOptions{NewID: w.newID, Policy: CheckpointPolicy{Every: 1}}
	l.o = NewOwner(OwnerOptions{Journal: w.config(false), Checkpoints: &checkpoints, Log: slog.New(slog.DiscardHandler)}, l.s)
	l.Life = NewLife(l.o, l.follows, func(err error) error {
		l.lost = append(l.lost, err)
		if l.Stage() != StageFollows {
			t.Error("is asked what to do while the leadership goes on")
		}
		return l.policy
	})
	l.o.Start(l.Life)
	l.s.play(l.o)
	return l
}

// take has the Life take over, and lead.
func (l *life) take(t *testing.T) *scripted {
	t.Helper()
	m, id := &scripted{}, l.s.w.newID()
	l.o.Do(func() { l.Stand(m, Stand{Incarnation: id}) })
	if l.Stage() != StageTakesOver {
		t.Errorf("stands and is in stage %d", l.Stage())
	}
	if l.s.play(l.o); l.Stage() != StageLeads || m.led != 1 {
		t.Fatalf("is in stage %d, led %d times: %v", l.Stage(), m.led, l.o.Err())
	}
	return m
}

// depose has another node fence, and the Life meet the fence.
func (l *life) depose(t *testing.T) {
	t.Helper()
	l.s.w.t = t
	l.s.w.rival()
	l.o.Do(func() { l.o.Prove(func(error) {}) })
	l.s.play(l.o)
}

func TestALifeGoesThroughItsStagesAgainAndAgain(t *testing.T) {
	l := newLife(t)
	for i := range 3 {
		m := l.take(t)
		leads := l.follows.progress
		commit(l.s, l.o)
		if l.follows.progress != leads {
			t.Error("the follower progresses while the journal is led")
		}
		if i == 1 {
			l.o.Do(func() { l.Resign(nil) })
		} else {
			l.depose(t)
		}
		if len(m.ended) != 1 || l.Stage() != StageFollows || l.o.Ended() {
			t.Fatalf("the machine of the leadership ended %v, stage %d, %v", m.ended, l.Stage(), l.o.Err())
		}
		if wished := l.lost[i] == nil; wished != (i == 1) || m.ended[0] != l.lost[i] {
			t.Errorf("lost for %v, the machine learned %v", l.lost[i], m.ended[0])
		}
		if l.follows.progress == leads {
			t.Error("the follower does not progress after the leadership")
		}
		if l.s.play(l.o); uint64(len(l.s.w.objects)) != l.o.Core().Chain().Next-1 {
			t.Errorf("stands at seq %d of %d", l.o.Core().Chain().Next-1, len(l.s.w.objects))
		}
	}
}

func TestALifeEndsWithTheErrorOfThePolicy(t *testing.T) {
	l := newLife(t)
	m := l.take(t)
	l.policy = errors.New("one leadership is enough")
	if l.depose(t); !l.o.Ended() || l.o.Err() != l.policy {
		t.Errorf("ended %v with %v", l.o.Ended(), l.o.Err())
	}
	if len(m.ended) != 1 || !errors.Is(m.ended[0], ErrFenced) || len(l.follows.ended) != 1 {
		t.Errorf("the machines ended with %v and %v", m.ended, l.follows.ended)
	}
}

// A journal that ends while it is led ends both machines.
func TestALifeEndsInTheMidstOfALeadership(t *testing.T) {
	l := newLife(t)
	m := l.take(t)
	l.o.Do(func() { l.o.End(nil) })
	if len(m.ended) != 1 || len(l.follows.ended) != 1 || len(l.lost) != 0 {
		t.Errorf("the machines ended with %v and %v, lost %v", m.ended, l.follows.ended, l.lost)
	}
}

// A follower's proof says nothing about a leadership, and an earlier leadership nothing
// about the next.
func TestStandingBelongsToOneLeadership(t *testing.T) {
	l := newLife(t)
	confirm := func() (err error) {
		l.o.Do(func() { l.o.Confirm(func(e error) { err = e }) })
		l.s.play(l.o)
		return err
	}
	l.o.Do(func() { l.o.Prove(func(error) {}) })
	if l.s.play(l.o); l.o.Holds() || !errors.Is(confirm(), ErrEnded) {
		t.Error("a follower says that it leads")
	}
	l.take(t)
	if err := confirm(); err != nil || !l.o.Holds() {
		t.Fatal("a leader does not say that it leads", err)
	}
	l.depose(t)
	if l.o.Holds() || !errors.Is(confirm(), ErrEnded) {
		t.Error("a deposed leader says that it leads")
	}
	l.take(t)
	if err := confirm(); err != nil {
		t.Error("a leader that was deposed before does not say that it leads", err)
	}
}

// A checkpoint, and with it a plan for the floor, is of one leadership. The write goes on
// after its end.
func TestACheckpointOfAnEarlierLeadershipSaysNothing(t *testing.T) {
	l := newLife(t)
	m := l.take(t)
	commit(l.s, l.o)
	if m.planned != 1 || len(l.s.works) != 1 {
		t.Fatalf("planned %d checkpoints", m.planned)
	}
	l.depose(t)
	again := l.take(t)
	commit(l.s, l.o)
	if again.planned != 0 {
		t.Fatal("two checkpoints are written at once")
	}
	l.o.Do(l.s.works[0])
	if m.checkpointed+again.checkpointed != 0 || again.planned != 1 {
		t.Errorf("the outcome came to the machines %d and %d times, %d checkpoints were planned then", m.checkpointed, again.checkpointed, again.planned)
	}
}

// A plan that was given out and is in no object is lost with the leadership. The next one
// may plan again, or the floor would never move.
func TestAPlanIsGivenUpWithItsLeadership(t *testing.T) {
	var troubles []error
	c := NewCheckpointer(CheckpointerOptions{OnTrouble: func(_ Step, err error) { troubles = append(troubles, err) }})
	log := slog.New(slog.DiscardHandler)
	job := func() (job CheckpointJob) {
		c.Begin(&job)
		return job
	}
	if !job().plan {
		t.Fatal("may not plan a floor at first")
	}
	if err := c.Finished(CheckpointResult{Plan: &FloorPlan{Object: segment.ID{1}}}, log); err != nil {
		t.Fatal(err)
	}
	if job().plan {
		t.Fatal("may plan a second floor while one is on its way")
	}
	if err := c.Finished(CheckpointResult{FloorErr: objstore.ErrDenied}, log); err != nil || len(troubles) != 1 {
		t.Fatal(err, troubles)
	}
	c.Deposed()
	if len(troubles) != 2 || troubles[1] != nil {
		t.Errorf("the trouble of an earlier leadership stays: %v", troubles)
	}
	if !job().plan {
		t.Error("a plan of an earlier leadership is waited for")
	}
}
