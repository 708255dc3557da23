package ingest

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	simJournal = 1
	simWindow  = 4
	simTopics  = 7 // the first byte of the ids of topics
)

var simChain = journal.NewChain(segment.ID{1}, simJournal, simWindow)

// cluster is everything there is in one simulation.
type cluster struct {
	*sim.World
	shape      shape
	store      *sim.Store
	truth      *truth
	folders    []*datadir
	producers  []*producer
	consumers  []*consumer
	committers []*committer
	own        int  // how many of want's open partitions, the first, are a coordinator's
	want       want // of the metadata
	metadata   changes
	topics     byte                  // that were ever created
	names      map[segment.ID]string // of topics
	reported   uint64                // seq of the metadata that the journal is known to follow
	ids        uint64
	quiet      bool          // nothing goes wrong any more
	calmed     time.Duration // since then
	only       *datadir      // the one node that may run, once it is quiet
}

func newCluster(w *sim.World, s shape) *cluster {
	c := &cluster{World: w, shape: s, store: sim.NewStore(w), names: map[segment.ID]string{}}
	c.truth = newTruth(w, c.store)
	c.truth.archive.compacted, c.truth.archive.name = c.compacted, func(id segment.ID) string { return c.names[id] }
	c.truth.policies, c.truth.purged = c.policies, c.purged
	c.truth.archive.deletes, c.truth.archive.expires = s.Upkeep.Sweep, s.Upkeep.Expire
	c.truth.archive.noGrace = s.Upkeep.Grace == 0
	c.store.Faults = s.Faults
	return c
}

func (c *cluster) newID() (id segment.ID) {
	c.ids++
	binary.BigEndian.PutUint64(id[8:], c.ids)
	id[0] = 9
	return id
}

// begin starts all actors.
func (c *cluster) begin() {
	c.beginCommitters()
	c.createTopic()
	for i := range c.shape.Nodes {
		f := &datadir{c: c, name: fmt.Sprintf("node%d", i), id: segment.ID{3, byte(i + 1)}}
		c.folders = append(c.folders, f)
		c.After(c.Between(0, 2*time.Second), "start", f.start)
	}
	for i := range c.shape.Producers {
		c.producers = append(c.producers, newProducer(c, i))
	}
	for i := range c.shape.Consumers {
		f := &consumer{c: c, name: fmt.Sprintf("consumer%d", i)}
		c.consumers = append(c.consumers, f)
		f.start()
	}
	c.often(c.shape.Crash, "crash", func() { c.pick().crash() })
	c.often(c.shape.HandOver, "hand over", func() { c.pick().handOver() })
	c.often(c.shape.Freeze, "freeze", func() { c.pick().freeze(c.Between(100*time.Millisecond, 40*time.Second)) })
	c.often(c.shape.Freeze, "freeze consumer", func() {
		if len(c.consumers) > 0 {
			c.consumers[c.Rand.Intn(len(c.consumers))].freeze(c.Between(100*time.Millisecond, 20*time.Second))
		}
	})
	c.often(c.shape.Outage, "outage", func() { c.store.Outage(c.Between(time.Second, 60*time.Second)) })
	c.often(c.shape.Topics, "topic", c.changeTopics)
	c.often(c.shape.Sweeps, "sweep", c.truth.Sweep)
	c.often(c.shape.Deletions, "delete records", c.deleteRecords)
	c.often(c.shape.Upkeep.Rot, "rot", c.rot)
	c.often(c.shape.Upkeep.Refusal, "refuse deletes", func() { c.store.RefuseDeletes(c.Between(time.Second, 30*time.Second)) })
}

func (c *cluster) pick() *datadir { return c.folders[c.Rand.Intn(len(c.folders))] }

// often lets f happen again and again while things go wrong.
func (c *cluster) often(mean time.Duration, what string, f func()) {
	if mean == 0 {
		return
	}
	c.After(c.Between(mean/4, 3*mean), what, func() {
		if c.quiet {
			return
		}
		f()
		c.often(mean, what, f)
	})
}

// calm ends all faults but those under way.
func (c *cluster) calm() {
	c.quiet, c.calmed = true, c.Elapsed()
	c.store.Faults = sim.Faults{}
	for _, f := range c.folders {
		f.calm()
	}
}

// undisturbed: all faults are over, and nothing has rotted, so whatever fails shows a bug.
func (c *cluster) undisturbed() bool {
	return c.quiet && c.Elapsed() > c.calmed+2*time.Minute && c.shape.Upkeep.Rot == 0
}

// bound is how long everything may take to drain when nothing goes wrong.
const bound = 5 * time.Minute

// upkeepBound is the same if the journal must be tidy, too: a step that has failed waits
// before it is tried again.
const upkeepBound = 3 * time.Hour

// drain lets one node run alone until everything that was asked for is done.
func (c *cluster) drain(f *datadir) {
	if c.Err() != nil {
		return
	}
	c.only = f
	for _, other := range c.folders {
		if other != f {
			other.stop()
		}
	}
	if f.proc == nil {
		f.start()
	}
	limit := bound
	if c.shape.upkeep() {
		limit = upkeepBound
	}
	if !c.Run(limit, func() bool { return f.drained() && c.idle() }) && c.Err() == nil {
		c.Fail("not drained: %s", f.explain())
	}
	f.checkDrained()
	if c.shape.Upkeep.Sweep {
		c.rest()
	}
}

// rest: a minute goes by without a new object, sooner or later. Second deletions and
// retention make some until then.
func (c *cluster) rest() {
	last, at := c.truth.Last, c.Elapsed()
	if !c.Run(upkeepBound, func() bool {
		if c.truth.Last != last {
			last, at = c.truth.Last, c.Elapsed()
		}
		return c.Elapsed()-at >= time.Minute
	}) && c.Err() == nil {
		c.Fail("the journal does not come to rest, it is at seq %d", c.truth.Last)
	}
}

// stop ends every process.
func (c *cluster) stop() {
	c.only = &datadir{}
	for _, f := range c.folders {
		f.stop()
	}
	for _, f := range c.consumers {
		f.p.Kill()
	}
}

// idle: all producers have their answers, all consumers have everything.
func (c *cluster) idle() bool {
	for _, p := range c.producers {
		if !p.idle() {
			return false
		}
	}
	for _, m := range c.committers {
		if !m.idle() {
			return false
		}
	}
	for _, f := range c.consumers {
		if f.state == nil || f.state.Head() < c.truth.Last {
			return false
		}
	}
	return true
}

// finalChecks compares all observations with those of a new reader.
func (c *cluster) finalChecks() {
	if c.truth.Floor == 0 {
		c.readAgain("reader of everything", loaded{Chain: simChain, state: partlog.New(simJournal)})
	}
	l, err := load(c)
	if err != nil {
		c.Fail("load checkpoint at the end: %w", err)
		return
	}
	c.readAgain("reader of a checkpoint", l)
	c.checkDebt("reader of a checkpoint", l.state)
	c.truth.checkPromises()
	c.checkShards(l)
	c.truth.CheckBucket()
	c.truth.archive.checkKnown()
	c.truth.CheckFloors()
	if c.shape.Upkeep.Rot > 0 && c.shape.Upkeep.Rots == rotsCheckpoint {
		c.rot() // unless it has happened
	}
	c.truth.ForgetHints()
	if l, err = load(c); err != nil {
		c.Fail("load without hints at the end: %w", err)
		return
	}
	c.readAgain("reader without hints", l)
	if c.shape.upkeep() {
		c.truth.archive.readAll(l.state)
	}
}

func (c *cluster) readAgain(name string, l loaded) {
	apply := func(o *journal.Object) error { return l.state.Apply(o.Footer, o.Entries) }
	c.truth.ReadAgain(name, l.Chain, l.History, apply, l.state.Hash)
}

// loaded is where a start begins.
type loaded struct {
	journal.Chain
	journal.History
	state    *partlog.State
	attached []byte // to the checkpoint
}

// load loads the state as a node does before it follows or leads.
func load(c *cluster) (loaded, error) {
	l := loaded{Chain: simChain, state: partlog.New(simJournal)}
	cp, err := journal.LoadCheckpoint(background, c.store.Now(), l.Chain, restore.Names)
	if err != nil || cp == nil {
		return l, err
	}
	if l.state, err = partlog.Decode(simJournal, cp.State, restore.Pages(background, c.store.Now())); err != nil {
		return l, err
	}
	l.Chain, l.History, l.attached = cp.Chain, cp.History, cp.Attached
	c.Count("restored from a checkpoint")
	if len(l.state.ProducerPages()) > 0 {
		c.Count("restored producers from pages")
	}
	c.truth.SameState("restored from a checkpoint", l.state.Head(), l.state.Hash)
	return l, nil
}
