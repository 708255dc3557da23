package node

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
)

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// takenOver are two nodes, of which the second leads the journals now. The first one, which
// has a policy for that, finds out.
func takenOver(t *testing.T, policy afterLoss) (first, second *testNode) {
	t.Helper()
	store := mem.New(time.Now, nil)
	createUnopened(t, store)
	first, closeFirst := newNode(t, store)
	t.Cleanup(closeFirst)
	first.afterLoss = policy
	if err := first.lead(t.Context(), &first.closers); err != nil {
		t.Fatal(err)
	}
	second, closeSecond := newNode(t, store)
	t.Cleanup(closeSecond)
	if err := second.lead(t.Context(), &second.closers); err != nil {
		t.Fatal(err)
	}
	return first, second
}

// looks has a node look whether it still leads.
func (n *testNode) looks(t *testing.T) {
	t.Helper()
	if err := n.controller.Prove(t.Context()); !errors.Is(err, journal.ErrEnded) {
		t.Errorf("the controller proves with %v", err)
	}
	if err := n.journals.get(1).leader.Prove(t.Context()); !errors.Is(err, journal.ErrEnded) {
		t.Errorf("the leader proves with %v", err)
	}
}

// A node that may go on follows the journals that it has lost, and sends clients away.
func TestANodeFollowsTheJournalsThatItHasLost(t *testing.T) {
	var losses atomic.Int32
	first, second := takenOver(t, func(uint32, error) (bool, error) { losses.Add(1); return false, nil })
	topic, led := first.meta.Topics()[0], first.journals.get(1)
	if p := first.placement(topic, 0); p.Leader != first.id.Load() || first.appender(1) == nil {
		t.Fatalf("placed at %+v", p)
	}
	changed, woken := make(chan struct{}, 1), make(chan struct{}, 1)
	first.journals.watch(changed)
	defer led.state.Watch([]partlog.Key{{Topic: topic.ID, Index: 0}}, woken)()
	first.looks(t)
	<-changed
	<-woken
	until(t, "the loss is noticed", func() bool {
		if len(first.failed) > 0 {
			t.Fatal(<-first.failed)
		}
		return first.journals.get(1).lost != nil && !first.controller.Leads() && losses.Load() == 2
	})
	if p := first.placement(topic, 0); p.Leader != -1 || p.Epoch <= 0 || first.appender(1) != nil {
		t.Errorf("placed at %+v", p)
	}
	view, err := first.journalView(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := view.Head.Prove(t.Context()); !errors.Is(err, fetch.ErrNotLeader) || !view.Lost {
		t.Errorf("readers are answered as by a leader: %v, lost %v", err, view.Lost)
	}
	until(t, "the metrics of the leadership go", func() bool { return !first.shows(t, "varve_wal_pending_bytes") })
	if !first.shows(t, "varve_journal_head") {
		t.Error("no metrics of the journal")
	}
	until(t, "it is known that the journal is not led here", func() bool { _, led := first.reports.Reconciled(1); return !led })
	until(t, "the journals are followed", func() bool {
		return led.state.Head() == second.journals.get(1).state.Head() && first.meta.Head() == second.meta.Head()
	})
	if len(first.failed) > 0 {
		t.Error(<-first.failed)
	}
}

// shows reports whether a node has values of a metric.
func (n *testNode) shows(t *testing.T, name string) bool {
	t.Helper()
	all, err := n.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == name {
			return true
		}
	}
	return false
}

func TestANodeTakesJournalsOverAgain(t *testing.T) {
	first, second := takenOver(t, func(uint32, error) (bool, error) { return true, nil })
	led := first.journals.get(1)
	first.looks(t)
	until(t, "it leads again", func() bool {
		j := first.journals.get(1)
		return j != led && j.leader != nil && first.controller.Leads()
	})
	if p := first.placement(first.meta.Topics()[0], 0); p.Leader != first.id.Load() {
		t.Errorf("placed at %+v", p)
	}
	second.looks(t)
	if reason := <-second.failed; EndingOf(reason) != TakenOver {
		t.Errorf("the other node ends with %v", reason)
	}
	if own := first.dir.Incarnations(1); len(own) != 2 {
		t.Errorf("has noted %d leaderships", len(own))
	}
}

// Work that hangs on a leadership may take long to stop. The node ends without waiting for it.
func TestANodeThatLosesAJournalEndsAtOnce(t *testing.T) {
	store := mem.New(time.Now, nil)
	createUnopened(t, store)
	leads := func() (*testNode, *dataLife) {
		n, closeAll := newNode(t, store)
		t.Cleanup(closeAll)
		if err := n.lead(t.Context(), &n.closers); err != nil {
			t.Fatal(err)
		}
		l, err := n.newLife(t.Context(), 2)
		if err == nil {
			l.leader, err = l.journal.Lead(n.term(2))
		}
		if err != nil {
			t.Fatal(err)
		}
		go l.run()
		n.closers.push(l.close)
		if err := <-l.first; err != nil {
			t.Fatal(err)
		}
		return n, l
	}
	first, life := leads()
	stop := make(chan struct{})
	defer close(stop)
	life.tenure.push(func() error { <-stop; return nil })
	leader := life.leader
	leads()
	if err := leader.Prove(t.Context()); !errors.Is(err, journal.ErrEnded) {
		t.Errorf("the leader proves with %v", err)
	}
	select {
	case reason := <-first.failed:
		if EndingOf(reason) != TakenOver {
			t.Errorf("it ends with %v", reason)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for work of the leadership that is over")
	}
}

// A node that does not reach the bucket learns from others only that it was deposed.
func TestALeaderThatIsSaidToBeDeposedTakesNothing(t *testing.T) {
	_, n := takenOver(t, func(uint32, error) (bool, error) { return false, nil })
	n.leaders = believed{1: {Node: n.dir.Node(), Epoch: 1}}
	if n.appender(1) == nil {
		t.Fatal("it takes no records, and leads")
	}
	n.leaders = believed{1: {Epoch: 1, Doubted: true}}
	if n.appender(1) != nil {
		t.Error("records are taken")
	}
}
