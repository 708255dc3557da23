package node

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/events"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// takes has a seat read the fence of a node, and the last filler of its epoch.
func (s *seat) takes(node segment.ID, epoch uint32, seq uint64) {
	s.note(&segment.Header{Kind: segment.KindFence, Node: node, Epoch: epoch, Journal: s.id, Seq: seq, Object: segment.ID{byte(seq)}})
	s.note(&segment.Header{Kind: segment.KindFiller, Node: node, Epoch: epoch, Journal: s.id, Seq: seq + 1, Object: segment.ID{byte(seq + 1)}})
}

// TestASeatClaimsNoEpochOfAnotherNode: a leadership may be over when its begin is noticed. A
// node that says that it leads by the epoch of the next one never believes that one.
func TestASeatClaimsNoEpochOfAnotherNode(t *testing.T) {
	n := aMember(t)
	other := n.pair(t)
	s := &seat{m: &member{node: n}, id: 1, watch: &pulseWatch{}, stage: journal.StageTakesOver}
	s.takes(n.dir.Node(), 4, 10)
	s.takes(other, 5, 20)
	if s.begun(); s.leads() || s.led || len(n.events.Since(0)) > 0 {
		t.Errorf("it leads by epoch %d, which is of another node", s.ledEpoch)
	}
}

// TestAWaitLastsOverItsTries: the controller gives a journal to another node when it is not
// taken for a minute.
func TestAWaitLastsOverItsTries(t *testing.T) {
	n := aMember(t)
	began := time.Now().Add(-time.Minute)
	s := &seat{m: &member{node: n}, id: 1, watch: &pulseWatch{}, since: began}
	if s.ended(); !s.since.Equal(began) {
		t.Errorf("it waits since %v, want %v", s.since, began)
	}
	s.led = true
	if s.ended(); !s.since.After(began) {
		t.Error("it has waited while it led")
	}
}

// TestTheEndOfALeadershipNamesAHandOver that was done.
func TestTheEndOfALeadershipNamesAHandOver(t *testing.T) {
	for _, tc := range []struct {
		err      error
		why      string
		declined uint32
	}{{nil, "handed over", 0}, {errors.New("the store is away"), "", 7}} {
		n := aMember(t)
		other := n.pair(t)
		n.events.Led(1, n.dir.Node(), 4)
		s := &seat{m: &member{node: n}, id: 1, watch: &pulseWatch{}, stage: journal.StageLeads, led: true, ledEpoch: 4, to: other}
		s.handed(journal.End{To: other, Assignment: 7}, tc.err)
		if s.declined != tc.declined {
			t.Errorf("%v: assignment %d is declined, want %d", tc.err, s.declined, tc.declined)
		}
		s.ended()
		all := n.events.Since(0)
		if last := all[len(all)-1]; last.Kind != events.Ended || last.Why != tc.why {
			t.Errorf("%v: the last event is %+v, want an end by %q", tc.err, last, tc.why)
		}
	}
}

// TestAWaitBeginsAgainWhenTheJournalHasGrown: the state of a follower grows with each object.
func TestAWaitBeginsAgainWhenTheJournalHasGrown(t *testing.T) {
	w := waiting{}
	for _, tc := range []struct {
		next  uint64
		grown bool
	}{{100, false}, {100 + seatGrowth - 1, false}, {100 + seatGrowth, true}} {
		if grown := w.reads(journal.Pulse{Next: tc.next, Leader: segment.ID{1}, Epoch: 3}) != nil; grown != tc.grown {
			t.Errorf("at seq %d it has grown %v, want %v", tc.next, grown, tc.grown)
		}
	}
}

// TestAnswersOfAnEarlierLeadershipDoNotCount: the node has led again since, with a fence of its
// own.
func TestAnswersOfAnEarlierLeadershipDoNotCount(t *testing.T) {
	w := waiting{}
	_ = w.reads(journal.Pulse{Next: 5, Leader: segment.ID{1}, Epoch: 3})
	w.taking.Denied, w.taking.Handshake = true, membership.Refused
	if _ = w.reads(journal.Pulse{Next: 6, Leader: segment.ID{1}, Epoch: 3}); !w.taking.Denied {
		t.Error("an answer of this leadership is forgotten")
	}
	if _ = w.reads(journal.Pulse{Next: 9, Leader: segment.ID{1}, Epoch: 4}); w.taking.Denied || w.taking.Handshake != 0 {
		t.Errorf("answers of the leadership before count: %+v", w.taking)
	}
}
