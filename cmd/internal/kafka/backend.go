package kafka

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/steer"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Backend is the node behind the server. All functions and interfaces are
// called concurrently. Now and the required fields must be set.
type Backend struct {
	// ClusterID is the cluster's id as Kafka writes it.
	ClusterID string
	// NodeID is this node's broker id.
	NodeID func() int32
	// Controller is the broker id that clients send requests for the controller to, -1 while
	// none is known. Each node forwards them.
	Controller func() int32
	// Brokers are the brokers of the cluster, this node among them. Clients connect to those
	// that are not fenced and have a listener of the same name as the one that they asked.
	Brokers func() []Broker
	// Members are the nodes of a cluster of several nodes, and their journals. Nil, or a
	// result of nil: this is none.
	Members func() *Members
	// Topics is the cluster's metadata.
	Topics Topics
	// Placement returns the brokers that serve a partition of an existing
	// topic.
	Placement func(t *metadata.Topic, partition int32) Placement
	// AwaitLeaders returns once a leader of each of these journals is known, or none is about
	// to be, or ctx ends. It may be left out.
	AwaitLeaders func(ctx context.Context, journals []uint32)
	// ReadsOnly reports whether this node is alone and takes no records, changes nothing and
	// coordinates no group: clients are not sent elsewhere. Nil: it is not.
	ReadsOnly func() bool
	// Access is the users and their rights.
	Access Access
	// Admin changes the cluster's metadata.
	Admin metadata.Admin
	// Steering is the cluster for the choice of the node that a consumer reads from; false: this
	// node works alone. Nil: it does.
	Steering func() (steer.Nodes, bool)
	// Deposed reports whether another node is known to lead journals that this
	// one reports to lead. It may ask the store, and is false while nothing is
	// known.
	Deposed func(ctx context.Context) bool
	// Appender returns the leader of a journal, or nil if this node does not
	// lead it.
	Appender func(journal uint32) Appender
	// Throttle is how long a producer should wait before its next request to a journal. It
	// may be left out.
	Throttle func(journal uint32) time.Duration
	// BrokerConfigs are the configs that DescribeConfigs shows for this node.
	BrokerConfigs func() []topicconfig.BrokerConfig
	// Status is this node's status as JSON; it may be left out.
	Status func() string
	// Store names where the records are.
	Store string
	// Size is how many bytes the batches of a partition take there; false if this
	// node does not know the partition.
	Size func(t *metadata.Topic, partition int32) (int64, bool)
	// Reader reads every partition this node can serve.
	Reader Reader
	// Sessions may be nil: then every Fetch is a full one.
	Sessions *FetchSessions
	// Memory is for the frames of Produce requests. Nil: none of it is used again.
	Memory *buffer.Pool
	// Groups is the coordinators of consumer groups.
	Groups Groups
	// Open is closed when clients may be answered: until then their requests wait, and those
	// of other nodes do not. Nil: at once.
	Open <-chan struct{}
	// Peers lets other nodes of the cluster in. Nil: none.
	Peers *peer.Door
	// Cluster answers the nodes that are let in. Nil: their requests are refused.
	Cluster Cluster
	// PeerGone is called when the connection for the heartbeats of a run has ended, unless the
	// server stops. It does not block for long. It may be left out.
	PeerGone func(node, start segment.ID)
	// Control is the way to the controller. Nil: this node works with no other one.
	Control Control
	// Now is the clock for timestamps.
	Now func() time.Time
	// Metrics may be nil.
	Metrics listener.Metrics
	// Log may be nil: slog.Default.
	Log *slog.Logger
}

// Broker is a node that serves clients. Rack is empty if it has none.
type Broker struct {
	ID        int32
	Rack      string
	Fenced    bool               // it is not counted on
	Addresses map[string]Address // that clients connect to, by the name of the listener
}

// Address is where a listener of a broker is reached.
type Address struct {
	Host string
	Port int32
}

// Placement is the brokers that serve a partition. Leader is -1 and Epoch -1
// while unknown. Replicas are the brokers that serve reads, with the leader.
type Placement struct {
	Leader   int32
	Epoch    int32
	Replicas []int32
}

// Topics is the read side of the metadata. Topics are immutable.
type Topics interface {
	Topic(name string) (*metadata.Topic, bool)
	TopicByID(id segment.ID) (*metadata.Topic, bool)
	// Topics lists the topics, sorted by name, without those being deleted.
	Topics() []*metadata.Topic
	// Deleting lists the topics that are deleted and not purged.
	Deleting() []*metadata.Topic
	// Version changes with every change of a topic.
	Version() uint64
	// Level is the feature level of the cluster.
	Level() uint16
}

// Appender is the leader of a journal: an *ingest.Leader.
type Appender interface {
	// Append enqueues validated batches in call order and calls done exactly
	// once with one result per batch, maybe before it returns. It blocks while
	// there is no room, until ctx ends; done does not block. The appender owns
	// the batches from then on.
	Append(ctx context.Context, acks ingest.Acks, batches []ingest.Batch, done func([]ingest.Result))
	// DeleteRecords returns when the deletions are committed, or ctx ends.
	DeleteRecords(ctx context.Context, wants []ingest.Deletion) []ingest.Deleted
}

// Reader serves reads: see Reads.
type Reader interface {
	// Fetch waits up to MaxWait for MinBytes, or until ctx ends. Results are in
	// the order of the request. Their records are read-only, and valid until
	// release, which is called once.
	Fetch(ctx context.Context, req fetch.Request) (results []fetch.Result, release func())
	// Offsets begins a request for offsets. Its partitions share the questions about
	// their journals.
	Offsets() Offsets
}

// Offsets is one request for offsets: a fetch.Offsets.
type Offsets interface {
	ListOffset(ctx context.Context, k partlog.Key, leaderEpoch int32, timestamp int64) (fetch.OffsetAt, error)
	EpochEnd(ctx context.Context, k partlog.Key, leaderEpoch, epoch int32) (fetch.EpochEnd, error)
}

// Groups is the coordinators of consumer groups. A group belongs to one partition
// of __consumer_offsets, and the node that leads the partition runs the Machine that
// holds its groups. Errors wrap those of package coordinator, or the context's.
type Groups interface {
	// Partition is the partition that a group belongs to, -1 if the topic does not
	// exist yet.
	Partition(group string) int32
	// Coordinator returns the broker that coordinates a group, this node or
	// another, -1 while none is known. It makes sure that the topic exists.
	Coordinator(ctx context.Context, group string) (broker int32, err error)
	// Do gives fn a turn of the machine of a partition, and returns once fn has
	// returned; after an error fn is not called. A call that begins after
	// another has returned gets a later turn.
	Do(ctx context.Context, partition int32, fn func(m *group.Machine, out coordinator.Out)) error
	// Prove returns, for each of some partitions, nil once it is proved that this
	// node still led it after the call began, and all records committed until then
	// are applied. The partitions share one proof of the head of each journal.
	Prove(ctx context.Context, partitions []int32) []error
	// Confirm returns coordinator.ErrNotCoordinator if another node is known to
	// lead the partition now. It may ask the store, and is nil while nothing is
	// known.
	Confirm(ctx context.Context, partition int32) error
	// Led lists the partitions whose groups this node coordinates, in order.
	Led() []int32
}

// Reads returns r as a Reader.
func Reads(r *fetch.Reader) Reader { return reads{r} }

type reads struct{ *fetch.Reader }

func (r reads) Fetch(ctx context.Context, req fetch.Request) ([]fetch.Result, func()) {
	resp := r.Reader.Fetch(ctx, req)
	return resp.Results, resp.Release
}

func (r reads) Offsets() Offsets { return r.Reader.Offsets() }

func (b Backend) validate() error {
	if b.ClusterID == "" || b.NodeID == nil || b.Controller == nil || b.Brokers == nil || b.Topics == nil ||
		b.Placement == nil || b.Deposed == nil || b.Admin == nil || b.Appender == nil || b.BrokerConfigs == nil || b.Store == "" || b.Size == nil || b.Reader == nil || b.Groups == nil || b.Now == nil {
		return errors.New("incomplete backend: only Sessions, Peers, Cluster, Metrics and Log may be left out")
	}
	return nil
}
