package metadata

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"strconv"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// This simulation runs the real controller, its state, the journal and its checkpoints
// against a simulated store and clock, and administrators request changes. Answered
// changes must be in the journal, in one order for all.

type shape struct {
	Nodes, Admins, Followers int
	Chaos                    time.Duration // how long things go wrong
	Faults                   sim.Faults
	Crash, Freeze, Outage    time.Duration // mean time between two; 0: never
	Pace                     time.Duration // between two requests
	Checkpoints              journal.CheckpointPolicy
	Depose                   time.Duration // mean time between two leaders of a data journal; 0: never
	Commit                   time.Duration // longest time that a data journal takes to commit
	Grace                    time.Duration // in which a deleted topic can be restored
	Sweeps                   time.Duration // of the data below the floor, without the time that is due to those who read there
	Stays                    float64       // of leaderships, after how many the process follows on
	Follows                  float64       // of processes, how many follow at first
	Patient                  float64       // of nodes that follow and stand, how many give up at a fence
	HandOver                 time.Duration // mean time between two; 0: never
	Sleep                    time.Duration // mean time between two long freezes of processes that follow; 0: never
}

func drawShape(r *rand.Rand) shape {
	sometimes := func(p, most float64) float64 {
		if r.Float64() >= p {
			return 0
		}
		return most * r.Float64()
	}
	maybe := func(p float64, lo, hi time.Duration) time.Duration {
		if r.Float64() >= p {
			return 0
		}
		return lo + time.Duration(r.Int63n(int64(hi-lo)))
	}
	s := shape{
		Nodes: 1 + r.Intn(3), Admins: 1 + r.Intn(3), Followers: r.Intn(2), Chaos: 10*time.Second + time.Duration(r.Intn(50))*time.Second,
		Faults: sim.Faults{
			Lost: sometimes(0.5, 0.2), ReplyLost: sometimes(0.6, 0.3), Late: sometimes(0.6, 0.3), Resent: sometimes(0.3, 0.3),
			Refused: sometimes(0.4, 0.3), Slow: sometimes(0.4, 0.2), Read: sometimes(0.4, 0.2), List: sometimes(0.5, 0.5), Damage: sometimes(0.3, 0.3),
		},
		Crash: maybe(0.8, 3*time.Second, 30*time.Second), Freeze: maybe(0.4, 5*time.Second, 30*time.Second),
		Outage: maybe(0.3, 10*time.Second, 40*time.Second), Pace: 30*time.Millisecond + time.Duration(r.Intn(500))*time.Millisecond,
		Checkpoints: journal.CheckpointPolicy{Every: []uint64{0, 3, 6, 15}[r.Intn(4)], Most: 2 + r.Intn(3), Behind: 1 + r.Intn(2)},
	}
	s.Depose, s.Commit = maybe(0.7, time.Second, 30*time.Second), []time.Duration{10 * time.Millisecond, time.Second, 30 * time.Second}[r.Intn(3)]
	s.Grace = maybe(0.7, 100*time.Millisecond, 40*time.Second)
	s.Stays, s.Follows, s.Patient = []float64{0, 0.5, 1}[r.Intn(3)], []float64{0, 0.5, 1}[r.Intn(3)], []float64{0, 0.5, 1}[r.Intn(3)]
	s.HandOver = maybe(0.6, time.Second, 20*time.Second)
	if s.Checkpoints.Every > 0 {
		s.Sweeps = maybe(0.6, time.Second, 10*time.Second)
	}
	if r.Intn(8) == 0 {
		s.sleepLong(r)
	}
	return s
}

// sleepLong lets the floor pass processes that follow. Little else happens, or it would not
// move often enough.
func (s *shape) sleepLong(r *rand.Rand) {
	s.Nodes, s.Stays, s.Follows, s.Crash, s.Freeze, s.Outage, s.HandOver = 2+r.Intn(2), 1, 1, 0, 0, 0, 0
	s.Faults = sim.Faults{ReplyLost: s.Faults.ReplyLost / 10, Late: s.Faults.Late / 10, List: s.Faults.List, Damage: s.Faults.Damage / 10}
	s.Checkpoints = journal.CheckpointPolicy{Every: 3, Most: 2, Behind: 1}
	s.Sweeps, s.Sleep = time.Second, 2*time.Second+time.Duration(r.Intn(4))*time.Second
	s.Pace, s.Chaos = 50*time.Millisecond+time.Duration(r.Intn(200))*time.Millisecond, time.Minute
}

var lessShape = []func(shape) (shape, bool){
	func(s shape) (shape, bool) { can := s.Chaos > time.Second; s.Chaos /= 2; return s, can },
	func(s shape) (shape, bool) { can := s.Nodes > 1; s.Nodes--; return s, can },
	func(s shape) (shape, bool) { can := s.Admins > 1; s.Admins--; return s, can },
	func(s shape) (shape, bool) { can := s.Followers > 0; s.Followers--; return s, can },
	func(s shape) (shape, bool) { can := s.Freeze > 0; s.Freeze = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Outage > 0; s.Outage = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Crash > 0; s.Crash = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Grace > 0; s.Grace = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Stays > 0; s.Stays = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Follows > 0; s.Follows = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Patient > 0; s.Patient = 0; return s, can },
	func(s shape) (shape, bool) { can := s.HandOver > 0; s.HandOver = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Sleep > 0; s.Sleep = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Depose > 0; s.Depose = 0; return s, can },
	func(s shape) (shape, bool) { can := s.Commit > time.Second; s.Commit = time.Second; return s, can },
	func(s shape) (shape, bool) { can := s.Sweeps > 0; s.Sweeps = 0; return s, can },
	func(s shape) (shape, bool) {
		can := s.Checkpoints.Every > 0
		s.Checkpoints, s.Sweeps = journal.CheckpointPolicy{}, 0
		return s, can
	},
}

var simulation = sim.Shape[shape]{
	Draw: drawShape, Run: simulate, Less: lessShape,
	Must: append([]string{
		"freeze", "process ended", "controller", "followed on after a leadership", "stood again", "stood patiently", "gave up at a fence", "handed over", "hand-over taken back", "hand-over not taken back", "successor named", "skipped to a newer checkpoint", "stood after a skip", "success at the end of a leadership", "asked when it follows", "unavailable", "topic created", "topic deleted", "topic forgotten", "topic restored", "topic created with the name of a deleted one", "partitions added", "topic configured",
		"producer id given", "restored from a checkpoint", "floor planned", "floor planned again", "floor moved", "floor moved in spite of a take-over",
		"data deleted below the floor", "journal followed", "journal has nothing to follow", "partition sealed", "partition deleted before it was opened", "partition opened again",
		"journal waits for a proved view", "report of a deposed leader", "report later than a newer one", "topics undone for long", "topics done after all",
	}, sim.StoreFaults...),
}

func TestSimulation(t *testing.T) { sim.Run(t, simulation, 2000, 200) }

func TestSimulationReplaysExactly(t *testing.T) {
	if err := sim.Replays(simulation, 10); err != nil {
		t.Fatal(err)
	}
}

var simChain = journal.NewChain(segment.ID{1}, 0, 4)

// cluster is everything there is in one simulation.
type cluster struct {
	*sim.World
	shape     shape
	store     *sim.Store
	seen      *sim.Observed
	truth     *State // the committed state, as of seen.Last
	nodes     []*node
	ids       uint64
	quiet     bool
	only      *node
	journals  []*dataJournal
	asked     int                   // requests without an answer
	created   map[segment.ID]bool   // returned to administrators
	committed map[segment.ID]string // names of all topics ever, by id
	restored  map[segment.ID]int    // committed, by topic
	given     map[int64]bool        // producer ids
	brokers   map[segment.ID]int32
	folders   map[int32]segment.ID

	configured    int                         // requests to configure a topic
	wasConfigured map[segment.ID]map[int]bool // which of them are committed
}

func simulate(w *sim.World, s shape) {
	c := &cluster{
		World: w, shape: s, store: sim.NewStore(w), truth: New(), created: map[segment.ID]bool{}, committed: map[segment.ID]string{},
		restored: map[segment.ID]int{}, given: map[int64]bool{}, brokers: map[segment.ID]int32{}, folders: map[int32]segment.ID{},
		wasConfigured: map[segment.ID]map[int]bool{},
	}
	c.store.Faults = s.Faults
	c.seen = sim.NewObserved(c.store, simChain)
	for i := range s.Nodes {
		n := &node{c: c, name: fmt.Sprintf("node%d", i), id: segment.ID{3, byte(i + 1)}}
		c.nodes = append(c.nodes, n)
		c.After(c.Between(0, 2*time.Second), "start", n.start)
	}
	c.startJournals()
	c.often(s.Depose, "depose", func() { c.journals[c.Rand.Intn(len(c.journals))].elect() })
	for i := range s.Admins {
		c.After(c.Between(0, time.Second), "administer", func() { c.administer(i) })
	}
	for i := range s.Followers {
		c.follow(fmt.Sprintf("follower%d", i))
	}
	pick := func() *node { return c.nodes[c.Rand.Intn(len(c.nodes))] }
	c.often(s.Crash, "crash", func() { pick().stop() })
	c.often(s.Freeze, "freeze", func() { pick().freeze() })
	c.often(s.Sleep, "sleep", func() { pick().sleep() })
	c.often(s.HandOver, "hand over", func() { pick().handOver() })
	c.often(s.Outage, "outage", func() { c.store.Outage(c.Between(time.Second, time.Minute)) })
	c.often(s.Sweeps, "sweep", c.seen.Sweep)
	c.Run(s.Chaos, nil)
	c.finish()
}

// finish: without faults every node in turn becomes the controller and answers.
func (c *cluster) finish() {
	c.quiet, c.store.Faults = true, sim.Faults{}
	for _, j := range c.journals {
		j.elect()
	}
	for _, n := range c.nodes {
		c.only = n
		for _, other := range c.nodes {
			if other != n {
				other.stop()
			}
		}
		n.start()
		if !c.settle(n) {
			return
		}
		c.checkJournals()
		if got, want := imageBytes(n.lead.controller.img), imageBytes(n.state.img); got != want {
			c.Fail("%s planned something else than it committed", n.name)
		}
	}
	c.only, c.journals = &node{}, nil
	for _, n := range c.nodes {
		n.stop()
	}
	c.Run(20*time.Minute, nil) // the last late write has landed
	if c.seen.Floor == 0 {
		c.readAgain("reader of everything", simChain, journal.History{}, New())
	}
	chain, history, state, err := c.load()
	if err != nil {
		c.Fail("load checkpoint at the end: %w", err)
		return
	}
	c.readAgain("reader of a checkpoint", chain, history, state)
	c.seen.CheckBucket()
	c.seen.CheckFloors()
	c.seen.ForgetHints()
	if chain, history, state, err = c.load(); err != nil {
		c.Fail("load without hints at the end: %w", err)
		return
	}
	c.readAgain("reader without hints", chain, history, state)
}

// settle runs until a node is the controller and everything is answered. It reports
// whether that came true.
func (c *cluster) settle(n *node) bool {
	for {
		if !c.Run(5*time.Minute, func() bool { return n.drained() && c.asked == 0 }) {
			c.Fail("not drained: %s, %d requests without an answer", n.name, c.asked)
			return false
		}
		if n.state.head.Epoch >= c.truth.head.Epoch {
			return true
		}
		c.Count("deposed controller is asked") // it writes nothing, so it does not know yet
		p, owner := n.p, n.owner
		p.Do(func() { owner.Do(func() { owner.Prove(func(error) {}) }) })
		if !c.Run(5*time.Minute, func() bool { return n.p != p || !n.ready }) {
			c.Fail("%s goes on in epoch %d, although there is epoch %d", p.Name, n.state.head.Epoch, c.truth.head.Epoch)
			return false
		}
	}
}

func (c *cluster) readAgain(who string, chain journal.Chain, history journal.History, state *State) {
	c.seen.ReadAgain(who, chain, history, func(o *journal.Object) error { return state.Apply(o.Footer, o.Entries) }, state.hash)
}

func (c *cluster) often(mean time.Duration, what string, f func()) {
	if mean == 0 {
		return
	}
	c.After(c.Between(mean/4, 3*mean), what, func() {
		if !c.quiet {
			f()
			c.often(mean, what, f)
		}
	})
}

func (c *cluster) newID() (id segment.ID) {
	c.ids++
	binary.BigEndian.PutUint64(id[8:], c.ids)
	id[0] = 9
	return id
}

// applied notes an object that a node applied, and keeps the truth up to date.
func (c *cluster) applied(who string, o *journal.Object, state *State) {
	stored := c.seen.Applied(who, o, state.hash)
	if stored == nil {
		return
	}
	c.checkPurges(stored.Entries)
	if err := c.truth.Apply(stored.Footer, stored.Entries); err != nil {
		c.Fail("%s: seq %d: %w", who, stored.Footer.Header.Seq, err)
	}
	for _, e := range stored.Entries {
		if change, err := Decode(e); err == nil {
			switch change := change.(type) {
			case TopicRestored:
				c.restored[change.ID]++
			case TopicCreated:
				c.committed[change.ID] = change.Name
				c.wasConfigured[change.ID] = map[int]bool{}
			case TopicConfigured:
				serial, _ := strconv.Atoi(change.Configs["segment.ms"])
				c.wasConfigured[change.ID][serial] = true
			}
		}
	}
}

// load loads the state as a node does before it follows or leads.
func (c *cluster) load() (journal.Chain, journal.History, *State, error) {
	state := New()
	cp, err := journal.LoadCheckpoint(context.Background(), c.store.Now(), simChain, nil)
	if err != nil || cp == nil {
		return simChain, journal.History{}, state, err
	}
	if err := state.Restore(cp.State); err != nil {
		return simChain, journal.History{}, state, err
	}
	c.Count("restored from a checkpoint")
	c.seen.SameState("restored from a checkpoint", state.Head(), state.hash)
	return cp.Chain, cp.History, state, nil
}

// follow starts a node that only reads, and again when that ends.
func (c *cluster) follow(name string) {
	p := c.NewProcess(name)
	again := func() { c.After(c.Between(time.Second, 5*time.Second), "start again", func() { c.follow(name) }) }
	chain, history, state, err := c.load()
	if err != nil {
		c.seen.MayEnd(name, err)
		again()
		return
	}
	o := sim.Follow(p, c.store, journal.Config{Chain: chain, History: history}, func(o *journal.Object) error {
		if err := state.Apply(o.Footer, o.Entries); err != nil {
			return err
		}
		c.applied(name, o, state)
		return nil
	}, c.Between(100*time.Millisecond, 3*time.Second), func(err error) { c.seen.MayEnd(name, err); p.Kill(); again() })
	var prove func()
	prove = func() {
		if c.only != nil && c.quiet && c.asked == 0 && state.Head() == c.seen.Last {
			p.Kill() // all that will ever be there is read
			return
		}
		head := c.seen.Last
		o.Do(func() {
			o.Prove(func(err error) {
				if err == nil && state.Head() < head {
					c.Fail("%s proved its head at seq %d, seq %d was committed before", name, state.Head(), head)
				}
			})
		})
		p.After(c.Between(100*time.Millisecond, 3*time.Second), "prove", prove)
	}
	p.After(0, "prove", prove)
}
