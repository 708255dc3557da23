package membership

import (
	"math"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// loopSilentAfter is how long the loop of a journal may be silent in a node that answers.
	loopSilentAfter = 10 * time.Second
	// handOverLimit is how long a hand-over may take before the assignment is withdrawn.
	handOverLimit = 30 * time.Second
	// takingLimit is how long no other node gets a journal that one says it takes: the key
	// that it waits for may be locked by the store.
	takingLimit = time.Minute
	// homeAfter is how long a home must be well before its journal returns. Each move away
	// doubles it, up to homeMost. A journal that was at home for homeMost counts again.
	homeAfter = 30 * time.Second
	homeMost  = time.Hour
	// soonAfter is how soon after it took a journal a leader must die for its death to count.
	// parkAfter deaths park the journal, for parkFor, which doubles to homeMost.
	soonAfter = time.Minute
	parkAfter = 3
	parkFor   = time.Minute
	// journalWeight is the least load that a journal counts with, in bytes a second.
	journalWeight = 256 << 10
)

// journal is the controller's knowledge about a data journal, next to its assignment.
type journal struct {
	number   uint32
	at       time.Time // when the assignment was seen; zero: before this process
	home     time.Time // since when it was seen at home; zero: it is not
	declined bool

	leader  segment.ID // that reported it last; zero: none does
	epoch   uint32
	load    uint64
	took    time.Time // when its node was first seen to lead it; zero: never
	ran     time.Time // when the loop of its node last ran, as far as is known
	taking  time.Duration
	blocked bool // by the last report

	progress progress
}

// assigned notes another assignment. The first state that a process sees says nothing
// about their age.
func (l *journal) assigned(now time.Time, a metadata.Assignment, first bool) {
	l.number, l.declined, l.took, l.ran, l.taking, l.blocked = a.Number, false, time.Time{}, now, 0, false
	if l.at = now; first {
		l.at = time.Time{}
	}
	l.progress = progress{}
	switch {
	case a.Node != a.Home:
		l.home = time.Time{}
	case l.home.IsZero():
		l.home = now
	}
}

// begin forgets the reports of an earlier leadership of the controller.
func (l *journal) begin(now time.Time) {
	l.leader, l.epoch, l.taking, l.blocked = segment.ID{}, 0, 0, false
	l.restart(now)
}

func (l *journal) restart(now time.Time) { l.ran = now }

// since is how long ago the assignment was seen, or the reports began.
func (l *journal) since(now time.Time, begun time.Time) time.Duration {
	if l.at.IsZero() || l.at.Before(begun) {
		return now.Sub(begun)
	}
	return now.Sub(l.at)
}

// report takes the part of a heartbeat that is about journals.
func (j *Judge) report(h Heartbeat) {
	reported := map[uint32]bool{}
	for _, r := range h.Journals {
		if r.Journal == 0 && h.Node == j.self {
			j.blocked = r.Blocked
		}
		l, a := j.journals[r.Journal], j.cluster.Assignment(r.Journal)
		if l == nil || a == nil {
			continue
		}
		if r.Leads && r.Epoch >= l.epoch {
			reported[r.Journal] = true
			l.leader, l.epoch, l.load = h.Node, r.Epoch, r.Load
			l.declined = r.Declined > 0 && r.Declined == l.number
		}
		if a.Node != h.Node {
			continue
		}
		if ran := j.now.Add(-r.Idle); ran.After(l.ran) {
			l.ran = ran
		}
		l.taking, l.blocked = r.Taking, r.Blocked
		if r.Leads && l.took.IsZero() {
			l.took = j.now
		}
	}
	for id, l := range j.journals {
		if l.leader == h.Node && !reported[id] {
			l.leader = segment.ID{}
		}
	}
}

// assignments plans which node is to lead which journal.
func (j *Judge) assignments(d *draft) {
	for i := range d.Assignments {
		a := d.Assignments[i]
		l := j.journals[a.Journal]
		switch n := d.Node(a.Node); {
		case a.Number == 0:
			j.first(d, a)
		case a.Node.IsZero():
			j.tryAgain(d, a, l)
		case n == nil:
		case !n.Lives():
			j.replace(d, a, l)
		case !n.Serves():
			j.vacate(d, a, l, n)
		case j.handing(d, a, l) != nil:
			j.watchHandOver(d, a, l)
		case l.blocked:
			j.unblock(d, a)
		case j.stuck(a, l):
			j.moveAway(d, a, metadata.WhySilent, a.Node)
		}
	}
	if !j.moving(d) {
		j.goHome(d)
	}
	if !j.moving(d) {
		j.share(d)
	}
}

func (j *Judge) first(d *draft, a metadata.Assignment) {
	if n := j.pick(d, a); n != nil {
		a.Node, a.Home, a.Why = n.Node, n.Node, metadata.WhyFirst
		d.assign(a)
	}
}

// replace assigns the journal of a fenced node, unless its leaders die of it.
func (j *Judge) replace(d *draft, a metadata.Assignment, l *journal) {
	n := d.Node(a.Node)
	quick := !l.at.IsZero() && (j.now.Sub(l.at) <= soonAfter || !l.took.IsZero() && j.now.Sub(l.took) <= soonAfter)
	switch died := n.Fence == metadata.FencedRefused || n.Fence == metadata.FencedReplaced; {
	case died && quick && a.Deaths < math.MaxUint8:
		a.Deaths++
	case died && !l.at.IsZero() && !quick:
		a.Deaths = 0 // how old an assignment is that was there before this process is not known
	}
	if a.Deaths >= parkAfter && quick {
		a.Node, a.Why = segment.ID{}, metadata.WhyParked
		d.assign(a)
		return
	}
	j.moveAway(d, a, metadata.WhyFenced, a.Node)
}

// tryAgain assigns a journal that was parked for long enough.
func (j *Judge) tryAgain(d *draft, a metadata.Assignment, l *journal) {
	wait := doubled(parkFor, int(a.Deaths)-parkAfter, homeMost)
	if l.since(j.now, j.begun) < wait {
		return
	}
	if n := j.pick(d, a); n != nil {
		a.Node, a.Why = n.Node, metadata.WhyTriedAgain
		d.assign(a)
	}
}

func doubled(from time.Duration, times int, most time.Duration) time.Duration {
	for range times {
		if from = 2 * from; from >= most {
			return most
		}
	}
	return from
}

// moveAway assigns a journal to another node, because of trouble.
func (j *Judge) moveAway(d *draft, a metadata.Assignment, why metadata.Why, from ...segment.ID) {
	n := j.pick(d, a, from...)
	if n == nil {
		return
	}
	j.countMove(&a)
	a.Node, a.Why = n.Node, why
	d.assign(a)
}

// countMove counts a move by trouble; one after a long time at home is the first again.
func (j *Judge) countMove(a *metadata.Assignment) {
	l := j.journals[a.Journal]
	if !l.home.IsZero() && j.now.Sub(l.home) >= homeMost {
		a.Moves = 0
	}
	if a.Moves < math.MaxUint16 {
		a.Moves++
	}
}

// handing returns the node that leads a journal which is assigned to another, nil if there
// is none that lives.
func (j *Judge) handing(d *draft, a metadata.Assignment, l *journal) *metadata.Node {
	if l.leader.IsZero() || l.leader == a.Node {
		return nil
	}
	if n := d.Node(l.leader); n != nil && n.Lives() {
		return n
	}
	return nil
}

// watchHandOver withdraws an assignment whose node does not get the journal.
func (j *Judge) watchHandOver(d *draft, a metadata.Assignment, l *journal) {
	waited := l.since(j.now, j.begun)
	if !l.declined && waited < handOverLimit {
		return
	}
	from := j.handing(d, a, l)
	if from.Serves() && j.detector.answers(j.now, from.Node) {
		j.countMove(&a)
		a.Node, a.Why = from.Node, metadata.WhyWithdrawn
		d.assign(a)
		return
	}
	if waited < handOverLimit {
		return // the node that leads it may not have it, and declines
	}
	n := j.pick(d, a, a.Node)
	if n == nil {
		n = d.Node(a.Node)
	}
	if n.Serves() && n.Lives() {
		a.Node, a.Why = n.Node, metadata.WhyWithdrawn
		d.assign(a)
	}
}

// vacate moves the journals of a node that is drained or leaves, one after the other.
func (j *Judge) vacate(d *draft, a metadata.Assignment, l *journal, n *metadata.Node) {
	if l.leader == a.Node && j.handsOver(d, a.Node) {
		return
	}
	to := j.pick(d, a, a.Node)
	if to == nil {
		return
	}
	a.Node, a.Why = to.Node, metadata.WhyDrained
	if n.State == metadata.StateLeaving {
		a.Why = metadata.WhyLeaving
	}
	d.assign(a)
}

// handsOver reports whether a node hands over a journal that it leads.
func (j *Judge) handsOver(d *draft, node segment.ID) bool {
	for _, a := range d.Assignments {
		if l := j.journals[a.Journal]; l.leader == node && a.Node != node {
			return true
		}
	}
	return false
}

// stuck reports whether the node of a journal answers, but neither leads nor takes it.
func (j *Judge) stuck(a metadata.Assignment, l *journal) bool {
	if !j.detector.answers(j.now, a.Node) {
		return false
	}
	return j.now.Sub(l.ran) >= loopSilentAfter || l.taking >= takingLimit
}
