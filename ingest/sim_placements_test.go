package ingest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// view is a process's view of journal 0. It lags behind the changes, and a new process
// may begin with less than the one before it knew.
type view struct {
	n        *proc
	head     uint64
	followed uint64 // reported last
	proving  bool
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

// prove stands for a proof of journal 0, which poll brings.
func (v *view) prove(context.Context) error { return nil }

// proveNow proves journal 0 for code that waits for it. That takes time, and may fail.
func (v *view) proveNow(r *sim.Routine) error {
	c := v.n.f.c
	head := uint64(len(c.metadata))
	if err := r.Sleep(background, c.Between(0, 2*time.Second)); err != nil {
		return err
	}
	if !c.quiet && c.Chance(0.1) {
		return errNoProof
	}
	v.head = max(v.head, head)
	v.n.owner.Do(v.n.core.placementsMoved)
	return nil
}

var errNoProof = errors.New("journal 0 does not answer")

// topic is a topic as the process knows it.
func (v *view) topic(id segment.ID) topicAt { return v.n.f.c.metadata.topic(id, v.head) }

// Watch implements Placements; move is the way by which the process notices.
func (v *view) Watch(chan<- struct{}) func() { return func() {} }

// move lets the process see all changes that there are.
func (v *view) move() {
	v.head = uint64(len(v.n.f.c.metadata))
	v.n.owner.Do(v.n.core.placementsMoved)
}

// poll moves the view in the end, though announcements are lost. One that the process
// asked for after its journal was led proves the view.
func (v *view) poll() {
	if !v.n.present() {
		return
	}
	if v.move(); v.n.ready && !v.proving {
		v.proving = true
		head := v.head
		v.n.p.After(v.n.f.c.Between(0, 3*time.Second), "placements proved", func() {
			v.head = max(v.head, head)
			v.n.owner.Do(v.n.core.placementsProved)
		})
	}
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
	c.reported = max(c.reported, seq)
	if n.state.Head() < c.truth.Last {
		c.Count("report of a leader that is behind")
	}
	placed := c.metadata.placed(seq, 0)
	for _, k := range placed.Open {
		if v, ok := n.state.Lookup(k); !ok || v.Sealed {
			c.Fail("%s says that %v is open, it is %+v, %v", n.p.Name, k, v, ok)
		}
	}
	restored := c.metadata.placed(uint64(len(c.metadata)), seq).Open
	for _, k := range placed.Sealed {
		c.Count("reported as sealed")
		if v, ok := n.state.Lookup(k); (!ok || !v.Sealed) && !c.purged(k.Topic) {
			c.Fail("%s says that %v is sealed, it is %+v, %v", n.p.Name, k, v, ok)
		}
		if c.truth.opened[k] && !slices.Contains(restored, k) {
			c.Fail("%s says that %v is sealed for good, another leader has opened it again", n.p.Name, k)
		}
	}
}

// follow notes which partitions are open in the committed state.
func (t *truth) follow(entries []segment.Entry) {
	for _, e := range entries {
		switch e.Kind {
		case partlog.EntryOpen:
			open, _ := partlog.DecodeOpen(e.Payload)
			t.opened[open.Key] = true
			if _, dropped := t.dropped[open.Key]; dropped {
				t.w.Fail("%v is opened after it was dropped", open.Key)
			}
		case partlog.EntryReopen:
			reopen, _ := partlog.DecodeReopen(e.Payload)
			t.opened[reopen.Key] = true
			t.w.Count("partition opened again")
		case partlog.EntrySeal:
			seal, _ := partlog.DecodeSeal(e.Payload)
			t.opened[seal.Key] = false
		case partlog.EntryDrop:
			drop, _ := partlog.DecodeDrop(e.Payload)
			t.w.Count("partition dropped")
			t.dropped[drop.Key] = true
			if !t.purged(drop.Topic) {
				t.w.Fail("%v is dropped, and may be restored", drop.Key)
			}
		}
	}
}
