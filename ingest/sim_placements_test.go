package ingest

import (
	"time"

	"github.com/varvelog/varve/metadata"
)

// view is a process's view of journal 0. It lags behind the changes, and a new process
// may begin with less than the one before it knew.
type view struct {
	n        *proc
	head     uint64
	followed uint64 // reported last
}

func newView(n *proc) *view {
	c := n.f.c
	v := &view{n: n, head: uint64(len(c.metadata))}
	if c.Chance(0.5) {
		v.head = uint64(c.Rand.Intn(len(c.metadata) + 1))
	}
	return v
}

// Placed implements Placements.
func (v *view) Placed(_ uint32, since uint64) metadata.Placed {
	return v.n.f.c.metadata.placed(v.head, since)
}

// Watch implements Placements; move is the way by which the process notices.
func (v *view) Watch(chan<- struct{}) func() { return func() {} }

// move lets the process see all changes that there are.
func (v *view) move() {
	v.head = uint64(len(v.n.f.c.metadata))
	v.n.owner.Do(v.n.core.placementsMoved)
}

// poll moves the view in the end, though announcements are lost.
func (v *view) poll() {
	v.move()
	v.n.p.After(v.n.f.c.Between(time.Second, 20*time.Second), "placements", v.poll)
}

// reconciled takes a report: the controller may answer, and purge topics, by it. So it
// must hold for all leaders to come.
func (v *view) reconciled(seq uint64) {
	n, c := v.n, v.n.f.c
	if seq <= v.followed || seq > v.head {
		c.Fail("%s reports seq %d after seq %d, it knows seq %d", n.p.Name, seq, v.followed, v.head)
	}
	v.followed = seq
	if n.state.Head() < c.truth.Last {
		c.Count("report of a leader that is behind")
	}
	placed := c.metadata.placed(seq, 0)
	for _, k := range placed.Open {
		if _, ok := n.state.Lookup(k); !ok {
			c.Fail("%s says that %v is open, it is not", n.p.Name, k)
		}
	}
	for _, k := range placed.Sealed {
		c.Count("reported as sealed")
		if v, ok := n.state.Lookup(k); !ok || !v.Sealed {
			c.Fail("%s says that %v is sealed for good, it is %+v, %v", n.p.Name, k, v, ok)
		}
	}
}
