package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/metadata/coordinator/shard/shardtest"
	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This simulation runs a Supervisor among topics that come and go, journals that are
// led and lost, partitions that open late, and coordinators that do not start.

type shape struct {
	Journals, Partitions, Steps int
	StartFails, CreateFails     float64
}

var simulation = sim.Shape[shape]{
	Draw: func(r *rand.Rand) shape {
		return shape{1 + r.Intn(3), 1 + r.Intn(6), 20 + r.Intn(100), r.Float64() * 0.4, r.Float64() * 0.5}
	},
	Run: func(w *sim.World, s shape) { newNode(w, s).run() },
	Less: []func(shape) (shape, bool){
		func(s shape) (shape, bool) { can := s.Journals > 1; s.Journals--; return s, can },
		func(s shape) (shape, bool) { can := s.Partitions > 1; s.Partitions--; return s, can },
		func(s shape) (shape, bool) { can := s.Steps > 1; s.Steps /= 2; return s, can },
		func(s shape) (shape, bool) { can := s.StartFails > 0; s.StartFails = 0; return s, can },
		func(s shape) (shape, bool) { can := s.CreateFails > 0; s.CreateFails = 0; return s, can },
	},
	Must: []string{
		"topic created", "topic created again", "topic deleted", "create failed", "created with an unknown outcome", "partition opened late",
		"start failed", "leadership lost", "led again", "coordinator found", "coordinator deposed", "deletion reported", "snapshot forgotten",
	},
}

func TestSimulation(t *testing.T) { sim.Run(t, simulation, 2000, 200) }

func TestSimulationReplaysExactly(t *testing.T) {
	if err := sim.Replays(simulation, 10); err != nil {
		t.Fatal(err)
	}
}

const thisNode = 7

// node is a node with a Supervisor.
type node struct {
	*sim.World
	topics
	shape    shape
	journals map[uint32]*fakeJournal
	sup      *Supervisor[*shardtest.Registers]
	running  map[int32]*fakeShard
	failed   int // starts, in this look
	waking   bool
	quiet    bool
	topicsID byte
	deleted  map[[16]byte]bool      // deletions begun so far
	kept     map[partlog.Key]uint32 // journals of all snapshots that were ever made
}

func newNode(w *sim.World, s shape) *node {
	n := &node{
		World: w, shape: s, journals: map[uint32]*fakeJournal{}, running: map[int32]*fakeShard{},
		deleted: map[[16]byte]bool{}, kept: map[partlog.Key]uint32{},
	}
	for i := range s.Journals {
		id := uint32(i) + 1
		n.journals[id], n.topics.journals = newJournal(), append(n.topics.journals, id)
	}
	n.sup = New(Options[*shardtest.Registers]{
		Topic: metadata.NewConsumerOffsets(), Metadata: n, Journal: n.ledJournal,
		Machine: func() (*shardtest.Registers, error) { return shardtest.New(), nil },
		Start:   n.start, Create: n.createTopic, Node: func() int32 { return thisNode }, Leader: n.leader,
	})
	return n
}

func (n *node) ledJournal(id uint32) (Journal, bool) { return n.journals[id], n.journals[id].led }

func (n *node) leader(_ context.Context, t *metadata.Topic, partition int32) int32 {
	j := n.journals[t.Partitions[partition].Journal]
	if !j.led || !j.open[partlog.Key{Topic: t.ID, Index: partition}] {
		return -1
	}
	return thisNode
}

// start is a coordinator's, which may fail.
func (n *node) start(t Tenure, m *shardtest.Registers) (Shard, error) {
	if n.running[t.Key.Index] != nil {
		n.Fail("partition %d has two coordinators", t.Key.Index)
	}
	if !n.quiet && n.Chance(n.shape.StartFails) {
		n.Count("start failed")
		n.failed++
		return nil, errors.New("the snapshot is damaged")
	}
	s := &fakeShard{tenure: t, machine: m, reported: map[[16]byte]int{}}
	s.onClose = func() {
		if n.running[t.Key.Index] != s {
			n.Fail("partition %d: closed twice", t.Key.Index)
		}
		delete(n.running, t.Key.Index)
	}
	n.running[t.Key.Index] = s
	return s, nil
}

// createTopic creates the internal topic, or does not; the caller may not learn it.
func (n *node) createTopic(context.Context, metadata.NewTopic) error {
	fails := !n.quiet && n.Chance(n.shape.CreateFails)
	if fails && n.Chance(0.5) {
		n.Count("create failed")
		return metadata.ErrUnavailable
	}
	n.Count("topic created")
	if n.topicsID > 0 {
		n.Count("topic created again")
	}
	n.topicsID++
	n.create(segment.ID{n.topicsID}, n.shape.Partitions)
	for i, p := range n.internal.Partitions {
		k, j := partlog.Key{Topic: n.internal.ID, Index: int32(i)}, n.journals[p.Journal]
		if n.Chance(0.5) {
			j.open[k] = true
			continue
		}
		n.After(n.Between(0, 2*time.Second), "open", func() {
			if n.internal != nil && n.internal.ID == k.Topic {
				n.Count("partition opened late")
				j.open[k] = true
			}
		})
	}
	n.wake()
	if fails {
		n.Count("created with an unknown outcome")
		return metadata.ErrUnavailable
	}
	return nil
}

// wake has the Supervisor look soon, as a change of the metadata does.
func (n *node) wake() {
	if !n.waking {
		n.waking = true
		n.After(n.Between(0, 50*time.Millisecond), "look", n.look)
	}
}

func (n *node) look() {
	n.waking, n.failed = false, 0
	again, err := n.sup.Look()
	if (err != nil) != (n.failed > 0) {
		n.Fail("%d starts failed, and the error is %w", n.failed, err)
	}
	n.check(again)
	if again {
		n.After(openPause, "look again", n.wake)
	}
}

// check compares the coordinators that run with those that should, after a look.
func (n *node) check(again bool) {
	wanted, late := map[int32]Tenure{}, n.failed > 0
	if n.internal != nil {
		for i, p := range n.internal.Partitions {
			k, j := partlog.Key{Topic: n.internal.ID, Index: int32(i)}, n.journals[p.Journal]
			switch {
			case j.led && j.open[k]:
				wanted[int32(i)] = Tenure{k, p.Journal, j.epoch}
			case j.led:
				late = true
			}
		}
	}
	if again != late {
		n.Fail("look again: %v, want %v", again, late)
	}
	for partition, s := range n.running {
		if wanted[partition] != s.tenure {
			n.Fail("a coordinator runs for %+v, and is wanted for %+v", s.tenure, wanted[partition])
		}
		n.checkReports(s)
	}
	if len(n.running)+n.failed != len(wanted) || len(n.running) != len(n.sup.Led()) {
		n.Fail("%d coordinators run, %d are known, %d failed, %d are wanted", len(n.running), len(n.sup.Led()), n.failed, len(wanted))
	}
	for k, id := range n.kept {
		j, gone := n.journals[id], n.TopicGone("", k.Topic)
		if _, kept := j.snapshots.Get(k); kept == gone && (j.led || !gone) {
			n.Fail("journal %d keeps a snapshot of %v: %v, though its topic is gone: %v", id, k, kept, gone)
		}
	}
}

// checkReports: a coordinator learned of all deletions that are under way, and of
// each but once.
func (n *node) checkReports(s *fakeShard) {
	for _, t := range n.deleting {
		if s.reported[t.ID] == 0 {
			n.Fail("coordinator of %+v did not learn that topic %v is deleted", s.tenure, t.ID)
		}
	}
	for id, times := range s.reported {
		if times != 1 || !n.deleted[id] {
			n.Fail("coordinator of %+v learned %d times that topic %v is deleted", s.tenure, times, id)
		}
		n.Count("deletion reported")
	}
}

func (n *node) run() {
	for range n.shape.Steps {
		n.After(n.Between(0, time.Minute), "step", n.step)
	}
	n.World.Run(time.Minute, nil)
	n.quiet = true
	for _, j := range n.journals {
		if !j.led {
			n.leadAgain(j)
		}
	}
	n.find()
	n.World.Run(time.Minute, nil)
	if n.Err() == nil && (n.internal == nil || len(n.running) != n.shape.Partitions) {
		n.Fail("%d coordinators run in the end, of %d", len(n.running), n.shape.Partitions)
	}
	n.sup.Close()
	if again, err := n.sup.Look(); len(n.running) > 0 || again || err != nil {
		n.Fail("closed, and %d run; look again: %v, %v", len(n.running), again, err)
	}
}

// step does one thing to the world of the Supervisor.
func (n *node) step() {
	j := n.journals[uint32(1+n.Rand.Intn(len(n.journals)))]
	switch n.Rand.Intn(6) {
	case 0:
		n.deleteInternal()
	case 1:
		n.deleteTopic(segment.ID{0xff, byte(len(n.deleted)), byte(len(n.deleted) >> 8)})
	case 2:
		if j.led {
			n.Count("leadership lost")
			j.led = false
			n.After(n.Between(0, 3*time.Second), "lead again", func() { n.leadAgain(j) })
			n.wake()
		}
	case 3:
		for _, s := range n.running { // all of them: the order of a map must not matter
			n.kept[s.tenure.Key] = s.tenure.Journal
			n.journals[s.tenure.Journal].snapshots.Put(s.tenure.Key, shard.Snapshot{Offset: 1})
		}
	default:
		n.find()
		n.prove()
	}
}

func (n *node) leadAgain(j *fakeJournal) {
	if !j.led {
		n.Count("led again")
		j.led = true
		j.epoch++
		n.wake()
	}
}

// deleteInternal deletes the internal topic; its partitions are sealed later.
func (n *node) deleteInternal() {
	if n.internal == nil {
		return
	}
	n.Count("topic deleted")
	t := n.internal
	n.internal = nil
	n.deleteTopic(t.ID)
	for i, p := range t.Partitions {
		k := partlog.Key{Topic: t.ID, Index: int32(i)}
		if _, kept := n.journals[p.Journal].snapshots.Get(k); kept {
			n.Count("snapshot forgotten")
		}
		n.After(n.Between(0, time.Second), "seal", func() { delete(n.journals[p.Journal].open, k) })
	}
}

func (n *node) deleteTopic(id segment.ID) {
	n.deleted[id] = true
	n.begin(id)
	n.wake()
	n.After(n.Between(0, 2*time.Second), "purge", func() {
		n.finish(id)
		n.wake()
	})
}

// find asks for the coordinator of a group, as a client does.
func (n *node) find() {
	j := n.journals[uint32(1+n.Rand.Intn(len(n.journals)))]
	if j.confirmed = nil; !n.quiet && n.Chance(0.2) {
		j.confirmed = fmt.Errorf("fenced: %w", journal.ErrEnded)
	}
	n.failed = 0
	id := fmt.Sprint("g", n.Rand.Intn(100))
	broker, err := n.sup.Coordinator(context.Background(), id)
	if err != nil {
		if !errors.Is(err, coordinator.ErrUnavailable) && n.failed == 0 {
			n.Fail("find the coordinator of %s: %w", id, err)
		}
		return
	}
	partition := n.sup.Partition(id)
	k := partlog.Key{Topic: n.internal.ID, Index: partition}
	home := n.journals[n.internal.Partitions[partition].Journal]
	serves := home.led && home.open[k] && (home.confirmed == nil || n.running[partition] == nil)
	switch {
	case serves != (broker == thisNode) || !slices.Contains([]int32{thisNode, -1}, broker):
		n.Fail("the coordinator of %s is %d; it is here: %v", id, broker, serves)
	case serves:
		n.Count("coordinator found")
	case home.led && home.open[k]:
		n.Count("coordinator deposed")
	}
}

// prove asks for proofs of all coordinators, one of whose journals may not be led here.
func (n *node) prove() {
	if n.internal == nil {
		return
	}
	partitions := make([]int32, len(n.internal.Partitions))
	for i := range partitions {
		partitions[i] = int32(i)
	}
	for i := range uint32(len(n.journals)) {
		j := n.journals[i+1]
		if j.proofs, j.proof = 0, nil; n.Chance(0.2) {
			j.proof = fmt.Errorf("fenced: %w", journal.ErrEnded)
		}
	}
	for i, err := range n.sup.Prove(context.Background(), partitions) {
		home, c := n.journals[n.internal.Partitions[i].Journal], n.running[int32(i)]
		if c != nil {
			home = n.journals[c.tenure.Journal]
		}
		switch {
		case (err == nil) != (c != nil && home.proof == nil):
			n.Fail("the proof of partition %d gives %v, of its journal %v", i, err, home.proof)
		case err != nil && !errors.Is(err, coordinator.ErrNotCoordinator):
			n.Fail("the proof of partition %d gives %v", i, err)
		case err == nil:
			n.Count("coordinator proved")
		}
		if home.proofs > 1 {
			n.Fail("%d proofs of a journal for one request", home.proofs)
		}
	}
}
