package membership

import (
	"slices"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// fencedUnmovedFor is unmovedFor for a node that is fenced: the controller writes an
	// entry more often than that while there is one.
	fencedUnmovedFor = 2 * time.Minute
	// unmovedSlack is how much of the wait may pass before the first look and after the last.
	unmovedSlack = 2 * time.Second
	// rankEvery is how much later each next candidate stands.
	rankEvery = 500 * time.Millisecond
	// standingLimit is how long a node waits for another one that stands.
	standingLimit = time.Minute
	// strangerWait is how long a node that is not registered waits for any answer.
	strangerWait = 30 * time.Second
	// contestedMost is the longest wait for a journal 0 that goes back and forth.
	contestedMost = 5 * time.Minute
)

// election is a node's knowledge of the other candidates while the controller is gone.
type election struct {
	since    time.Time // it asks
	named    bool      // the controller before has named this node its successor
	round    time.Time // the last questions
	replies  map[segment.ID]*answer
	clear    time.Time            // since when it may stand; zero: it may not
	progress progress             // of journal 0
	data     map[uint32]*progress // of data journals, if this node is not registered
	probing  uint64
	probed   time.Time
	fences   fences
}

// answer is the last reply of a node.
type answer struct {
	token    uint64 // of the question under way; 0: none
	asked    time.Time
	at       time.Time // of the reply; zero: none yet
	outcome  Outcome
	reply    Reply
	failed   int       // questions in a row that timed out
	standing time.Time // since when it says that it stands; zero: it does not
}

// begin begins to ask, with nothing known.
func (e *election) begin(now time.Time) {
	e.forget()
	e.since = now
}

// forget keeps only the fences that were seen.
func (e *election) forget() {
	*e = newElection(e.fences)
}

func newElection(f fences) election {
	return election{replies: map[segment.ID]*answer{}, data: map[uint32]*progress{}, fences: f}
}

// fences are the last ones of journal 0 that this process saw come, with the times of its
// own clock.
type fences []fenceAt

type fenceAt struct {
	at   time.Time
	node segment.ID
}

const (
	fencesKept = 16
	// contestFor is how long a fence counts for the contest of journal 0.
	contestFor = 10 * time.Minute
	// contestFree is how many changes of node within that are no contest yet.
	contestFree = 2
)

func (f *fences) note(now time.Time, node segment.ID) {
	*f = append(*f, fenceAt{now, node})
	*f = (*f)[max(0, len(*f)-fencesKept):]
}

// contested returns how long a node without a majority waits for an unmoved journal 0.
func (f fences) contested(now time.Time) time.Duration {
	changes := -contestFree
	for i := 1; i < len(f); i++ {
		if f[i].node != f[i-1].node && now.Sub(f[i].at) < contestFor {
			changes++
		}
	}
	return doubled(unmovedFor, changes, contestedMost)
}

func (m *Member) replied(ev Replied) {
	for _, a := range m.election.replies {
		if a.token != ev.Token {
			continue
		}
		a.took(m.now, ev)
	}
}

func (a *answer) took(now time.Time, ev Replied) {
	a.token, a.at, a.outcome, a.reply = 0, now, ev.Outcome, ev.Reply
	if a.failed++; ev.Outcome != TimedOut {
		a.failed = 0
	}
	if ev.Outcome != Proved || ev.Opinion != Standing {
		a.standing = time.Time{}
	} else if a.standing.IsZero() {
		a.standing = now
	}
}

// elect asks the other nodes, and stands when it may.
func (m *Member) elect() {
	e := &m.election
	if m.reads() {
		m.seek()
		return
	}
	m.ask()
	if !m.mayStand() {
		e.clear, e.probing = time.Time{}, 0
		return
	}
	if e.clear.IsZero() {
		e.clear = m.now
	}
	turn := m.turn()
	if e.named {
		turn = 0
	}
	if turn > 0 && m.now.Sub(e.clear) >= turn && !m.asked(e.clear.Add(turn)) {
		return // the others may have begun to stand since they were asked
	}
	if m.now.Sub(e.clear) < turn || e.probing != 0 && m.now.Sub(e.probed) < probeEvery {
		return
	}
	e.probing, e.probed = m.next(), m.now
	m.do(Probe{e.probing, m.self})
}

// reads reports whether this node only reads. It never stands.
func (m *Member) reads() bool { return m.run.Roles&metadata.RoleIngest == 0 }

// seek finds the controller for a node that only reads. Its heartbeats are let in
// everywhere, and the answer of any node names the leader that it believes.
func (m *Member) seek() {
	e := &m.election
	if m.now.Sub(e.round) < askEvery {
		return
	}
	e.round = m.now
	for i := range m.cluster.Nodes {
		if n := &m.cluster.Nodes[i]; m.asks(n) && n.Node != m.controller.Node {
			m.do(Beat{n.Node})
		}
	}
}

// asked reports whether the replies of all nodes that answer are to questions of after a
// time. If there was no question since, it asks now.
func (m *Member) asked(after time.Time) bool {
	e := &m.election
	if e.round.Before(after) {
		e.round = time.Time{}
		m.ask()
	}
	for i := range m.cluster.Nodes {
		if a := m.fresh(&m.cluster.Nodes[i]); a != nil && a.outcome == Proved && a.asked.Before(after) {
			return false
		}
	}
	return true
}

// probed: a node stands only if it can write.
func (m *Member) probed(ev Probed) {
	e := &m.election
	if m.phase != asking || ev.Token != e.probing {
		return
	}
	if !ev.OK {
		e.named = false
		return // the next probe comes later
	}
	if m.mayStand() {
		m.phase = standing
		e.forget()
		m.do(Stand{})
	}
}

// ask asks each node that may have an answer.
func (m *Member) ask() {
	e := &m.election
	if m.now.Sub(e.round) < askEvery {
		return
	}
	e.round = m.now
	for i := range m.cluster.Nodes {
		n := &m.cluster.Nodes[i]
		if !m.asks(n) {
			continue
		}
		a := e.replies[n.Node]
		if a == nil {
			a = &answer{}
			e.replies[n.Node] = a
		}
		if a.token != 0 && m.now.Sub(a.asked) < HandshakeLimit {
			continue
		}
		if a.token != 0 {
			a.took(m.now, Replied{Outcome: TimedOut})
		}
		a.token, a.asked = m.next(), m.now
		m.do(Ask{a.token, n.Node, n.Run, m.controller})
	}
	if e.progress.ask(m.now) {
		m.do(Look{0})
	}
	t := m.count()
	if !m.stranger() {
		if t.answered*2 <= t.voters {
			m.do(Seek{})
		}
		return
	}
	if t.silent == 0 {
		return
	}
	for _, a := range m.cluster.Assignments {
		if e.data[a.Journal] == nil {
			e.data[a.Journal] = &progress{}
		}
		if e.data[a.Journal].ask(m.now) {
			m.do(Look{a.Journal})
		}
	}
}

// looked takes the end of a Look.
func (e *election) looked(now time.Time, ev Looked) {
	if ev.Journal == 0 {
		e.progress.looked(now, ev)
	} else if p := e.data[ev.Journal]; p != nil {
		p.looked(now, ev)
	}
}

// asks reports whether it asks a node: each ingest node that is not fenced, and one that is
// not registered asks the fenced ones, too.
func (m *Member) asks(n *metadata.Node) bool {
	return n.Node != m.self && n.Ingests() && (n.Lives() || m.stranger())
}

// stranger reports whether the data folder was never registered with a run.
func (m *Member) stranger() bool {
	n := m.cluster.Node(m.self)
	return n == nil || n.State == 0
}

// fresh returns the last reply of a node, if it is not too old.
func (m *Member) fresh(n *metadata.Node) *answer {
	a := m.election.replies[n.Node]
	if a == nil || a.at.IsZero() || m.now.Sub(a.at) > askEvery+HandshakeLimit {
		return nil
	}
	return a
}

// tally is the replies, counted.
type tally struct {
	voters, answered int  // a refusal is an answer
	proved           int  // of these, by a handshake, and this node
	alive            bool // a node says that the controller, or a later one, is
	waits            bool // another node stands, and answers
	serving          bool // another node that serves answers
	silent           int  // neither an answer nor a refusal
}

func (m *Member) count() (t tally) {
	for i := range m.cluster.Nodes {
		n := &m.cluster.Nodes[i]
		if !m.asks(n) && n.Node != m.self {
			continue
		}
		a := m.fresh(n)
		if n.Lives() {
			t.voters++
		}
		switch {
		case n.Node == m.self:
			if n.Lives() {
				t.answered++
				t.proved++
			}
			continue
		case a == nil || a.outcome == TimedOut:
			t.silent++
			continue
		}
		if n.Lives() {
			t.answered++
		}
		if a.outcome != Proved {
			continue
		}
		if n.Lives() {
			t.proved++
		}
		t.serving = t.serving || n.Serves()
		t.alive = t.alive || a.reply.Opinion == Alive && a.reply.Controller.Epoch >= m.controller.Epoch
		t.waits = t.waits || !a.standing.IsZero() && m.now.Sub(a.standing) < standingLimit
	}
	return t
}

// mayStand reports whether the controller is gone for all that answer, and enough do.
func (m *Member) mayStand() bool {
	if m.election.named {
		return true
	}
	t := m.count()
	if t.alive || t.waits || m.controllerMayAnswer() {
		return false
	}
	if m.stranger() {
		return m.strangerStands(t)
	}
	self := m.cluster.Node(m.self)
	if self.State != metadata.StateServing && t.serving {
		return false
	}
	wait := m.election.fences.contested(m.now)
	// A network that rejects connections looks as if all other nodes had died.
	convincing := t.proved*2 > t.voters || self.Lives() && wait == unmovedFor
	if t.answered*2 > t.voters && convincing {
		return m.waited(t)
	}
	if !self.Lives() {
		wait = max(wait, fencedUnmovedFor)
	}
	since := m.election.since
	if !m.heard.IsZero() {
		since = m.heard // the first look came when the controller was silent for a while
	}
	return m.now.Sub(since) >= wait && m.election.progress.unmoved(wait-unmovedSlack)
}

// controllerMayAnswer: a controller that is silent gets as many handshakes as it gives to
// other nodes.
func (m *Member) controllerMayAnswer() bool {
	n := m.cluster.Node(m.controller.Node)
	if n == nil || n.Node == m.self || !m.asks(n) {
		return false
	}
	a := m.election.replies[n.Node]
	return a == nil || a.at.IsZero() || a.outcome == TimedOut && a.failed < silentTries
}

// waited: each node that was asked has answered, or its time is over.
func (m *Member) waited(t tally) bool {
	return t.silent == 0 || m.now.Sub(m.election.since) >= HandshakeLimit
}

// strangerStands is mayStand of a node that is not registered. The bucket may be empty, or
// that of a cluster whose nodes are all lost.
func (m *Member) strangerStands(t tally) bool {
	known := slices.ContainsFunc(m.cluster.Nodes, func(n metadata.Node) bool {
		return n.State != 0 && n.State != metadata.StateRemoved
	})
	switch waited := m.now.Sub(m.election.since); {
	case !known:
		return waited >= m.pause
	case m.anyProved():
		return false
	case t.silent == 0:
		return waited >= m.pause
	default:
		return waited >= strangerWait && m.nothingMoves()
	}
}

// nothingMoves reports whether no journal has moved while this node waited for an answer.
func (m *Member) nothingMoves() bool {
	for _, a := range m.cluster.Assignments {
		if p := m.election.data[a.Journal]; p == nil || !p.unmoved(strangerWait-unmovedSlack) {
			return false
		}
	}
	return m.election.progress.unmoved(strangerWait - unmovedSlack)
}

func (m *Member) anyProved() bool {
	for i := range m.cluster.Nodes {
		if a := m.fresh(&m.cluster.Nodes[i]); a != nil && a.outcome == Proved {
			return true
		}
	}
	return false
}

// turn is how long this node lets others stand first: those with lower ids that answer, and
// if it is fenced all others.
func (m *Member) turn() time.Duration {
	self := m.cluster.Node(m.self)
	before := 0
	for i := range m.cluster.Nodes {
		n := &m.cluster.Nodes[i]
		a := m.fresh(n)
		if n.Node == m.self || self == nil || a == nil || a.outcome != Proved {
			continue
		}
		if n.ID < self.ID || !self.Lives() {
			before++
		}
	}
	return time.Duration(before) * rankEvery
}
