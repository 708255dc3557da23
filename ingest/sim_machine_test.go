package ingest

import (
	"errors"
	"time"

	"github.com/varvelog/varve/tiering/journal"
)

// watched is the machine of a leadership, with an eye on each of its events.
type watched struct {
	*machine
	n *proc
}

func (w watched) Led(epoch uint32) {
	w.n.f.c.truth.leads(epoch, w.n)
	w.machine.Led(epoch)
}

func (w watched) Stalled(seq uint64) {
	w.n.f.c.Count("stalled")
	w.machine.Stalled(seq)
}

// Progress also takes requests, as a Loop does while there is room for them.
func (w watched) Progress() (time.Time, error) {
	n := w.n
	n.pump(w.machine)
	n.startShard()
	next, err := w.machine.Progress()
	if err != nil && !errors.Is(err, errDisk) {
		n.f.c.Fail("%s ends: %w", n.p.Name, err)
	}
	if due := n.core.wakeAt(); !due.IsZero() && err == nil && (next.IsZero() || next.After(due)) {
		n.f.c.Fail("%s has a flush due at %v and wants to be woken at %v", n.p.Name, due, next)
	}
	n.checkDeletions()
	n.checkCarried()
	return next, err
}

func (w watched) Checkpointed(res journal.CheckpointResult) (hurry bool) {
	c := w.n.f.c
	switch {
	case res.Err != nil:
		c.Count("checkpoint failed")
		if c.undisturbed() {
			c.Fail("%s writes no checkpoint: %w", w.n.p.Name, res.Err)
		}
	case res.FloorErr != nil, res.RemoveErr != nil:
		c.Count("floor not moved")
		fallthrough
	default:
		c.Count("checkpoint written")
	}
	return w.machine.Checkpointed(res)
}

// Ended ends the leadership: by an error, or when everything is flushed.
func (w watched) Ended(err error) {
	n, c := w.n, w.n.f.c
	c.truth.MayEnd(n.p.Name, err)
	c.Logf("%s leads no more: %v", n.p.Name, err)
	switch {
	case err == nil && n.core.leading() && !n.core.flushed():
		c.Fail("%s finished and is not flushed: %s", n.p.Name, n.core.explain())
	case errors.Is(err, journal.ErrFenced):
		c.Count("ended: fenced")
	}
	w.machine.Ended(err)
	n.over, n.ready = true, false
	n.cancel()
	n.endShard()
	n.log.close()
	for _, r := range n.queue {
		n.append(r)
	}
	n.queue = nil
	n.checkDeletions()
	n.checkCarried()
}

// pump hands requests to the core while the disk takes more.
func (n *proc) pump(m *machine) {
	for len(n.queue) > 0 && m.full() == nil && !n.p.Dead() {
		r := n.queue[0]
		n.queue = n.queue[1:]
		n.append(r)
	}
}

// accepts: requests are taken from now on.
func (n *proc) accepts() {
	n.p.After(0, "ready", func() { n.ready = true })
	n.p.After(0, "upkeep", n.startUpkeep)
}
