package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// instance is a join of a static member that does not know its id.
func instance(name string, change func(*JoinRequest)) JoinRequest {
	return request(func(r *JoinRequest) {
		r.Instance = &name
		if change != nil {
			change(r)
		}
	})
}

// formStatic makes a stable group of two static members, the first one leading.
func (w *world) formStatic() []JoinAnswer {
	w.t.Helper()
	calls := []*call[JoinAnswer]{w.join(instance("i1", nil)), w.join(instance("i2", nil))}
	w.pass(7 * time.Second)
	return w.assignAll(calls)
}

func TestStaticMemberComesBackWithoutARebalance(t *testing.T) {
	for name, test := range map[string]struct {
		instance  int
		knowsSkip bool
	}{
		"leader": {0, true}, "follower": {1, true}, "leader of old": {0, false},
	} {
		w := newWorld(t, nil)
		members := w.formStatic()
		old := members[test.instance]
		a := w.join(instance([]string{"i1", "i2"}[test.instance], func(r *JoinRequest) { r.KnowsSkip = test.knowsSkip })).get(t)
		if a.Err != nil || a.Generation != 1 || a.Member == old.Member || w.state() != Stable {
			t.Fatalf("%s: answer is %+v, group %v", name, a, w.state())
		}
		leads := test.instance == 0
		switch {
		case a.SkipAssignment != (leads && test.knowsSkip):
			t.Errorf("%s: skip is %v", name, a.SkipAssignment)
		case leads && test.knowsSkip && (a.Leader != a.Member || len(a.Members) != 2 || a.Members[0].Member != a.Member):
			t.Errorf("%s: answer is %+v", name, a)
		case leads && !test.knowsSkip && (a.Leader != old.Member || len(a.Members) != 0):
			t.Errorf("%s: it may take itself for the leader: %+v", name, a)
		}
		if s := w.sync(a, nil).get(t); s.Err != nil || s.Assignment[0] != byte(test.instance+1) {
			t.Errorf("%s: sync: %+v", name, s)
		}
		err := w.m.Heartbeat(w, Identity{Group: "g", Member: old.Member, Instance: a2s(test.instance), Generation: 1})
		if !errors.Is(err, ErrFencedInstance) {
			t.Errorf("%s: the old process gets %v", name, err)
		}
		w.move(0, 0)
		if err := w.heartbeat(a); err != nil {
			t.Errorf("%s: heartbeat after a take-over: %v", name, err)
		}
	}
}

func a2s(i int) *string { return ptr([]string{"i1", "i2"}[i]) }

// A static member whose new id could not be committed, and that does not come back,
// is in the group until its session is over, and no longer.
func TestStaticMemberThatGivesUpGoes(t *testing.T) {
	w := newWorld(t, nil)
	members := w.formStatic()
	w.auto = false
	back := w.join(instance("i2", nil))
	for range 2 { // longer than its session
		w.pass(6 * time.Second)
		if err := w.heartbeat(members[0]); err != nil {
			t.Fatalf("heartbeat of the other: %v", err)
		}
	}
	back.waits(t)
	w.doubt(0)
	if a := back.get(t); !errors.Is(a.Err, coordinator.ErrUnavailable) {
		t.Fatalf("answer is %+v", a)
	}
	for range 2 {
		if err := w.heartbeat(members[0]); err != nil {
			t.Fatalf("heartbeat of the other: %v", err)
		}
		w.pass(6 * time.Second)
	}
	if ids := w.ids(); !slices.Equal(ids, []string{members[0].Member}) || w.state() != PreparingRebalance {
		t.Errorf("members are %q, group is %v", ids, w.state())
	}
}

func TestStaticMemberWithNewsRebalances(t *testing.T) {
	w := newWorld(t, nil)
	members := w.formStatic()
	c := w.join(instance("i2", func(r *JoinRequest) {
		r.Protocols = []Protocol{{"sticky", nil}, {"range", nil}}
	}))
	if a := c.get(t); a.Err != nil || w.state() != Stable {
		t.Errorf("the protocol is the same, and the answer %+v in state %v", a, w.state())
	}
	both := func(r *JoinRequest) { r.Protocols = []Protocol{{"sticky", nil}, {"range", nil}} }
	w.join(instance("i1", both)).waits(t)
	if w.state() != PreparingRebalance {
		t.Errorf("another protocol wins, and the group is %v", w.state())
	}
	if err := w.heartbeat(members[1]); !errors.Is(err, ErrUnknownMember) {
		t.Errorf("replaced member without its instance id: %v", err)
	}
}

func TestSecondProcessOfAnInstanceFencesTheFirst(t *testing.T) {
	w := newWorld(t, nil)
	first := w.join(instance("i1", nil))
	second := w.join(instance("i1", nil))
	if a := first.get(t); !errors.Is(a.Err, ErrFencedInstance) {
		t.Errorf("waiting join: %+v", a)
	}
	w.pass(w.config.InitialDelay)
	a := second.get(t)
	if a.Err != nil || len(a.Members) != 1 || *a.Members[0].Instance != "i1" {
		t.Fatalf("answer is %+v", a)
	}
	follower := w.join(instance("i2", nil))
	rejoined := w.join(instance("i1", func(r *JoinRequest) { r.Member = a.Member }))
	f := follower.get(t)
	waiting := w.sync(f, nil)
	third := w.join(instance("i2", nil)) // while the leader assigns
	if s := waiting.get(t); !errors.Is(s.Err, ErrFencedInstance) {
		t.Errorf("waiting sync: %+v", s)
	}
	third.waits(t)
	if s := w.sync(rejoined.get(t), map[string][]byte{f.Member: {1}}).get(t); !errors.Is(s.Err, ErrRebalance) {
		t.Errorf("assignment to the old id: %+v", s)
	}
	fenced := w.join(instance("i2", func(r *JoinRequest) { r.Member = f.Member })).get(t)
	if !errors.Is(fenced.Err, ErrFencedInstance) {
		t.Errorf("join of the fenced: %+v", fenced)
	}
	if c := w.commitOffset(Identity{Group: "g", Member: f.Member, Instance: ptr("i2"), Generation: f.Generation}, 1).get(t); !errors.Is(c.all, ErrFencedInstance) {
		t.Errorf("commit of the fenced: %+v", c)
	}
}

func TestStaticMemberStaysUntilItsSessionEnds(t *testing.T) {
	w := newWorld(t, nil)
	calls := []*call[JoinAnswer]{
		w.join(instance("i1", nil)), w.join(instance("i2", func(r *JoinRequest) { r.Session = 3 * time.Minute })),
	}
	w.pass(7 * time.Second)
	members := w.assignAll(calls)
	rejoin := w.join(instance("i1", func(r *JoinRequest) { r.Member = members[0].Member }))
	w.pass(time.Minute)
	if a := rejoin.get(t); len(a.Members) != 2 {
		t.Errorf("a static member was left out: %+v", a)
	}
}

func TestStaticMemberIsRemovedByInstance(t *testing.T) {
	w := newWorld(t, nil)
	members := w.formStatic()
	errs, _ := w.m.Leave(w, "g", []Leaver{{Instance: ptr("i1")}, {Member: "other", Instance: ptr("i2")}})
	if errs[0] != nil || !errors.Is(errs[1], ErrFencedInstance) || !slices.Equal(w.ids(), []string{members[1].Member}) {
		t.Errorf("results %v, members %v", errs, w.ids())
	}
}

func TestReplacementInDoubtIsNotAnsweredAsDone(t *testing.T) {
	w := newWorld(t, nil)
	w.formStatic()
	w.auto = false
	c := w.join(instance("i2", nil))
	c.waits(t)
	w.doubt(0)
	if a := c.get(t); !errors.Is(a.Err, coordinator.ErrUnavailable) {
		t.Errorf("answer is %+v", a)
	}
	w.auto = true
	if a := w.join(instance("i2", nil)).get(t); a.Err != nil || w.state() != Stable {
		t.Errorf("second attempt: %+v", a)
	}
}

func TestRebalanceDuringAReplacementAnswersIt(t *testing.T) {
	w := newWorld(t, nil)
	members := w.formStatic()
	w.auto = false
	c := w.join(instance("i2", nil))
	leader := w.join(instance("i1", func(r *JoinRequest) { r.Member = members[0].Member }))
	if a := c.get(t); a.Err != nil || a.Generation != 2 {
		t.Errorf("answer is %+v", a)
	}
	leader.get(t)
	w.auto = true
	w.turn()
	c.get(t)
}
