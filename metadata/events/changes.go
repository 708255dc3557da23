package events

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// Applied takes a state of journal 0. The first one is where events begin, and one that is
// older than the last says nothing: several goroutines may call it.
func (l *Log) Applied(c *metadata.Cluster) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.cluster
	if before != nil && c.Seq < before.Seq {
		return
	}
	if l.cluster = c; before == nil {
		return
	}
	if before.Level != c.Level {
		l.addLocked(Event{Kind: Level, Epoch: uint32(c.Level)})
	}
	if n := len(c.Assignments); n > len(before.Assignments) {
		l.addLocked(Event{Kind: Journals, Journal: uint32(n)})
	}
	if !sameSlice(before.Nodes, c.Nodes) {
		for i := range c.Nodes {
			was := before.Node(c.Nodes[i].Node)
			if was == nil {
				was = &metadata.Node{}
			}
			l.nodeLocked(was, &c.Nodes[i])
		}
	}
	if !sameSlice(before.Assignments, c.Assignments) {
		for _, a := range c.Assignments {
			if was := before.Assignment(a.Journal); was == nil && a.Number > 0 || was != nil && was.Number != a.Number {
				l.assignedLocked(c, was, a)
			}
		}
	}
}

// sameSlice reports whether two slices are one: States share those that did not change.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func (l *Log) nodeLocked(was, is *metadata.Node) {
	started := is.Run.Start != was.Run.Start && !is.Run.Start.IsZero()
	if started {
		l.addLocked(Event{Kind: Started, Node: is.ID})
	}
	if is.State != was.State && is.State != 0 && (!started || is.State != metadata.StateServing) {
		l.addLocked(Event{Kind: State, Node: is.ID, Why: is.State.String()})
	}
	if is.Fence == was.Fence {
		return
	}
	if is.Fence == metadata.NotFenced {
		delete(l.fenced, is.Node)
		if !started && is.State != metadata.StateRemoved {
			l.addLocked(Event{Kind: Unfenced, Node: is.ID})
		}
		return
	}
	if was.Fence == metadata.NotFenced {
		l.fenced[is.Node] = l.opt.Now()
	}
	l.addLocked(Event{Kind: Fenced, Node: is.ID, Why: is.Fence.String()})
}

func (l *Log) assignedLocked(c *metadata.Cluster, was *metadata.Assignment, a metadata.Assignment) {
	j := l.of(a.Journal)
	if was == nil || was.Node != a.Node || a.Why != metadata.WhyHomeRemoved {
		j.assigned = l.opt.Now()
	}
	if a.Node == j.leader || a.Node.IsZero() {
		j.assigned = time.Time{} // it leads already, or none is to lead
	}
	l.addLocked(Event{Kind: Assigned, Node: brokerOf(c, a.Node), Journal: a.Journal, Epoch: a.Number, Why: a.Why.String()})
}

// Led notes that a node leads a journal in an epoch. Only the first note of an epoch counts.
func (l *Log) Led(id uint32, node segment.ID, epoch uint32) {
	why, took, first := l.led(id, node, epoch)
	if first && node == l.opt.Self && l.opt.OnTakeOver != nil {
		l.opt.OnTakeOver(why, took)
	}
}

func (l *Log) led(id uint32, node segment.ID, epoch uint32) (why string, took time.Duration, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	j := l.of(id)
	if epoch <= j.epoch {
		return "", 0, false
	}
	why, since := WhyController, j.ended
	if id != 0 {
		why, since = l.whyLocked(id, node, j)
	}
	if !since.IsZero() {
		took = l.opt.Now().Sub(since)
	}
	j.leader, j.epoch, j.assigned, j.ended = node, epoch, time.Time{}, time.Time{}
	l.addLocked(Event{Kind: Led, Node: brokerOf(l.cluster, node), Journal: id, Epoch: epoch, Why: why, Took: took})
	return why, took, true
}

// whyLocked returns the reason why a node leads a data journal, and since when it is to do so.
func (l *Log) whyLocked(id uint32, node segment.ID, j *journal) (why string, since time.Time) {
	if l.cluster == nil {
		return "", time.Time{}
	}
	a := l.cluster.Assignment(id)
	if a == nil || a.Number == 0 || a.Node != node {
		return "not assigned", time.Time{}
	}
	return a.Why.String(), j.assigned
}

// Ended notes that a leadership has ended, and why.
func (l *Log) Ended(id uint32, node segment.ID, epoch uint32, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	j := l.of(id)
	if j.epoch != epoch || j.leader != node {
		return // a later leadership has begun, or this end was noted already
	}
	j.leader, j.ended = segment.ID{}, l.opt.Now()
	l.addLocked(Event{Kind: Ended, Node: brokerOf(l.cluster, node), Journal: id, Epoch: epoch, Why: why})
}

// brokerOf returns the broker id of a data folder, 0 if it has none.
func brokerOf(c *metadata.Cluster, node segment.ID) int32 {
	if c == nil {
		return 0
	}
	if n := c.Node(node); n != nil {
		return n.ID
	}
	return 0
}
