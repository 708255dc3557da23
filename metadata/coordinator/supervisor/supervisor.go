// Package supervisor runs the coordinators of this node: one for each partition of an
// internal topic, such as __consumer_offsets, that the node leads.
//
// It owns the decisions when a coordinator starts, when it ends, when its snapshot is
// forgotten, which deletions of topics it learns of, and when the internal topic is
// created. A Core makes them, purely, from the metadata and from the journals that
// are led here; a Supervisor is the thin driver around it. It promises that a
// coordinator does not outlive the leadership of its journal or the open entry of its
// partition, and that a partition has never two at a time. It never looks into
// records or requests.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/tiering/partlog"
)

// Metadata is the state of journal 0: a *metadata.State.
type Metadata interface {
	coordinator.Topics
	Topic(name string) (*metadata.Topic, bool)
	Deleting() []*metadata.Topic
	Journals() []uint32
}

// Journal is a data journal that this node leads. Values of one leadership are equal.
type Journal interface {
	// Epoch is the leader epoch of a partition; false unless it is open.
	Epoch(k partlog.Key) (int32, bool)
	// Prove returns nil once all objects that were committed before the call are
	// applied. The error wraps journal.ErrEnded if this node leads the journal no more.
	Prove(ctx context.Context) error
	// Confirm returns an error that wraps journal.ErrEnded if another node leads the
	// journal, and any other error while that is not known.
	Confirm(ctx context.Context) error
	// Snapshots are those of the journal's coordinators.
	Snapshots() *shard.Snapshots
}

// Shard is a coordinator that runs: a *shard.Shard.
type Shard interface {
	Do(fn func(out coordinator.Out, err error))
	Read(fn func(out coordinator.Out, err error))
	TopicsDeleted(ids [][16]byte)
	Stats() shard.Stats
	Close()
}

// Options says what to run. All are needed but Create.
type Options[M coordinator.Machine] struct {
	Topic    metadata.NewTopic // the internal topic, as it is created
	Metadata Metadata
	// Journal returns a data journal that is led here now.
	Journal func(id uint32) (Journal, bool)
	// Machine makes a machine to which nothing is applied.
	Machine func() (M, error)
	// Start runs a machine on its partition. ErrNotCoordinator means that the journal is not
	// led here any more.
	Start func(t Tenure, m M) (Shard, error)
	// Create creates the internal topic, and returns when its partitions take records.
	// It is nil on a node that only reads: clients that ask for a coordinator find
	// this node, which refuses.
	Create func(ctx context.Context, t metadata.NewTopic) error
	// Node returns the broker id of this node.
	Node func() int32
	// Leader is the broker that leads a partition, -1 if it is not known. It may wait for the
	// next leader, until ctx ends.
	Leader func(ctx context.Context, t *metadata.Topic, partition int32) int32
	// OnFailed is called with the reason why a coordinator could not be started. It is
	// tried again.
	OnFailed func(error)
}

// Supervisor runs the coordinators of one internal topic. Its methods may be called
// concurrently.
type Supervisor[M coordinator.Machine] struct {
	opt Options[M]

	looking chan struct{} // capacity 1: full while coordinators are started and stopped
	core    *Core         // belongs to the goroutine that looks

	mu      sync.RWMutex
	running map[int32]*running[M] // by partition, guarded by mu; the goroutine that looks writes

	creating sync.Mutex // held while the topic is created
}

// running is a coordinator.
type running[M coordinator.Machine] struct {
	machine M // the shard's
	shard   Shard
	journal Journal
}

// New returns a Supervisor without coordinators. Look, or Run, starts them.
func New[M coordinator.Machine](opt Options[M]) *Supervisor[M] {
	return &Supervisor[M]{opt: opt, looking: make(chan struct{}, 1), core: NewCore(), running: map[int32]*running[M]{}}
}

// openPause is the time between two looks while partitions are not open yet.
const openPause = 200 * time.Millisecond

// Run looks whenever wake says that the metadata changed, until ctx ends. Then it
// stops the coordinators, and returns when they have stopped.
func (s *Supervisor[M]) Run(ctx context.Context, wake <-chan struct{}) {
	defer s.Close()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-wake:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		incomplete, err := s.Look()
		if err != nil {
			s.opt.OnFailed(err)
		}
		if incomplete {
			again.Reset(openPause)
		}
	}
}

// Look starts and stops coordinators as the metadata and the journals want it now.
// It reports whether another look is needed even if the metadata does not change.
func (s *Supervisor[M]) Look() (again bool, err error) {
	s.looking <- struct{}{}
	defer func() { <-s.looking }()
	todo := s.core.Look(s.view())
	s.stop(todo.Stop)
	for _, snapshot := range todo.Forget {
		if j, ok := s.opt.Journal(snapshot.Journal); ok {
			j.Snapshots().Forget(snapshot.Key)
		}
	}
	var errs []error
	for _, t := range todo.Start {
		err := s.start(t)
		if err == nil {
			continue
		}
		s.core.Failed(t)
		todo.Again = true
		if !errors.Is(err, coordinator.ErrNotCoordinator) { // or the journal was lost since the view was taken
			errs = append(errs, fmt.Errorf("start coordinator: %w", err))
		}
	}
	for _, r := range todo.Report {
		if c := s.get(r.To.Key.Index); c != nil {
			c.shard.TopicsDeleted(r.Topics)
		}
	}
	return todo.Again, errors.Join(errs...)
}

// Close stops all coordinators, after those that are being started. None is started
// again.
func (s *Supervisor[M]) Close() {
	s.looking <- struct{}{}
	defer func() { <-s.looking }()
	s.stop(s.core.Close())
}

// view gathers the inputs of the Core.
func (s *Supervisor[M]) view() (v View) {
	if t, ok := s.opt.Metadata.Topic(s.opt.Topic.Name); ok {
		v.Topic, v.Partitions = t.ID, make([]Partition, len(t.Partitions))
		for i := range v.Partitions {
			p := &v.Partitions[i]
			p.Journal = t.Partitions[i].Journal
			if j, led := s.opt.Journal(p.Journal); led {
				p.Led = true
				p.Epoch, p.Open = j.Epoch(partlog.Key{Topic: t.ID, Index: int32(i)})
			}
		}
	}
	for _, t := range s.opt.Metadata.Deleting() {
		v.Deleting = append(v.Deleting, t.ID)
	}
	for _, id := range s.opt.Metadata.Journals() {
		if j, led := s.opt.Journal(id); led {
			for _, k := range j.Snapshots().Keys() {
				v.Snapshots = append(v.Snapshots, Snapshot{id, k, s.opt.Metadata.TopicGone("", k.Topic)})
			}
		}
	}
	return v
}

func (s *Supervisor[M]) stop(tenures []Tenure) {
	for _, t := range tenures {
		s.mu.Lock()
		c := s.running[t.Key.Index]
		delete(s.running, t.Key.Index)
		s.mu.Unlock()
		c.shard.Close()
	}
}

func (s *Supervisor[M]) start(t Tenure) error {
	j, led := s.opt.Journal(t.Journal)
	if !led {
		return coordinator.ErrNotCoordinator
	}
	machine, err := s.opt.Machine()
	if err != nil {
		return err
	}
	shard, err := s.opt.Start(t, machine)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[t.Key.Index] = &running[M]{machine, shard, j}
	return nil
}

func (s *Supervisor[M]) get(partition int32) *running[M] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.running[partition]
}

// Led lists the partitions that have a coordinator here, in order. It waits for
// coordinators that are being started: a caller would take a part as all.
func (s *Supervisor[M]) Led() []int32 {
	s.looking <- struct{}{}
	defer func() { <-s.looking }()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.running))
}

// Each calls fn with the state of every coordinator.
func (s *Supervisor[M]) Each(fn func(shard.Stats)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.running {
		fn(c.shard.Stats())
	}
}
