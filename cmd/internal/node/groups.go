package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// offsetsPartitions is how many partitions __consumer_offsets gets: Kafka's
// offsets.topic.num.partitions. It cannot change, as groups belong to partitions by
// it.
const offsetsPartitions = 50

// groupMemory is what the members of all groups may hold, in bytes.
const groupMemory = 256 << 20

// groups runs the coordinators of consumer groups: one for each partition of
// __consumer_offsets that this node leads, from when it does until it stops.
type groups struct {
	node   *node
	reader *fetch.Reader
	create sync.Mutex // held while the topic is made
	admin  *topicAdmin
	memory *group.Memory

	mu     sync.Mutex
	led    map[int32]*led // by partition
	closed bool
}

// led is one partition's coordinator.
type led struct {
	key     partlog.Key
	machine *group.Machine // the shard's
	shard   *shard.Shard
	home    *dataJournal
}

// startGroups runs coordinators as partitions come and go. A node that only reads
// coordinates nothing.
func (n *node) startGroups(reader *fetch.Reader, closers *stack) *groups {
	g := &groups{node: n, reader: reader, led: map[int32]*led{}, memory: group.NewMemory(groupMemory)}
	g.admin, _ = n.admin.(*topicAdmin)
	n.metrics.groups(g)
	if g.admin == nil {
		return g
	}
	wake := make(chan struct{}, 1)
	unwatch := n.meta.Watch(wake)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.follow(ctx, wake)
	}()
	closers.push(func() error {
		stop()
		unwatch()
		<-done
		g.close()
		return nil
	})
	return g
}

// openPause is how long the partitions of a new topic are given to be opened.
const openPause = 200 * time.Millisecond

// follow does what changes of the metadata ask for.
func (g *groups) follow(ctx context.Context, wake <-chan struct{}) {
	again := time.NewTimer(0)
	defer again.Stop()
	told := map[segment.ID]bool{} // topics whose deletion the coordinators were told of
	for {
		select {
		case <-wake:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		g.forgetDeleted(told)
		all, err := g.refresh()
		if err != nil {
			g.node.fail(err)
		}
		if !all {
			again.Reset(openPause)
		}
	}
}

// forgetDeleted has the coordinators forget the offsets of topics that were deleted,
// for tools would ask about them.
func (g *groups) forgetDeleted(told map[segment.ID]bool) {
	now := map[segment.ID]bool{}
	for _, t := range g.node.meta.Deleting() {
		if now[t.ID] = true; told[t.ID] {
			continue
		}
		told[t.ID] = true
		g.mu.Lock()
		for _, l := range g.led {
			l.shard.TopicsDeleted([][16]byte{t.ID})
		}
		g.mu.Unlock()
	}
	maps.DeleteFunc(told, func(id segment.ID, _ bool) bool { return !now[id] })
}

// refresh starts the coordinators of partitions that this node leads now, and ends
// those of a topic that is gone. It reports whether all partitions are open.
func (g *groups) refresh() (all bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ok := g.node.meta.Topic(metadata.ConsumerOffsets)
	for partition, l := range g.led {
		if !ok || l.key.Topic != t.ID {
			delete(g.led, partition)
			l.shard.Close()
			l.home.snapshots.Forget(l.key)
		}
	}
	if !ok || g.closed {
		return true, nil
	}
	all = true
	for i := range t.Partitions {
		j := g.node.journals.get(t.Partitions[i].Journal)
		if g.led[int32(i)] != nil || j == nil || j.leader == nil {
			continue
		}
		k := partlog.Key{Topic: t.ID, Index: int32(i)}
		if _, open := j.state.Lookup(k); !open {
			all = false
			continue
		}
		l, err := g.start(j, k)
		if err != nil {
			return false, err
		}
		g.led[int32(i)] = l
	}
	return all, nil
}

func (g *groups) start(j *dataJournal, k partlog.Key) (*led, error) {
	n := g.node
	config := group.Default()
	config.MinSession, config.MaxSession = n.cfg.GroupMinSession, n.cfg.GroupMaxSession
	config.InitialDelay, config.Retention = n.cfg.GroupInitialDelay, n.cfg.OffsetsRetention
	config.MaxSize, config.Memory = n.cfg.GroupMaxSize, g.memory
	config.NewID = newUUID
	m, err := group.New(config)
	if err != nil {
		return nil, err
	}
	s, err := shard.Start(shard.Options{
		Key: k, Machine: m, Partition: ledPartition{j.leader.Partition(k), g.reader, k},
		Snapshots: j.snapshots, Topics: n.meta, Now: time.Now, Log: n.log,
		OnFailed: func(err error) { n.onCoordinatorFailed(k, err) },
	})
	if err != nil {
		return nil, fmt.Errorf("start coordinator: %w", err)
	}
	return &led{key: k, machine: m, shard: s, home: j}, nil
}

// ledPartition is a partition as a Shard needs it.
type ledPartition struct {
	ingest.LedPartition
	reader *fetch.Reader
	key    partlog.Key
}

func (p ledPartition) Append(ctx context.Context, data []byte, h batch.Header, done func(base int64, err error)) {
	p.LedPartition.Append(ctx, data, h, func(base int64, err error) {
		done(base, shard.AppendError(err, ingest.ErrNotLeader, ingest.ErrClosed))
	})
}

func (p ledPartition) Scan(ctx context.Context, from int64, fn func(batches []byte) error) (int64, error) {
	return p.reader.Scan(ctx, p.key, from, func(_ batch.Header, b []byte) error { return fn(b) })
}

// newUUID is a random id in the form that Kafka's coordinators give to members.
func newUUID() string {
	b := segment.NewID()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (g *groups) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for partition, l := range g.led {
		delete(g.led, partition)
		l.shard.Close()
	}
}

// Partition implements kafka.Groups.
func (g *groups) Partition(name string) int32 {
	t, ok := g.node.meta.Topic(metadata.ConsumerOffsets)
	if !ok {
		return -1
	}
	return group.PartitionOf(name, len(t.Partitions))
}

// Coordinator implements kafka.Groups.
func (g *groups) Coordinator(ctx context.Context, name string) (int32, error) {
	if g.admin == nil {
		return g.node.id, nil // which refuses
	}
	if err := g.ensureTopic(ctx); err != nil {
		return -1, err
	}
	t, ok := g.node.meta.Topic(metadata.ConsumerOffsets)
	if !ok {
		return -1, nil
	}
	partition := group.PartitionOf(name, len(t.Partitions))
	if err := g.Confirm(ctx, partition); err != nil {
		return -1, nil // another node does
	}
	return g.node.placement(t, partition).Leader, nil
}

// ensureTopic makes __consumer_offsets where there is none.
func (g *groups) ensureTopic(ctx context.Context) error {
	if _, ok := g.node.meta.Topic(metadata.ConsumerOffsets); ok {
		return nil
	}
	g.create.Lock()
	defer g.create.Unlock()
	if _, ok := g.node.meta.Topic(metadata.ConsumerOffsets); ok {
		return nil
	}
	result := g.admin.create(ctx, []metadata.NewTopic{{
		Name: metadata.ConsumerOffsets, Partitions: offsetsPartitions, ReplicationFactor: 1,
		Configs: map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"},
	}}, false)[0]
	if result.Err != nil && !errors.Is(result.Err, metadata.ErrTopicExists) {
		return fmt.Errorf("%w: create topic %s: %w", coordinator.ErrUnavailable, metadata.ConsumerOffsets, result.Err)
	}
	_, err := g.refresh()
	return err
}

func (g *groups) get(partition int32) *led {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.led[partition]
}

// Do implements kafka.Groups.
func (g *groups) Do(ctx context.Context, partition int32, fn func(m *group.Machine, out coordinator.Out)) error {
	l := g.get(partition)
	if l == nil {
		return coordinator.ErrNotCoordinator
	}
	return awaitTurn(ctx, l.shard.Do, func(out coordinator.Out) { fn(l.machine, out) })
}

// Prove implements kafka.Groups.
func (g *groups) Prove(ctx context.Context, partition int32) error {
	l := g.get(partition)
	if l == nil {
		return coordinator.ErrNotCoordinator
	}
	return awaitTurn(ctx, l.shard.Read, func(coordinator.Out) {})
}

// Confirm implements kafka.Groups.
func (g *groups) Confirm(ctx context.Context, partition int32) error {
	l := g.get(partition)
	if l == nil {
		return nil
	}
	if err := l.home.leader.Confirm(ctx); errors.Is(err, journal.ErrEnded) {
		return fmt.Errorf("%w: %w", coordinator.ErrNotCoordinator, err)
	}
	return nil // it leads, or that is not known
}

// awaitTurn asks for a turn and waits until fn has had it. If ctx ends first, fn is
// not called any more.
func awaitTurn(ctx context.Context, ask func(func(coordinator.Out, error)), fn func(coordinator.Out)) error {
	var begun atomic.Bool // by the turn, or by nobody any more
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

// Led implements kafka.Groups.
func (g *groups) Led() []int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.led))
}

// countLimit bounds the counting of groups.
const countLimit = 2 * time.Second

// count is how many groups there are, of coordinators that lead.
func (g *groups) count() (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), countLimit)
	defer cancel()
	for _, partition := range g.Led() {
		_ = g.Do(ctx, partition, func(m *group.Machine, _ coordinator.Out) { n += len(m.List()) }) // one that is loading has none
	}
	return n
}

// each calls fn for the state of every coordinator.
func (g *groups) each(fn func(shard.Stats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.led {
		fn(l.shard.Stats())
	}
}
