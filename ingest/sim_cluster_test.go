package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	simJournal = 1
	simWindow  = 4
)

var simCluster = segment.ID{1}

// cluster is everything there is in one simulation.
type cluster struct {
	*sim.World
	shape     shape
	store     *sim.Store
	truth     *truth
	folders   []*datadir
	producers []*producer
	consumers []*consumer
	want      Want // of the metadata
	topics    byte
	ids       uint64
	quiet     bool     // nothing goes wrong any more
	only      *datadir // the one node that may run, once it is quiet
}

func newCluster(w *sim.World, s shape) *cluster {
	c := &cluster{World: w, shape: s, store: sim.NewStore(w), truth: newTruth(w)}
	c.truth.store = c.store
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
	c.often(c.shape.Freeze, "freeze", func() { c.pick().freeze(c.Between(100*time.Millisecond, 40*time.Second)) })
	c.often(c.shape.Freeze, "freeze consumer", func() {
		if len(c.consumers) > 0 {
			c.consumers[c.Rand.Intn(len(c.consumers))].p.Freeze(c.Between(100*time.Millisecond, 20*time.Second))
		}
	})
	c.often(c.shape.Outage, "outage", func() { c.store.Outage(c.Between(time.Second, 60*time.Second)) })
	c.often(c.shape.Topics, "topic", c.changeTopics)
	c.often(c.shape.Floors, "floor", c.moveFloor)
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

// createTopic adds a topic of one or two partitions.
func (c *cluster) createTopic() {
	c.topics++
	for i := range 1 + c.Rand.Intn(2) {
		c.want.Open = append(c.want.Open, partlog.Key{Topic: segment.ID{7, c.topics}, Index: int32(i)})
	}
}

// changeTopics creates a topic or deletes one, and tells those who lead.
func (c *cluster) changeTopics() {
	if len(c.want.Open) > 1 && c.Chance(0.4) {
		i := c.Rand.Intn(len(c.want.Open))
		k := c.want.Open[i]
		c.want.Open = slices.Delete(slices.Clone(c.want.Open), i, i+1)
		c.want.Sealed = append(slices.Clone(c.want.Sealed), k)
	} else if c.topics < 5 {
		c.want.Open = slices.Clone(c.want.Open)
		c.createTopic()
	}
	for _, f := range c.folders {
		if f.proc != nil {
			n := f.proc
			n.p.Do(func() { n.reconcile(); n.after() })
		}
	}
}

// moveFloor does what is not the ingest node's to do: it names a checkpoint by a
// new floor and deletes the data below it. The time it leaves to followers is as
// long as they need; leaders and those who want to lead get none.
func (c *cluster) moveFloor() {
	keys := c.store.Keys(segment.CheckpointPrefix(simJournal))
	if len(keys) == 0 {
		return
	}
	key := keys[len(keys)-1]
	at, _ := segment.ParseCheckpointKey(simJournal, key)
	floor := segment.Floor{
		Journal: simJournal, N: c.truth.floors + 1, Floor: at.Seq + 1, Checkpoint: key, Hash: [32]byte{1},
		Object: c.newID(), Cluster: simCluster,
	}
	if floor.Floor <= c.truth.floor {
		return
	}
	data, err := segment.EncodeFloor(floor)
	if err != nil {
		c.Fail("encode floor: %w", err)
		return
	}
	if err := c.store.Put(segment.FloorKey(simJournal, floor.N), data); err != nil {
		c.Fail("floor %d: %w", floor.N, err)
		return
	}
	c.truth.floors, c.truth.floor = floor.N, floor.Floor
	c.sweep()
}

// sweep deletes the valid data segments below the floor once no follower needs them.
func (c *cluster) sweep() {
	for _, f := range c.consumers {
		if f.j != nil && !f.j.Ended && f.j.Core.Chain().Next < c.truth.floor {
			c.After(time.Second, "sweep later", c.sweep)
			return
		}
	}
	c.truth.sweep()
}

// calm ends all trouble but what is under way.
func (c *cluster) calm() {
	c.quiet = true
	c.store.Faults = sim.Faults{}
	for _, f := range c.folders {
		f.calm()
	}
}

// bound is how long everything may take to drain when nothing goes wrong.
const bound = 5 * time.Minute

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
	if !c.Run(bound, func() bool { return f.drained() && c.idle() }) && c.Err() == nil {
		c.Fail("not drained: %s", f.explain())
	}
	f.checkDrained()
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
	for _, f := range c.consumers {
		if f.state == nil || f.state.Head() < c.truth.last {
			return false
		}
	}
	return true
}

// finalChecks compares what was seen with what somebody new sees.
func (c *cluster) finalChecks() {
	if c.truth.floor == 0 {
		c.fresh("reader of everything", journal.NewChain(simCluster, simJournal, simWindow), journal.History{}, partlog.New(simJournal))
	}
	loaded, err := load(c)
	if err != nil {
		c.Fail("load checkpoint at the end: %w", err)
		return
	}
	c.fresh("reader of a checkpoint", loaded.Chain, loaded.History, loaded.state)
	c.truth.checkPromises()
}

// fresh reads to the end and compares.
func (c *cluster) fresh(name string, chain journal.Chain, history journal.History, state *partlog.State) {
	p := c.NewProcess(name)
	atHead := false
	var ended error
	hooks := journal.Hooks{
		Apply: func(o *journal.Object, _ bool) error {
			if err := state.Apply(o.Footer, o.Entries); err != nil {
				return err
			}
			c.truth.applied(name, o, state)
			return nil
		},
		AtHead: func() { atHead = true },
		Ended:  func(err error) { ended = err },
	}
	sim.StartJournal(p, c.store, journal.Config{Chain: chain, History: history}, hooks, func() {})
	c.Run(bound, func() bool { return atHead || ended != nil })
	switch {
	case c.Err() != nil:
	case ended != nil:
		c.Fail("%s: %w", name, ended)
	case !atHead:
		c.Fail("%s does not reach the head", name)
	case state.Head() != c.truth.last:
		c.Fail("%s ends at seq %d, seq %d was committed", name, state.Head(), c.truth.last)
	}
	if got, want := state.Hash(), c.truth.hashes[c.truth.last]; c.Err() == nil && got != want {
		c.Fail("%s has state %x, others had %x", name, got[:4], want[:4])
	}
}

// loaded is where a start begins.
type loaded struct {
	journal.Chain
	journal.History
	state *partlog.State
}

// load does what a node does before it follows or leads.
func load(c *cluster) (loaded, error) {
	l := loaded{Chain: journal.NewChain(simCluster, simJournal, simWindow), state: partlog.New(simJournal)}
	cp, err := journal.LoadCheckpoint(background, c.store.Now(), l.Chain)
	if err != nil || cp == nil {
		return l, err
	}
	if l.state, err = partlog.Decode(simJournal, cp.State); err != nil {
		return l, err
	}
	l.Chain, l.History = cp.Chain, cp.History
	c.truth.checkState("restored from a checkpoint", l.state)
	return l, nil
}

// neverEnds are the errors that would mean that the protocol is broken.
func (c *cluster) mayEnd(name string, err error) {
	for _, bad := range []error{
		journal.ErrBroken, journal.ErrTwin, journal.ErrUnsettled, journal.ErrForeign,
		partlog.ErrContradiction, segment.ErrCorrupt, segment.ErrUnsupported,
	} {
		if errors.Is(err, bad) {
			c.Fail("%s ended: %w", name, err)
		}
	}
}
