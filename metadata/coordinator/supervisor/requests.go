package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/tiering/journal"
)

// Partition is the partition whose coordinator serves an id, such as that of a group.
// It is -1 while the internal topic does not exist.
func (s *Supervisor[M]) Partition(id string) int32 {
	t, ok := s.opt.Metadata.Topic(s.opt.Topic.Name)
	if !ok {
		return -1
	}
	return coordinator.PartitionOf(id, len(t.Partitions))
}

// Coordinator is the broker whose coordinator serves an id, this node or another; -1
// while none is known. It creates the internal topic if there is none.
func (s *Supervisor[M]) Coordinator(ctx context.Context, id string) (int32, error) {
	if s.opt.Create == nil {
		return s.opt.Node(), nil
	}
	if err := s.ensureTopic(ctx); err != nil {
		return -1, err
	}
	t, ok := s.opt.Metadata.Topic(s.opt.Topic.Name)
	if !ok {
		return -1, nil
	}
	partition := coordinator.PartitionOf(id, len(t.Partitions))
	if err := s.Confirm(ctx, partition); err != nil {
		return -1, nil // another node leads the partition
	}
	return s.opt.Leader(ctx, t, partition), nil
}

// ensureTopic creates the internal topic if there is none, and starts the coordinators
// of its partitions.
func (s *Supervisor[M]) ensureTopic(ctx context.Context) error {
	exists := func() bool { _, ok := s.opt.Metadata.Topic(s.opt.Topic.Name); return ok }
	if exists() {
		return nil
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	if exists() {
		return nil
	}
	if err := s.opt.Create(ctx, s.opt.Topic); err != nil && !errors.Is(err, metadata.ErrTopicExists) {
		return fmt.Errorf("%w: create topic %s: %w", coordinator.ErrUnavailable, s.opt.Topic.Name, err)
	}
	_, err := s.Look()
	return err
}

// find returns the coordinator of a partition. It waits for a look under way, which may
// start it: clients would go and look for another broker.
func (s *Supervisor[M]) find(ctx context.Context, partition int32) (*running[M], error) {
	if c := s.get(partition); c != nil {
		return c, nil
	}
	select {
	case s.looking <- struct{}{}:
		defer func() { <-s.looking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := s.get(partition); c != nil {
		return c, nil
	}
	return nil, coordinator.ErrNotCoordinator
}

// Do gives fn a turn of the machine of a partition, and returns once fn has returned.
// fn is not called if there is an error. A call that begins after another has returned
// gets a later turn.
func (s *Supervisor[M]) Do(ctx context.Context, partition int32, fn func(m M, out coordinator.Out)) error {
	c, err := s.find(ctx, partition)
	if err != nil {
		return err
	}
	return awaitTurn(ctx, c.shard.Do, func(out coordinator.Out) { fn(c.machine, out) })
}

// proveLimit is how long a request waits for the proof of a head.
const proveLimit = time.Second

// Prove returns an error for each of some partitions. It is nil if it is proved that this
// node still led the partition after the call began, and if all records that were
// committed until then are applied. Partitions of a journal share one proof of its head.
func (s *Supervisor[M]) Prove(ctx context.Context, partitions []int32) []error {
	errs := make([]error, len(partitions))
	of := map[Journal][]int{}
	shards := make([]Shard, len(partitions))
	for i, partition := range partitions {
		c, err := s.find(ctx, partition)
		if errs[i] = err; err == nil {
			of[c.journal] = append(of[c.journal], i)
			shards[i] = c.shard
		}
	}
	var work sync.WaitGroup
	for j, places := range of {
		work.Go(func() {
			err := proveHead(ctx, j)
			for _, i := range places {
				if errs[i] = err; err == nil {
					work.Go(func() { errs[i] = awaitTurn(ctx, shards[i].Read, func(coordinator.Out) {}) })
				}
			}
		})
	}
	work.Wait()
	return errs
}

func proveHead(ctx context.Context, j Journal) error {
	ctx, cancel := context.WithTimeout(ctx, proveLimit)
	defer cancel()
	err := j.Prove(ctx)
	switch {
	case errors.Is(err, journal.ErrEnded):
		return fmt.Errorf("%w: %w", coordinator.ErrNotCoordinator, err)
	case err != nil:
		return fmt.Errorf("%w: %w", coordinator.ErrUnavailable, err)
	}
	return nil
}

// Confirm returns ErrNotCoordinator if it is known that another node leads the
// partition now. It may ask the store, and is nil while nothing is known.
func (s *Supervisor[M]) Confirm(ctx context.Context, partition int32) error {
	c := s.get(partition)
	if c == nil {
		return nil
	}
	if err := c.journal.Confirm(ctx); errors.Is(err, journal.ErrEnded) {
		return fmt.Errorf("%w: %w", coordinator.ErrNotCoordinator, err)
	}
	return nil
}

// awaitTurn asks for a turn and waits until fn has had it. If ctx ends before the turn
// begins, fn is not called any more.
func awaitTurn(ctx context.Context, ask func(func(coordinator.Out, error)), fn func(coordinator.Out)) error {
	var begun atomic.Bool // or given up
	done := make(chan error, 1)
	ask(func(out coordinator.Out, err error) {
		if begun.Swap(true) {
			return
		}
		if err == nil {
			fn(out)
		}
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		if begun.Swap(true) {
			return <-done
		}
		return ctx.Err()
	}
}
