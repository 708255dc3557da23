package drive

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// blockedCommits is a report by which a node cannot commit.
func blockedCommits(node byte, journal uint32) membership.Report {
	return membership.Report{Leader: leaderOf(journal, node, 1), Leads: true, Blocked: true}
}

// The controller's own heartbeat, with journal 0 in it, has its own Judge ask for probes.
func TestTheControllerHearsItself(t *testing.T) {
	s, d := controller(2)
	s.reports = []membership.Report{blockedCommits(1, 0)}
	beats := func() {
		d.Heartbeat(membership.Heartbeat{Node: nodeNo(2), Start: runOf(2).Start}, func(membership.Answer) {})
		s.pass(membership.HeartbeatEvery)
	}
	beats()
	beats()
	if !s.does("PeerProbe") {
		t.Fatalf("no probe of the other node: %v", s.did)
	}
	if s.does("PeerHeartbeat") {
		t.Error("a heartbeat to itself goes through the network")
	}
	// A node that does not answer shows nothing about the store: it is asked again.
	s.last(t, peer.KindProbe).done(Response{Outcome: membership.TimedOut})
	s.last(t, peer.KindProbe).done(Response{Outcome: membership.Proved, Body: membership.AppendProbed(nil, true)})
	if len(s.probes) > 0 {
		t.Error("a second outcome counts")
	}
	for range 8 {
		beats()
	}
	if s.does("resign") {
		t.Fatal("resigned without a probe")
	}
	s.last(t, peer.KindProbe).done(Response{Outcome: membership.Proved, Body: membership.AppendProbed(nil, true)})
	if beats(); len(s.probes) != 1 {
		t.Fatalf("%d probes of its own", len(s.probes))
	}
	s.probes[0](false)
	if !s.does("resign") {
		t.Errorf("it does not resign: %v", s.did)
	}
}

func TestAQuestionIsAnsweredByThePresent(t *testing.T) {
	s, d := driven()
	d.Begin(clusterOf(3))
	d.FenceSeen(nodeNo(2), 4)
	opinion := func() (o membership.Opinion) {
		d.Question(membership.Leader{}, func(r membership.Reply) { o = r.Opinion })
		return o
	}
	if o := opinion(); o != membership.Alive {
		t.Fatalf("at first the opinion is %d", o)
	}
	s.did, s.now = nil, s.now.Add(900*time.Millisecond)
	if opinion(); !s.does("PeerHeartbeat") {
		t.Error("a heartbeat that was due is lost")
	}
	s.now = s.now.Add(700 * time.Millisecond)
	if o := opinion(); o != membership.Silent {
		t.Errorf("after silence the opinion is %d", o)
	}
}

func TestAnAnswerThatCannotBeReadIsNone(t *testing.T) {
	s, d := driven()
	d.Begin(clusterOf(2))
	for range 4 {
		s.last(t, peer.KindQuestion).done(Response{Outcome: membership.Proved, Body: []byte{byte(membership.Dead)}})
		s.pass(500 * time.Millisecond)
	}
	if s.does("probe") {
		t.Error("a majority has answered, and it prepares to stand")
	}
	d.FenceSeen(nodeNo(2), 4)
	s.pass(membership.HeartbeatEvery)
	s.last(t, peer.KindHeartbeat).done(Response{Outcome: membership.Proved, Body: []byte{byte(membership.Dead)}})
	s.last(t, peer.KindHeartbeat).done(Response{Outcome: membership.Proved, Err: errors.New("refused")})
	if s.does("poke") || s.does("check") || s.does("stand") {
		t.Errorf("it did %v", s.did)
	}
}

func TestNewsOfJournal0AreRead(t *testing.T) {
	s, d := driven()
	d.Begin(clusterOf(2))
	d.FenceSeen(nodeNo(2), 4)
	answer := func(seq uint64) {
		s.pass(membership.HeartbeatEvery)
		a := membership.Answer{Claims: true, Seq: seq}
		s.last(t, peer.KindHeartbeat).done(Response{Outcome: membership.Proved, Body: a.Append(nil)})
	}
	if answer(9); s.does("poke") {
		t.Error("there is no more to read")
	}
	if answer(10); !s.does("poke") {
		t.Error("seq 10 is not read")
	}
}

// When the level is raised under a controller, it lacks its own registration.
func TestTheControllerRegistersItself(t *testing.T) {
	s, d := controller(1)
	c := clusterOf(1)
	c.Seq, c.Nodes[0].State, c.Nodes[0].Run = 10, 0, metadata.Run{}
	d.Applied(c)
	s.pass(2 * time.Second)
	if len(s.started) == 0 || s.started[0].Start != runOf(1).Start || s.does("PeerRegister") {
		t.Errorf("it registers %v, and did %v", s.started, s.did)
	}
}

func TestARefusedRunAsksAgain(t *testing.T) {
	s, d := driven()
	c := clusterOf(2)
	c.Nodes[0].State, c.Nodes[0].Run = 0, metadata.Run{}
	d.Begin(c)
	d.FenceSeen(nodeNo(2), 4)
	for range 2 {
		s.did = nil
		if s.pass(2 * membership.HeartbeatEvery); !s.does("PeerRegister") {
			t.Fatalf("it does not ask to be registered: %v", s.did)
		}
		r := s.last(t, peer.KindRegister)
		if run, err := membership.DecodeRegister(r.Body, nodeNo(1), runOf(1).Start); err != nil || run.Start != runOf(1).Start || r.node != nodeNo(2) {
			t.Errorf("it asks %v to register %+v: %v", r.node, run, err)
		}
		r.done(Response{Outcome: membership.Proved, Err: membership.ErrWrongAddress})
		if !errors.Is(s.refused, membership.ErrWrongAddress) {
			t.Errorf("the reason is %v", s.refused)
		}
		a := membership.Answer{Claims: true, Seq: 9}
		s.last(t, peer.KindHeartbeat).done(Response{Outcome: membership.Proved, Body: a.Append(nil)})
	}
}

func TestRegistrationsAreAnswered(t *testing.T) {
	s, d := controller(1)
	var got []Registered
	ask := func() { d.Register(nodeNo(3), runOf(3), func(r Registered) { got = append(got, r) }) }
	if ask(); len(got) > 0 || !s.does("dial") {
		t.Fatalf("registered without a handshake: %v", got)
	}
	if d.Resigned(1); len(got) != 1 || !errors.Is(got[0].Err, metadata.ErrNotController) {
		t.Errorf("answers %v of a controller that has resigned", got)
	}
}

func TestHeartbeatsSayThatTheRunIsToEnd(t *testing.T) {
	s, d := driven()
	d.Begin(clusterOf(2))
	d.FenceSeen(nodeNo(2), 4)
	for _, leaves := range []bool{false, true} {
		s.pass(membership.HeartbeatEvery)
		h, err := membership.DecodeHeartbeat(s.last(t, peer.KindHeartbeat).Body, nodeNo(1), runOf(1).Start)
		if err != nil || h.Leaving != leaves || h.Applied != 9 {
			t.Errorf("the heartbeat is %+v, error %v", h, err)
		}
		d.Leave()
	}
}
