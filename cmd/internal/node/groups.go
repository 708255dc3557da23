package node

import (
	"context"
	"fmt"
	"time"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/metadata/coordinator/supervisor"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// groupMemory limits the bytes that the members of all groups may hold.
const groupMemory = 256 << 20

// groups are the coordinators of consumer groups. They implement kafka.Groups.
type groups = supervisor.Supervisor[*group.Machine]

// startGroups runs coordinators while this node leads their partitions. A node
// that only reads coordinates nothing.
func (n *node) startGroups(reader *fetch.Reader, closers *stack) *groups {
	memory := group.NewMemory(groupMemory)
	wake := make(chan struct{}, 1)
	topics := newGoneTopics(n.meta, n.control, func() {
		select {
		case wake <- struct{}{}:
		default: // a value waits already
		}
	})
	options := supervisor.Options[*group.Machine]{
		Topic: metadata.NewConsumerOffsets(), Metadata: topics, Journal: n.ledJournal, Node: n.id.Load,
		Machine: func() (*group.Machine, error) { return group.New(n.groupConfig(memory)) },
		Start: func(t supervisor.Tenure, m *group.Machine) (supervisor.Shard, error) {
			return n.startShard(t, m, reader, topics)
		},
		Leader: n.coordinatorOf, OnFailed: n.fail,
	}
	if n.writes() || n.inCluster() {
		options.Create = func(ctx context.Context, t metadata.NewTopic) error { return n.control.ensureInternal(ctx, t.Name) }
	}
	g := supervisor.New(options)
	n.metrics.groups(g, memory)
	if n.writes() {
		closers.push(n.superviseGroups(g, wake))
		closers.push(every(goneEvery, topics.look))
	}
	return g
}

// superviseGroups lets g follow the metadata, and look when wake says so, until the function
// it returns is called, which waits.
func (n *node) superviseGroups(g *groups, wake chan struct{}) (stop func() error) {
	unwatch := n.meta.Watch(wake)
	n.journals.watch(wake)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx, wake)
	}()
	return func() error {
		cancel()
		unwatch()
		<-done
		return nil
	}
}

func (n *node) groupConfig(memory *group.Memory) group.Config {
	config := group.Default()
	config.MinSession, config.MaxSession = n.cfg.GroupMinSession, n.cfg.GroupMaxSession
	config.InitialDelay, config.Retention = n.cfg.GroupInitialDelay, n.cfg.OffsetsRetention
	config.MaxSize, config.Memory = n.cfg.GroupMaxSize, memory
	config.NewID = newUUID
	return config
}

// newUUID returns a random id in the form that Kafka's coordinators give to
// members.
func newUUID() string {
	b := segment.NewID()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// startShard runs a machine on its partition.
func (n *node) startShard(t supervisor.Tenure, m *group.Machine, reader *fetch.Reader, topics coordinator.Topics) (supervisor.Shard, error) {
	j := n.journals.get(t.Journal)
	if j == nil || j.leader == nil { // since the supervisor has looked
		return nil, coordinator.ErrNotCoordinator
	}
	return shard.Start(shard.Options{
		Key: t.Key, Machine: m, Partition: ledPartition{j.leader.Partition(t.Key), reader, j.state, t.Key},
		Snapshots: j.snapshots, Topics: topics, Now: time.Now, Log: n.log,
		OnFailed: func(err error) { n.onCoordinatorFailed(t.Key, err) },
	})
}

// ledJournal returns a data journal if this node leads it.
func (n *node) ledJournal(id uint32) (supervisor.Journal, bool) {
	j := n.journals.get(id)
	if j == nil || j.leader == nil {
		return nil, false
	}
	return ledJournal{j}, true
}

// ledJournal is a data journal in the form that a Supervisor needs.
type ledJournal struct{ *dataJournal }

func (j ledJournal) Epoch(k partlog.Key) (int32, bool) {
	view, ok := j.state.Lookup(k)
	return view.Epoch, ok && !view.Sealed
}

func (j ledJournal) Prove(ctx context.Context) error { return j.leader.Prove(ctx) }

func (j ledJournal) Confirm(ctx context.Context) error { return j.leader.Confirm(ctx) }

func (j ledJournal) Snapshots() *shard.Snapshots { return j.snapshots }

// ledPartition is a partition in the form that a Shard needs.
type ledPartition struct {
	ingest.LedPartition
	reader *fetch.Reader
	state  *partlog.State // of the journal that is led
	key    partlog.Key
}

func (p ledPartition) Append(ctx context.Context, data []byte, h batch.Header, done func(base int64, err error)) {
	p.LedPartition.Append(ctx, data, h, func(base int64, err error) {
		done(base, shard.AppendError(err, ingest.ErrNotLeader, ingest.ErrClosed))
	})
}

func (p ledPartition) Compacted() (records, tombstones int64) { return p.state.Compacted(p.key) }

func (p ledPartition) Scan(ctx context.Context, from int64, fn func(batches []byte) error) (int64, error) {
	return p.reader.Scan(ctx, p.key, from, func(_ batch.Header, b []byte) error { return fn(b) })
}
