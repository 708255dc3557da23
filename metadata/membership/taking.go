package membership

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// leaderSilentAfter is how long the leader of a journal may leave requests for a hand-over
// unanswered before a handshake decides.
const leaderSilentAfter = time.Second

// Taking is a node's knowledge about a journal that is assigned to it and that it does not
// lead. The node has read the last fence of the journal, as far as it knows.
type Taking struct {
	Self       segment.ID
	Cluster    *metadata.Cluster
	Journal    uint32
	Last       segment.ID // the node of the last fence; zero: there was none
	EndedFor   segment.ID // the successor that the last leadership named at its end; zero: it has not ended
	Denied     bool       // the node of the last fence has answered that it does not lead
	Silent     time.Duration
	Handshake  Outcome // of the last one with the node of the last fence; 0: none
	StoreFails bool    // the last probe of this node failed
	Proved     bool    // the head of journal 0 was proved since the node began to wait
}

// MayFence reports whether the node may take the journal now. Otherwise it asks the leader
// to hand the journal over. Without a proof of journal 0 two nodes could take a journal from
// each other without end, one by an old assignment.
func (t *Taking) MayFence() bool {
	a := t.Cluster.Assignment(t.Journal)
	if a == nil || a.Node != t.Self || t.StoreFails || !t.Proved {
		return false
	}
	last := t.Cluster.Node(t.Last)
	switch {
	case t.Last.IsZero() || !t.EndedFor.IsZero() || t.Denied:
		return true
	case t.Last == t.Self: // an earlier start, or a leadership that this one has lost
		return true
	case last == nil || !last.Lives():
		return true
	case a.Why == metadata.WhyBlocked || a.Why == metadata.WhySilent:
		return true // it cannot end its leadership by itself
	case t.Handshake == Refused || t.Handshake == Replaced:
		return true
	}
	return t.Silent >= leaderSilentAfter && t.Handshake == TimedOut
}

// HandsOver reports whether the leader of a journal hands it over to a node that asks by an
// assignment: one that its own state of journal 0 has.
func HandsOver(c *metadata.Cluster, self segment.ID, journal, number uint32, to segment.ID) bool {
	a := c.Assignment(journal)
	return a != nil && a.Number == number && a.Node == to && to != self
}
