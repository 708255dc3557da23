package membership

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// askEvery is the time between two rounds of questions about the controller.
	askEvery = 500 * time.Millisecond
	// registerEvery is the time between two requests to be registered.
	registerEvery = time.Second
)

// phase is where a Member is in the election of a controller.
type phase uint8

const (
	following phase = iota // there is a controller, or one is expected
	asking                 // it is gone, by all that this node knows
	standing               // this node takes journal 0
	leading                // it is the controller
)

// Member is a node's own part in the cluster. It sends heartbeats to the controller that it
// believes in. When that is gone, it asks the other nodes, and stands for controller by
// their replies.
type Member struct {
	self    segment.ID
	run     metadata.Run
	pause   time.Duration // before it stands on an empty bucket
	cluster *metadata.Cluster
	now     time.Time
	phase   phase

	controller Leader    // believed, or without Settled expected: the node of the last fence
	heard      time.Time // when it last answered that it claims journal 0; zero: there was none
	beat       time.Time // the last heartbeat sent
	registered time.Time // the last request to be registered
	broken     bool      // the connection broke, and no answer came since
	refused    bool      // and the handshake after it was refused, or it resigned
	dialing    uint64
	checking   uint64 // the handshake with the run that is registered before this one
	checked    bool   // that has not answered, or there is none
	over       bool   // this process is to end

	election election
	token    uint64
	out      []Action
}

// Events of a Member.
type (
	// Believes: a leader of journal 0 is believed, by its object or because it is this node.
	Believes struct{ Leader }
	// Answered is the answer to a heartbeat, of the node that it was sent to.
	Answered struct {
		From segment.ID
		Answer
	}
	// Lost: the connection to a node broke.
	Lost struct{ Node segment.ID }
	// Replied is the end of an Ask.
	Replied struct {
		Token   uint64
		Outcome Outcome // Proved: with Reply
		Reply
	}
	// Stood: this node leads journal 0.
	Stood struct{ Leader }
	// Fenced: this node stands or leads no more: a fence that it did not know, of a node,
	// took journal 0.
	Fenced struct {
		Node  segment.ID
		Epoch uint32
	}
	// Resigned: this node gave up journal 0, or its standing, by itself.
	Resigned struct{}
	// Ending is an end entry of journal 0 that was read: its leader names a successor.
	Ending struct{ Successor segment.ID }
	// FenceSeen is a fence of journal 0 that came while this process followed it.
	FenceSeen struct {
		Node  segment.ID
		Epoch uint32
	}
)

// Actions of a Member.
type (
	// Beat asks for a heartbeat to a node; Answered follows if that answers. The controller
	// gets its own, too. A node that only reads sends them to any node to find the controller.
	Beat struct{ To segment.ID }
	// Register asks a controller to register this run; it may be this node.
	Register struct{ To segment.ID }
	// Ask asks a node about the controller, within HandshakeLimit; Replied follows. Any start
	// of its data folder may answer, and learns of About.
	Ask struct {
		Token uint64
		Node  segment.ID
		Run   metadata.Run
		About Leader
	}
	// Stand asks to take journal 0; Stood, Fenced or Resigned follows. If there is a fence
	// that this node had not read when it decided, it stops with Fenced and sends none.
	Stand struct{}
	// Exit ends the process: its data folder was removed from the cluster, or another
	// process runs with a copy of it.
	Exit struct{ Err error }
	// Seek is for the Judge of this node: Seeking.
	Seek struct{}
)

func (Believes) event()  {}
func (Answered) event()  {}
func (Lost) event()      {}
func (Replied) event()   {}
func (Stood) event()     {}
func (Fenced) event()    {}
func (Resigned) event()  {}
func (Ending) event()    {}
func (FenceSeen) event() {}

func (Beat) action()     {}
func (Register) action() {}
func (Ask) action()      {}
func (Stand) action()    {}
func (Exit) action()     {}
func (Seek) action()     {}

// NewMember returns the Member of a run. It stands only if that is an ingest node. It waits
// for pause before it stands on a bucket without a cluster, so that nodes that begin at
// once do not all stand.
func NewMember(self segment.ID, run metadata.Run, pause time.Duration) *Member {
	return &Member{self: self, run: run, pause: pause, election: newElection(nil)}
}

// Step takes an event, at a time of the process's clock. Times never go back. The first
// state of journal 0 must be of a proved head.
func (m *Member) Step(now time.Time, ev Event) []Action {
	if now.Sub(m.now) > stalledAfter && !m.now.IsZero() {
		m.stalled(now)
	}
	m.now = now
	m.take(ev)
	if m.cluster != nil && !m.over && m.alone() {
		m.act()
	}
	out := m.out
	m.out = nil
	return out
}

func (m *Member) do(a Action) { m.out = append(m.out, a) }

func (m *Member) next() uint64 {
	m.token++
	return m.token
}

// stalled: this process stood still. It gives the controller time to answer.
func (m *Member) stalled(now time.Time) {
	m.beat = time.Time{}
	if !m.heard.IsZero() {
		m.heard = now
	}
	m.election.begin(now)
}

func (m *Member) take(ev Event) {
	switch ev := ev.(type) {
	case Applied:
		m.cluster = ev.Cluster
		if n := m.cluster.Node(m.self); n != nil && n.State == metadata.StateRemoved {
			m.exit(metadata.ErrRemovedNode)
		}
	case Believes:
		m.believe(ev.Leader)
	case Answered:
		m.answered(ev)
	case Lost:
		m.lost(ev.Node)
	case Dialed:
		if ev.Token == m.checking && ev.Outcome == Proved {
			m.exit(ErrInUse)
		}
		m.checked = m.checked || ev.Token == m.checking
		if ev.Token == m.dialing {
			m.dialing = 0
			m.refused = m.refused || m.broken && (ev.Outcome == Refused || ev.Outcome == Replaced)
		}
	case Replied:
		m.replied(ev)
	case Looked:
		m.election.looked(m.now, ev)
	case Probed:
		m.probed(ev)
	case Stood:
		m.phase, m.controller = leading, ev.Leader
		m.election.forget()
	case Fenced:
		m.fenced(ev)
	case Resigned:
		m.phase, m.refused = asking, true
		m.election.begin(m.now)
	case Ending:
		m.ending(ev.Successor)
	case FenceSeen:
		m.election.fences.note(m.now, ev.Node)
		if ev.Epoch > m.controller.Epoch && ev.Node != m.self && (m.phase == following || m.phase == asking) {
			m.fenced(Fenced(ev))
		}
	}
}

func (m *Member) exit(err error) {
	if !m.over {
		m.over = true
		m.do(Exit{err})
	}
}

// alone reports whether no other process answers with the data folder. It asks the run that
// is registered, once: a copy of the folder could otherwise take the cluster from it.
func (m *Member) alone() bool {
	if m.checked || m.checking != 0 {
		return m.checked
	}
	n := m.cluster.Node(m.self)
	if m.checked = n == nil || n.State == 0 || n.Run.Start == m.run.Start; !m.checked {
		m.checking = m.next()
		m.do(Dial{m.checking, m.self, n.Run})
	}
	return m.checked
}

// believe takes a leader of journal 0 with a higher epoch than the one before.
func (m *Member) believe(l Leader) {
	if l.Epoch < m.controller.Epoch || l.Epoch == m.controller.Epoch && m.controller.Settled.Seq > 0 || m.phase == leading {
		return
	}
	m.controller, m.heard, m.beat = l, m.now, time.Time{}
	m.broken, m.refused, m.dialing = false, false, 0
	if m.phase == asking {
		m.phase = following
		m.election.forget()
	}
}

func (m *Member) answered(ev Answered) {
	if ev.From != m.controller.Node {
		return
	}
	if !ev.Claims {
		m.refused = true
		return
	}
	m.heard, m.broken, m.refused = m.now, false, false
	if m.phase == asking && !m.election.named { // the answer may be older than the end entry
		m.phase = following
		m.election.forget()
	}
}

// lost takes a broken connection. The handshake that follows shows why it broke.
func (m *Member) lost(node segment.ID) {
	if node != m.controller.Node || m.phase == leading || m.dialing != 0 || m.cluster == nil {
		return
	}
	m.broken = true
	if n := m.cluster.Node(node); n != nil && n.State != 0 {
		m.dialing = m.next()
		m.do(Dial{m.dialing, node, n.Run})
	}
}

// fenced: another node has taken journal 0. It has time to settle before it is asked for.
func (m *Member) fenced(ev Fenced) {
	m.phase, m.heard, m.broken, m.refused = following, m.now, false, false
	if ev.Epoch > m.controller.Epoch {
		m.controller = Leader{Node: ev.Node, Epoch: ev.Epoch}
	}
	m.election.forget()
}

// ending: the controller has ended its leadership. Its successor stands as soon as a probe
// has succeeded, and the others give it time.
func (m *Member) ending(successor segment.ID) {
	if m.phase == leading || m.phase == standing {
		return
	}
	if m.heard = m.now; successor == m.self {
		m.phase = asking
		m.election.begin(m.now)
		m.election.named = true
	}
}

// opinion is this node's knowledge about the controller.
func (m *Member) opinion() Opinion {
	switch {
	case m.phase == leading:
		return Alive
	case m.phase == standing:
		return Standing
	case m.refused:
		return Dead
	case !m.broken && !m.controller.Node.IsZero() && m.now.Sub(m.heard) < silentAfter:
		return Alive
	}
	return Silent
}

// Reply answers the question of another node about the controller, as of the last event. A
// controller answers that it is alive.
func (m *Member) Reply() Reply {
	return Reply{Opinion: m.opinion(), Controller: m.controller}
}

// Claims reports whether this node leads journal 0, for answers to heartbeats.
func (m *Member) Claims() bool { return m.phase == leading }

// act sends heartbeats and questions that are due.
func (m *Member) act() {
	switch m.phase {
	case following:
		if m.gone() {
			m.phase = asking
			m.election.begin(m.now)
			m.elect()
			return
		}
		m.beatController()
	case asking:
		m.beatController()
		m.elect()
	case leading:
		m.beatController()
	}
}

// gone reports whether the controller is gone, by this node's own knowledge.
func (m *Member) gone() bool {
	return m.refused || m.now.Sub(m.heard) >= silentAfter
}

// beatController sends a heartbeat, and asks to be registered.
func (m *Member) beatController() {
	own := m.controller.Node == m.self
	if m.controller.Node.IsZero() || own && m.phase != leading || m.now.Sub(m.beat) < HeartbeatEvery {
		return
	}
	m.beat = m.now
	m.do(Beat{m.controller.Node})
	if m.unregistered() && m.now.Sub(m.registered) >= registerEvery {
		m.registered = m.now
		m.do(Register{m.controller.Node})
	}
}

// unregistered reports whether journal 0 lacks this run. Below LevelCluster it has broker ids
// only.
func (m *Member) unregistered() bool {
	n := m.cluster.Node(m.self)
	return n == nil || m.cluster.Level >= metadata.LevelCluster && n.Run.Start != m.run.Start
}
