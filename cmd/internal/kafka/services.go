package kafka

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// New checks the configuration and returns a server that serves nothing yet.
func New(config Config, backend Backend) (*listener.Server, error) {
	return newServer(config, backend, &backend.Access)
}

func newServer(config Config, backend Backend, may authorizer) (*listener.Server, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	if err := backend.validate(); err != nil {
		return nil, err
	}
	if backend.Log == nil {
		backend.Log = slog.Default()
	}
	complaints := listener.NewComplaints(backend.Log)
	if backend.Control == nil {
		backend.Control = alone{}
	}
	g := &gate{topics: backend.Topics, prove: backend.Control.Prove, may: may}
	services := newServices(config, backend, g, complaints)
	backend.Admin = metadata.Refused{Err: metadata.ErrUnavailable} // the controller was asked in vain
	services.failed = newServices(config, backend, g, complaints)
	return listener.New(config.Listener, services.apis(), listener.Surroundings{
		Now: backend.Now, Complaints: complaints, Metrics: backend.Metrics, Log: backend.Log, Memory: backend.Memory, Open: backend.Open,
	})
}

// services are the handlers of all API keys. Only the registration of a key
// sees all of them. A handler is a method of one service, which has the fields
// that its keys need.
type services struct {
	writing  *writeService
	reading  *readService
	topics   *topicService
	configs  *configService
	groups   *groupService
	clusters *clusterService
	access   *accessService
	peers    *peerService
	topology *topology
	forward  *forwarder
	failed   *services // answers requests that the controller did not answer
}

// writeService is for producers: Produce, DeleteRecords, InitProducerId.
type writeService struct {
	codes
	gate        *gate
	readsOnly   func() bool
	appender    func(journal uint32) Appender
	topology    *topology
	throttle    func(journal uint32) time.Duration
	producerIDs interface {
		NextProducerID(ctx context.Context) (int64, error)
	}
	now  func() time.Time
	walk *batch.Room // the memory for decompressing records; a batch that has it waits for nothing
}

// readService is for consumers: Fetch, ListOffsets, OffsetForLeaderEpoch.
type readService struct {
	codes
	gate      *gate
	reader    Reader
	sessions  *FetchSessions
	topology  *topology
	maxBytes  int32               // of the records of one Fetch answer
	lookingUp *semaphore.Weighted // partitions of ListOffsets
}

// topicService describes and changes topics.
type topicService struct {
	codes
	*topology
	gate       *gate
	forward    *forwarder
	autoCreate bool
	admin      interface {
		CreateTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) []metadata.CreateResult
		DeleteTopics(ctx context.Context, ids []segment.ID) []error
		RestoreTopics(ctx context.Context, ids []segment.ID) []error
		CreatePartitions(ctx context.Context, more []metadata.NewPartitions, validateOnly bool) []error
	}
}

// configService describes and changes configs of topics and brokers.
type configService struct {
	codes
	gate          *gate
	nodeID        func() int32
	brokers       func() []Broker
	brokerConfigs func() []topicconfig.BrokerConfig
	members       func() *Members
	status        func() string // nil: it is not described
	admin         interface {
		AlterConfigs(ctx context.Context, changes []metadata.ConfigChange, validateOnly bool) []error
		SetNode(ctx context.Context, id int32, state metadata.NodeState, validateOnly bool) error
		GrowTo(ctx context.Context, journals uint32, validateOnly bool) error
	}
}

// groupService is for consumer groups, their members and their offsets.
type groupService struct {
	codes
	gate      *gate
	readsOnly func() bool
	groups    Groups
	endpoint  func(by *listener.Client, id int32) (endpoint, bool)
	asLeader  func(ctx context.Context, r *listener.Request, answer func())
}

// clusterService answers about the cluster as a whole.
type clusterService struct {
	codes
	*topology
	gate  *gate
	level func() uint16
	store string
	size  func(t *metadata.Topic, partition int32) (int64, bool)
	admin interface {
		Raise(ctx context.Context, level uint16, validateOnly bool) error
		SetNode(ctx context.Context, id int32, state metadata.NodeState, validateOnly bool) error
	}
}

// minWalkers is how many batches are decompressed at once for producers, at least.
const minWalkers = 4

func newServices(config Config, b Backend, g *gate, complaints *listener.Complaints) *services {
	c := codes{complaints}
	forward := &forwarder{b.Control, complaints}
	readsOnly := b.ReadsOnly
	if readsOnly == nil {
		readsOnly = func() bool { return false }
	}
	t := &topology{
		clusterID: b.ClusterID, nodeID: b.NodeID, controller: b.Controller, brokers: b.Brokers,
		placement: b.Placement, deposed: b.Deposed, await: b.AwaitLeaders, steering: b.Steering,
	}
	room := batch.NewRoom(config.Listener.RequestMemory/4, max(runtime.GOMAXPROCS(0), minWalkers))
	return &services{
		writing: &writeService{
			codes: c, gate: g, readsOnly: readsOnly, appender: b.Appender, topology: t,
			producerIDs: b.Admin, now: b.Now, walk: room, throttle: b.Throttle,
		},
		reading: &readService{
			codes: c, gate: g, reader: b.Reader, sessions: b.Sessions, topology: t, maxBytes: config.FetchMaxBytes,
			lookingUp: semaphore.NewWeighted(allLookups),
		},
		topics: &topicService{codes: c, topology: t, gate: g, forward: forward, autoCreate: config.AutoCreateTopics, admin: b.Admin},
		configs: &configService{
			codes: c, gate: g, nodeID: b.NodeID, brokers: b.Brokers, brokerConfigs: b.BrokerConfigs, members: b.membersOf, status: b.Status, admin: b.Admin,
		},
		groups:   &groupService{codes: c, gate: g, readsOnly: readsOnly, groups: b.Groups, endpoint: t.endpoint, asLeader: t.asLeader},
		clusters: &clusterService{codes: c, topology: t, gate: g, level: b.Topics.Level, store: b.Store, size: b.Size, admin: b.Admin},
		peers:    &peerService{codes: c, topology: t, door: b.Peers, cluster: b.Cluster, gone: b.PeerGone, control: b.Control},
		access:   &accessService{codes: c, gate: g, access: &b.Access, now: b.Now, admin: b.Admin},
		topology: t, forward: forward,
	}
}
