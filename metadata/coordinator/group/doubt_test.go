package group

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// doubtFirst forms the first generation of a group with one member. The record of
// its assignment is in doubt, and so is that of the end of the group, which follows.
func doubtFirst(t *testing.T) *world {
	w := newWorld(t, nil)
	id := w.newID(request(nil))
	joined := w.join(request(func(r *JoinRequest) { r.Member = id }))
	w.pass(10 * time.Second)
	w.auto = false
	a := joined.get(t)
	w.sync(a, map[string][]byte{a.Member: {1}})
	w.doubt(0)
	w.pass(2 * time.Minute) // the member does not join again
	if len(w.queue) != 2 {
		t.Fatalf("%d appends are under way, want an assignment and the end of the group", len(w.queue))
	}
	w.doubt(1)
	return w
}

// TestEndInDoubt deletes an empty group whose last records are all in doubt. Once
// they are committed, there must be nothing left of the group.
func TestEndInDoubt(t *testing.T) {
	w := newWorld(t, nil)
	joined := w.form(1)
	w.auto = false
	if _, err := w.m.Leave(w, "g", []Leaver{{Member: joined[0].Member}}); err != nil {
		t.Fatal(err)
	}
	w.m.Delete(w, "g", func(error) {})
	for i := range w.queue {
		w.doubt(i)
	}
	if got := w.state(); got != Empty {
		t.Fatalf("group is %v before its end is known, want Empty", got)
	}
	for len(w.queue) > 0 {
		w.commit()
	}
	if g := w.m.live["g"]; g != nil {
		t.Errorf("deleted group is still alive, in state %v", g.state)
	}
	if _, err := w.m.Describe("g"); !errors.Is(err, ErrNotFound) {
		t.Errorf("description of the deleted group: %v, want %v", err, ErrNotFound)
	}
}

// TestMembersInDoubt commits the record of a member after its group was dropped.
// The member must have a session that ends: no client may know of it.
func TestMembersInDoubt(t *testing.T) {
	for _, c := range []struct {
		name    string
		endLost bool
	}{{"end committed", false}, {"end lost", true}} {
		t.Run(c.name, func(t *testing.T) {
			w := doubtFirst(t)
			w.commit()
			if ids := w.ids(); len(ids) != 1 {
				t.Fatalf("members are %v, want the one of the record", ids)
			}
			if c.endLost {
				w.queue = nil
			} else if w.commit(); len(w.ids()) > 0 {
				t.Errorf("members are %v after the end of the group is committed", w.ids())
			}
			w.auto = true
			w.turn()
			w.pass(time.Minute)
			if len(w.m.live) > 0 {
				t.Errorf("group is %v with members %v after all sessions", w.state(), w.ids())
			}
			if k := w.m.kept["g"]; k != nil && len(k.meta.members) > 0 {
				t.Errorf("group is kept with %d members after all sessions", len(k.meta.members))
			}
		})
	}
}

// TestMembersOfEarlierLeadership commits a record of members after the next
// leadership has begun, as a process does that leads twice.
func TestMembersOfEarlierLeadership(t *testing.T) {
	w := newWorld(t, nil)
	w.form(1)
	record := w.log[len(w.log)-1]
	w.log = nil
	w.m.Resign(errors.New("moved"))
	w.m, w.replica = newMachine(t, w.config), newMachine(t, w.config)
	w.m.Lead(w)
	w.Append([]coordinator.Record{record}, func(coordinator.Out, error) {})
	w.turn()
	if ids := w.ids(); len(ids) != 1 {
		t.Fatalf("members are %v, want the one of the record", ids)
	}
	w.pass(time.Minute)
	if ids := w.ids(); len(ids) > 0 {
		t.Errorf("members %v are left after all sessions", ids)
	}
}
