package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// memGroups coordinates the groups of two partitions in memory. All appends are
// committed at the end of the turn, unless they are held.
type memGroups struct {
	mu     sync.Mutex
	shards []*memShard
	absent bool      // the topic is not there yet
	fails  error     // of every Do
	proof  error     // of every Prove
	leader int32     // of every partition
	now    time.Time // of the machines
	proven int       // calls of Prove
	held   bool      // appends are not committed, and there are no ticks

	deposed error // of every Confirm
}

// memShard is one partition.
type memShard struct {
	all     *memGroups
	machine *group.Machine
	queue   []func()
}

func newGroups() *memGroups {
	g := &memGroups{leader: testNode, now: time.UnixMilli(1_700_000_000_000)}
	n := 0
	config := group.Default()
	config.InitialDelay = 0
	config.NewID = func() string { n++; return fmt.Sprint(n) }
	for range 2 {
		m, err := group.New(config)
		if err != nil {
			panic(err) // the configuration is ours
		}
		s := &memShard{all: g, machine: m}
		m.Lead(s)
		g.shards = append(g.shards, s)
	}
	return g
}

func (s *memShard) Now() time.Time { return s.all.now }

func (s *memShard) TopicGone(string, [16]byte) bool { return false }

func (s *memShard) Append(records []coordinator.Record, done func(coordinator.Out, error)) {
	s.queue = append(s.queue, func() {
		for _, r := range records {
			if err := s.machine.Apply(coordinator.Position{}, r); err != nil {
				panic(err)
			}
		}
		done(s, nil)
	})
}

// settle commits the appended records, and ticks as long as needed.
func (s *memShard) settle() {
	for {
		for len(s.queue) > 0 {
			commit := s.queue[0]
			s.queue = s.queue[1:]
			commit()
		}
		if next := s.machine.Next(); next.IsZero() || next.After(s.all.now) {
			return
		}
		s.machine.Tick(s)
	}
}

func (g *memGroups) Partition(id string) int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.partitionLocked(id)
}

func (g *memGroups) partitionLocked(id string) int32 {
	if g.absent {
		return -1
	}
	return coordinator.PartitionOf(id, len(g.shards))
}

func (g *memGroups) set(change func(*memGroups)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

// release commits the held records.
func (g *memGroups) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = false
	for _, s := range g.shards {
		s.settle()
	}
}

func (g *memGroups) Coordinator(context.Context, string) (int32, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.absent = false
	return g.leader, g.fails
}

func (g *memGroups) Do(_ context.Context, partition int32, fn func(*group.Machine, coordinator.Out)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails != nil {
		return g.fails
	}
	s := g.shards[partition]
	fn(s.machine, s)
	if g.held {
		return nil
	}
	s.settle()
	return nil
}

func (g *memGroups) Prove(_ context.Context, partitions []int32) []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proven++
	return slices.Repeat([]error{g.proof}, len(partitions))
}

func (g *memGroups) Confirm(context.Context, int32) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deposed
}

func (g *memGroups) Led() []int32 { return []int32{0, 1} }

// pass lets time pass.
func (g *memGroups) pass(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
	for _, s := range g.shards {
		s.settle()
	}
}
