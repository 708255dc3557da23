package supervisor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/metadata/coordinator/shard/shardtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// topics is a Metadata.
type topics struct {
	mu       sync.Mutex      // guards internal
	internal *metadata.Topic // nil if it does not exist
	asked    atomic.Int64    // calls of Topic
	deleting []*metadata.Topic
	journals []uint32
}

func (m *topics) Topic(name string) (*metadata.Topic, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked.Add(1)
	return m.internal, m.internal != nil && m.internal.Name == name
}

func (m *topics) TopicGone(_ string, id [16]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.internal == nil || m.internal.ID != id
}

func (m *topics) Deleting() []*metadata.Topic { return m.deleting }

func (m *topics) Journals() []uint32 { return m.journals }

func (m *topics) set(internal *metadata.Topic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.internal = internal
}

// create makes the internal topic, with its partitions in the journals in turn.
func (m *topics) create(id segment.ID, partitions int) {
	m.internal = &metadata.Topic{Name: metadata.ConsumerOffsets, ID: id}
	for i := range partitions {
		m.internal.Partitions = append(m.internal.Partitions, metadata.Partition{Journal: m.journals[i%len(m.journals)]})
	}
}

// begin begins a deletion, and finish ends it.
func (m *topics) begin(id segment.ID) { m.deleting = append(m.deleting, &metadata.Topic{ID: id}) }

func (m *topics) finish(id segment.ID) {
	m.deleting = slices.DeleteFunc(slices.Clone(m.deleting), func(t *metadata.Topic) bool { return t.ID == id })
}

// fakeJournal is a Journal.
type fakeJournal struct {
	mu        sync.Mutex // guards open where goroutines share it
	led       bool
	epoch     int32
	open      map[partlog.Key]bool
	snapshots *shard.Snapshots
	confirmed error // of every Confirm
	proof     error // of every Prove
	proofs    int   // calls of Prove
}

func newJournal() *fakeJournal {
	return &fakeJournal{led: true, epoch: 1, open: map[partlog.Key]bool{}, snapshots: shard.NewSnapshots()}
}

func (j *fakeJournal) Epoch(k partlog.Key) (int32, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.epoch, j.open[k]
}

func (j *fakeJournal) Prove(context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.proofs++
	return j.proof
}

func (j *fakeJournal) Confirm(context.Context) error { return j.confirmed }
func (j *fakeJournal) Snapshots() *shard.Snapshots   { return j.snapshots }

// fakeShard is a Shard that gives turns at once, or keeps them.
type fakeShard struct {
	tenure   Tenure
	machine  *shardtest.Registers
	reported map[[16]byte]int // how often each deletion was
	keeps    bool
	turns    []func(coordinator.Out, error) // kept
	err      error                          // of every turn
	onClose  func()
}

func (s *fakeShard) Do(fn func(coordinator.Out, error)) {
	if s.keeps {
		s.turns = append(s.turns, fn)
		return
	}
	fn(nil, s.err)
}

func (s *fakeShard) Read(fn func(coordinator.Out, error)) { s.Do(fn) }

func (s *fakeShard) TopicsDeleted(ids [][16]byte) {
	for _, id := range ids {
		s.reported[id]++
	}
}

func (s *fakeShard) Stats() shard.Stats { return shard.Stats{Phase: shard.Leading} }

func (s *fakeShard) Close() { s.onClose() }
