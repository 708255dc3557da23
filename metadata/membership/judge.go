package membership

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// aliveEvery is the longest time between two entries of journal 0 while a fenced node may
// have to learn that there is a controller. A silent node that is not fenced learns it
// sooner: it would stand after unmovedFor.
const (
	aliveEvery   = time.Minute
	contestEvery = 5 * time.Second
)

// planAgainAfter is how long to wait after a plan that failed: it may contradict another one,
// which is not applied yet.
const planAgainAfter = 500 * time.Millisecond

// unmovedFor is how long the head of a journal must not move before a node that has no
// majority takes it.
const unmovedFor = 10 * time.Second

// Judge is the judgement of the controller. It is fed with the states of journal 0 also
// while another node is the controller, so that it knows how old an assignment is.
//
// It compares its evidence with the state after each event, and asks for one plan at a
// time. So nothing is lost if a plan is not committed: the next event asks again.
type Judge struct {
	self     segment.ID
	cluster  *metadata.Cluster
	leading  bool
	begun    time.Time // when it last began to lead
	now      time.Time // of the last event
	entryAt  time.Time // when journal 0 last moved
	detector detector
	journals map[uint32]*journal
	joins    map[uint64]*join // registrations that wait, by token
	stores   stores
	leaving  map[segment.ID]segment.ID // the runs that are to end, by node
	planning bool
	planned  time.Time // since when, or when the last one failed
	failed   bool      // the last plan did
	blocked  bool      // journal 0 is, by this node's own report
	yielded  time.Time // when the controller last asked to be replaced
	out      []Action
}

// Events of a Judge.
type (
	// Led: this node is the controller.
	Led struct{}
	// Deposed: it is not the controller any more.
	Deposed struct{}
	// Heard is a heartbeat that arrived.
	Heard struct{ Heartbeat }
	// Broken: the connection of a node's heartbeats is broken.
	Broken struct{ Node, Start segment.ID }
	// Seeking: this node may become the controller without a majority. It looks at the
	// heads of journals from now on.
	Seeking struct{}
	// Planned: the last Plan is committed, or never will be.
	Planned struct{ Err error }
	// Joining: a node asks to be registered.
	Joining struct {
		Token uint64 // of the caller
		Node  segment.ID
		Run   metadata.Run
	}
)

// Actions of a Judge.
type (
	// Plan asks for entries of journal 0, all or none; Planned follows.
	Plan struct{ Changes []metadata.Change }
	// Join answers Joining. With no error the caller registers the run.
	Join struct {
		Token uint64
		Err   error
	}
	// Resign asks to give journal 0 up: this node cannot commit, and another one could.
	Resign struct{}
	// Yield asks to end the leadership of journal 0 in favour of a node.
	Yield struct{ To segment.ID }
)

func (Led) event()     {}
func (Deposed) event() {}
func (Heard) event()   {}
func (Broken) event()  {}
func (Seeking) event() {}
func (Planned) event() {}
func (Joining) event() {}

func (Plan) action()   {}
func (Join) action()   {}
func (Resign) action() {}
func (Yield) action()  {}

// NewJudge returns the Judge of a node that knows no state of journal 0 yet.
func NewJudge(self segment.ID) *Judge {
	return &Judge{
		self: self, cluster: &metadata.Cluster{}, detector: detector{self: self, peers: map[segment.ID]*peer{}},
		journals: map[uint32]*journal{}, joins: map[uint64]*join{}, stores: stores{}, leaving: map[segment.ID]segment.ID{},
	}
}

// Step takes an event, at a time of the process's clock. Times never go back.
func (j *Judge) Step(now time.Time, ev Event) []Action {
	if j.leading && now.Sub(j.now) > stalledAfter {
		j.stalled(now)
	}
	j.now = now
	j.take(ev)
	if j.leading && j.cluster.Level >= metadata.LevelCluster {
		j.judge()
	}
	out := j.out
	j.out = nil
	return out
}

func (j *Judge) do(a Action) { j.out = append(j.out, a) }

// stalled forgets all evidence of silence: this process has stood still, or had no time.
func (j *Judge) stalled(now time.Time) {
	j.detector.restart(now, false)
	for _, l := range j.journals {
		l.restart(now)
	}
	j.stores = stores{}
}

func (j *Judge) take(ev Event) {
	switch ev := ev.(type) {
	case Applied:
		j.applied(ev.Cluster)
	case Led:
		j.led()
	case Deposed:
		j.deposed()
	case Heard:
		j.heard(ev.Heartbeat)
	case Broken:
		if p := j.detector.peers[ev.Node]; j.leading && p != nil && p.start == ev.Start && p.token == 0 {
			j.dial(j.cluster.Node(ev.Node), j.detector.suspect(j.now, p))
		}
	case Dialed:
		if !j.detector.dialed(j.now, ev) {
			j.dialedBack(ev)
		}
	case Looked:
		if l := j.journals[ev.Journal]; l != nil {
			l.progress.looked(j.now, ev)
		}
	case Probed:
		j.stores.probed(j.now, ev)
	case Seeking:
		for _, a := range j.cluster.Assignments {
			j.look(a.Journal)
		}
	case Planned:
		j.planning, j.planned, j.failed = false, j.now, ev.Err != nil
	case Joining:
		j.joining(ev)
	}
}

func (j *Judge) applied(c *metadata.Cluster) {
	if c.Seq > j.cluster.Seq {
		j.entryAt = j.now
	}
	first := j.cluster.Seq == 0
	j.cluster = c
	j.detector.follow(j.now, c)
	for _, a := range c.Assignments {
		l := j.journals[a.Journal]
		if l == nil {
			l = &journal{}
			j.journals[a.Journal] = l
		}
		if a.Number != l.number {
			l.assigned(j.now, a, first)
		}
	}
}

func (j *Judge) led() {
	j.leading, j.planning, j.failed, j.blocked, j.yielded = true, false, false, false, time.Time{}
	j.begun, j.entryAt = j.now, j.now
	j.detector.restart(j.now, true)
	for _, l := range j.journals {
		l.begin(j.now)
	}
	j.stores = stores{}
}

func (j *Judge) deposed() {
	j.leading, j.planning = false, false
	for _, token := range sortedKeys(j.joins) {
		j.answer(token, metadata.ErrNotController)
	}
}

func (j *Judge) heard(h Heartbeat) {
	if h.Node != j.self && !j.detector.beat(j.now, h.Node, h.Start) {
		return
	}
	if h.Leaving {
		j.leaving[h.Node] = h.Start
	}
	j.report(h)
}

func (j *Judge) dial(n *metadata.Node, token uint64) {
	if n != nil && token != 0 {
		j.do(Dial{Token: token, Node: n.Node, Run: n.Run})
	}
}

// judge compares the evidence with the state, and asks for a plan if they differ.
func (j *Judge) judge() {
	for i := range j.cluster.Nodes {
		j.dial(&j.cluster.Nodes[i], j.detector.due(j.now, &j.cluster.Nodes[i]))
	}
	j.expireJoins()
	j.probeBlocked()
	if j.planning || !j.leading || j.failed && j.now.Sub(j.planned) < planAgainAfter {
		return
	}
	d := newDraft(j.cluster)
	j.fences(d)
	j.leaves(d)
	j.assignments(d)
	if len(d.changes) == 0 && j.mustShow(d) {
		d.changes = append(d.changes, metadata.NoOp{})
	}
	if len(d.changes) > 0 {
		j.planning, j.planned = true, j.now
		j.do(Plan{d.changes})
		return
	}
	j.yield()
}

// fences plans which nodes are counted on.
func (j *Judge) fences(d *draft) {
	majority := j.detector.majority(j.now, j.cluster)
	for i := range d.Nodes {
		n := &d.Nodes[i]
		switch dead := j.detector.dead(n.Node); {
		case n.State == 0 || n.State == metadata.StateRemoved:
		case !n.Lives():
			if j.detector.back(j.now, n.Node) {
				d.fence(n, metadata.NotFenced)
			}
		case j.detector.answers(j.now, n.Node):
		case dead == metadata.FencedRefused || dead == metadata.FencedReplaced || dead == metadata.FencedSilent && majority:
			j.fence(d, n, dead)
		case !majority && j.still(n) && dead == metadata.FencedSilent:
			j.fence(d, n, dead)
		}
	}
}

// leaves plans that nodes leave which said so.
func (j *Judge) leaves(d *draft) {
	for i := range d.Nodes {
		if n := &d.Nodes[i]; n.State == metadata.StateServing && j.leaving[n.Node] == n.Run.Start {
			d.set(n, metadata.StateLeaving)
		}
	}
}

func (j *Judge) fence(d *draft, n *metadata.Node, dead metadata.Fence) {
	j.detector.peers[n.Node].silent = dead == metadata.FencedSilent
	d.fence(n, dead)
}

// still reports whether the journals of a silent node have not moved for long, and looks
// at them.
func (j *Judge) still(n *metadata.Node) bool {
	still, none := true, true
	for _, a := range j.cluster.Assignments {
		if a.Node == n.Node {
			j.look(a.Journal)
			still, none = still && j.journals[a.Journal].progress.unmoved(unmovedFor), false
		}
	}
	return still && (!none || j.now.Sub(j.detector.peers[n.Node].heard) >= unmovedFor)
}

func (j *Judge) look(journal uint32) {
	if j.journals[journal].progress.ask(j.now) {
		j.do(Look{journal})
	}
}

// mustShow reports whether journal 0 has to move, so that a node that hears from no other
// sees that there is a controller.
func (j *Judge) mustShow(d *draft) bool {
	every := time.Duration(0)
	for _, n := range d.Nodes {
		switch {
		case n.State == 0 || n.State == metadata.StateRemoved || n.Node == j.self:
		case n.Lives() && !j.detector.answers(j.now, n.Node) && j.detector.dead(n.Node) != metadata.NotFenced:
			every = contestEvery
		case !n.Lives() && n.State != metadata.StateDrained && every == 0:
			every = aliveEvery
		}
	}
	return every > 0 && j.now.Sub(j.entryAt) >= every
}

// yield gives journal 0 to a node that serves, if this one does not and leads nothing else.
func (j *Judge) yield() {
	self := j.cluster.Node(j.self)
	if self == nil || self.State != metadata.StateDrained && self.State != metadata.StateLeaving ||
		!j.yielded.IsZero() && j.now.Sub(j.yielded) < handOverLimit {
		return
	}
	for _, a := range j.cluster.Assignments {
		if a.Node == j.self || j.journals[a.Journal].leader == j.self {
			return
		}
	}
	for i := range j.cluster.Nodes {
		if n := &j.cluster.Nodes[i]; j.able(n) {
			j.yielded = j.now
			j.do(Yield{n.Node})
			return
		}
	}
}
