package kafka

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testNode = int32(7)

// maxPartitions bounds the partitions of a topic: a request that was damaged may ask
// for a billion.
const maxPartitions = 1000

// cluster is a whole cluster in memory: one node, one journal per topic.
type cluster struct {
	*memAccess

	now        time.Time
	passed     atomic.Int64 // nanoseconds since now
	unreleased atomic.Int32 // answers of Fetch
	deposed    atomic.Bool
	place      atomic.Pointer[Placement]

	mu      sync.Mutex
	level   uint16 // 0: 1
	deleted []*metadata.Topic
	version uint64 // of the topics
	created int    // topics so far
	topics  []*metadata.Topic
	logs    map[partlog.Key]*memLog
	changed chan struct{} // closed and renewed at each append
	nextPID int64
	fails   error // of every Append
	unread  error // of every partition of a Fetch
	adminUp bool
	altered []metadata.ConfigChange // all that were asked for
	members *Members                // nil: a cluster of one node
	away    map[uint32]bool         // journals led elsewhere
	fenced  bool                    // broker 8 is
	host    string
	port    int32
	groups  *memGroups
}

type memLog struct {
	batches    [][]byte
	start, end int64
}

func newCluster() *cluster {
	c := &cluster{
		now: time.UnixMilli(1_700_000_000_000), logs: map[partlog.Key]*memLog{}, changed: make(chan struct{}),
		adminUp: true, away: map[uint32]bool{}, memAccess: newMemAccess(),
		groups: newGroups(),
	}
	c.place.Store(&Placement{Leader: testNode, Epoch: 3, Replicas: []int32{testNode}})
	return c
}

// pass lets time pass.
func (c *cluster) pass(d time.Duration) { c.passed.Add(int64(d)) }

func (c *cluster) addTopic(t testing.TB, name string, partitions int, configs map[string]string) *metadata.Topic {
	t.Helper()
	results := c.CreateTopics(context.Background(), []metadata.NewTopic{{
		Name: name, Partitions: int32(partitions), ReplicationFactor: 1, Configs: configs,
	}}, false)
	if results[0].Err != nil {
		t.Fatal(results[0].Err)
	}
	return results[0].Topic
}

func (c *cluster) Topic(name string) (*metadata.Topic, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.topics {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

func (c *cluster) TopicByID(id segment.ID) (*metadata.Topic, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.topics {
		if t.ID == id {
			return t, true
		}
	}
	return nil, false
}

func (c *cluster) Deleting() []*metadata.Topic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.deleted)
}

func (c *cluster) Version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

func (c *cluster) Topics() []*metadata.Topic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.topics)
}

func (c *cluster) CreateTopics(_ context.Context, topics []metadata.NewTopic, validateOnly bool) []metadata.CreateResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]metadata.CreateResult, len(topics))
	for i, nt := range topics {
		out[i].Topic, out[i].Err = c.createLocked(nt, validateOnly)
	}
	return out
}

func (c *cluster) createLocked(nt metadata.NewTopic, validateOnly bool) (*metadata.Topic, error) {
	if !c.adminUp {
		return nil, metadata.ErrNotController
	}
	if err := metadata.CheckName(nt.Name); err != nil {
		return nil, err
	}
	for _, t := range c.topics {
		if t.Name == nt.Name {
			return nil, fmt.Errorf("%w: %q", metadata.ErrTopicExists, nt.Name)
		}
	}
	if err := topicconfig.Validate(nt.Configs); err != nil {
		return nil, fmt.Errorf("%w: %w", metadata.ErrInvalidConfig, err)
	}
	values, err := topicconfig.Of(nt.Configs)
	if err != nil {
		return nil, err
	}
	if nt.Partitions == -1 {
		nt.Partitions = 1
	}
	if nt.ReplicationFactor == -1 {
		nt.ReplicationFactor = 1
	}
	if nt.Partitions > maxPartitions {
		return nil, fmt.Errorf("%w: %d", metadata.ErrInvalidPartitions, nt.Partitions)
	}
	t := &metadata.Topic{Name: nt.Name, Configs: nt.Configs, Values: values, ReplicationFactor: nt.ReplicationFactor}
	t.Partitions = make([]metadata.Partition, nt.Partitions)
	for i := range t.Partitions {
		t.Partitions[i].Journal = uint32(len(c.topics) + 1)
	}
	if validateOnly {
		return t, nil
	}
	c.created++
	t.ID = segment.ID{0: 0xAB, 14: byte(c.created >> 8), 15: byte(c.created)}
	c.topics = append(c.topics, t)
	c.version++
	for i := range t.Partitions {
		c.logs[partlog.Key{Topic: t.ID, Index: int32(i)}] = &memLog{}
	}
	return t, nil
}

func (c *cluster) DeleteTopics(_ context.Context, ids []segment.ID) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]error, len(ids))
	for i, id := range ids {
		before := len(c.topics)
		c.topics = slices.DeleteFunc(slices.Clone(c.topics), func(t *metadata.Topic) bool { return t.ID == id })
		c.version++
		if len(c.topics) == before {
			out[i] = metadata.ErrUnknownTopic
		}
	}
	return out
}

// replaceLocked puts a changed topic in the place of an older value of it.
func (c *cluster) replaceLocked(name string, change func(t *metadata.Topic) error) error {
	if !c.adminUp {
		return metadata.ErrNotController
	}
	i := slices.IndexFunc(c.topics, func(t *metadata.Topic) bool { return t.Name == name })
	if i < 0 {
		return fmt.Errorf("%w: %q", metadata.ErrUnknownTopic, name)
	}
	t := *c.topics[i]
	if err := change(&t); err != nil {
		return err
	}
	c.topics = slices.Clone(c.topics)
	c.topics[i] = &t
	c.version++
	return nil
}

func (c *cluster) CreatePartitions(_ context.Context, more []metadata.NewPartitions, validateOnly bool) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]error, len(more))
	for i, n := range more {
		out[i] = c.replaceLocked(n.Topic, func(t *metadata.Topic) error {
			added := int(n.Count) - len(t.Partitions)
			switch {
			case added <= 0, n.Count > maxPartitions:
				return fmt.Errorf("%w: topic %q has %d", metadata.ErrInvalidPartitions, n.Topic, len(t.Partitions))
			case n.Assigned != nil && len(n.Assigned) != added:
				return fmt.Errorf("%w: of %d partitions", metadata.ErrInvalidAssignment, len(n.Assigned))
			case validateOnly:
				return nil
			}
			for len(t.Partitions) < int(n.Count) {
				c.logs[partlog.Key{Topic: t.ID, Index: int32(len(t.Partitions))}] = &memLog{}
				t.Partitions = append(slices.Clone(t.Partitions), t.Partitions[0])
			}
			return nil
		})
	}
	return out
}

// AlterConfigs knows how to set and delete.
func (c *cluster) AlterConfigs(_ context.Context, changes []metadata.ConfigChange, validateOnly bool) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.altered = append(c.altered, changes...)
	out := make([]error, len(changes))
	for i, change := range changes {
		out[i] = c.replaceLocked(change.Topic, func(t *metadata.Topic) (err error) {
			configs := map[string]string{}
			if !change.Replace {
				maps.Copy(configs, t.Configs)
			}
			for _, op := range change.Ops {
				if op.Kind == metadata.OpDelete {
					delete(configs, op.Name)
				} else {
					configs[op.Name] = op.Value
				}
			}
			if err := topicconfig.Validate(configs); err != nil {
				return fmt.Errorf("%w: %w", metadata.ErrInvalidConfig, err)
			}
			if !validateOnly {
				t.Configs = configs
				t.Values, err = topicconfig.Of(configs)
			}
			return err
		})
	}
	return out
}

func (c *cluster) NextProducerID(context.Context) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.adminUp {
		return 0, metadata.ErrNotController
	}
	c.nextPID++
	return c.nextPID, nil
}

func (c *cluster) Append(_ context.Context, _ ingest.Acks, batches []ingest.Batch, done func([]ingest.Result)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]ingest.Result, len(batches))
	for i, b := range batches {
		if c.fails != nil {
			out[i].Err = c.fails
			continue
		}
		log := c.logs[b.Key]
		out[i].BaseOffset = log.end
		batch.Patch(b.Data, log.end, c.place.Load().Epoch)
		log.batches = append(log.batches, bytes.Clone(b.Data)) // the frame is used again
		log.end += int64(b.Header.Records)
	}
	close(c.changed)
	c.changed = make(chan struct{})
	go done(out)
}

func (c *cluster) DeleteRecords(_ context.Context, wants []ingest.Deletion) []ingest.Deleted {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]ingest.Deleted, len(wants))
	for i, want := range wants {
		log := c.logs[want.Key]
		if want.Before == ingest.AllCommitted {
			want.Before = log.end
		}
		switch {
		case c.fails != nil:
			out[i] = ingest.Deleted{LogStart: -1, Err: c.fails}
		case want.Before < 0 || want.Before > log.end:
			out[i] = ingest.Deleted{LogStart: -1, Err: ingest.ErrOutOfRange}
		default:
			log.start = max(log.start, want.Before)
			out[i].LogStart = log.start
		}
	}
	return out
}

func (c *cluster) size(t *metadata.Topic, partition int32) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	log, ok := c.logs[partlog.Key{Topic: t.ID, Index: partition}]
	if !ok {
		return 0, false
	}
	return int64(len(bytes.Join(log.batches, nil))), true
}

func (c *cluster) Offsets() Offsets { return c }

func (c *cluster) ListOffset(_ context.Context, k partlog.Key, _ int32, ts int64) (fetch.OffsetAt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch ts {
	case fetch.Latest:
		return fetch.OffsetAt{Offset: c.logs[k].end, Timestamp: -1, Epoch: c.place.Load().Epoch}, nil
	case fetch.Earliest:
		return fetch.OffsetAt{Offset: c.logs[k].start, Timestamp: -1, Epoch: c.place.Load().Epoch}, nil
	}
	return fetch.OffsetAt{Offset: 5, Timestamp: 55, Epoch: c.place.Load().Epoch}, nil
}

func (c *cluster) EpochEnd(_ context.Context, k partlog.Key, _, epoch int32) (fetch.EpochEnd, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fetch.EpochEnd{Epoch: epoch, End: c.logs[k].end}, nil
}

// change calls fn, which may set the fields below mu while clients are served.
func (c *cluster) change(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
}

func (c *cluster) backend() Backend {
	return Backend{
		ClusterID: "varve-test", NodeID: func() int32 { return testNode }, Controller: func() int32 { return testNode },
		Brokers: func() []Broker {
			return []Broker{
				{ID: testNode, Addresses: map[string]Address{testListener: {c.host, c.port}, "INSIDE": {"inside", 7}}, Rack: "r1"},
				{ID: 8, Fenced: c.fenced, Addresses: map[string]Address{testListener: {"elsewhere", 1}}},
				{ID: 12, Addresses: map[string]Address{"INSIDE": {"inside", 9}}},
			}
		},
		Topics:    c,
		Placement: func(*metadata.Topic, int32) Placement { return *c.place.Load() },
		Deposed:   func(context.Context) bool { return c.deposed.Load() },
		Admin:     c,
		Appender: func(journal uint32) Appender {
			if c.away[journal] {
				return nil
			}
			return c
		},
		Reader: c, Sessions: NewFetchSessions(100, 1<<20, func() time.Time { return c.now }),
		Store: "memory://", Size: c.size,
		Groups: c.groups, Memory: buffer.NewPool(64 << 20),
		BrokerConfigs: func() []topicconfig.BrokerConfig {
			return topicconfig.Broker(topicconfig.BrokerSettings{NodeID: testNode, Partitions: 1, ReplicationFactor: 1, AutoCreateTopics: true})
		},
		Now: func() time.Time { return c.now.Add(time.Duration(c.passed.Load())) },
		Log: slog.New(slog.DiscardHandler),
	}
}
