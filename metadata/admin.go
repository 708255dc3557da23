package metadata

import (
	"context"
	"errors"

	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/segment"
)

// The results of administrative requests that fail. Errors wrap one of these
// and add details; test with errors.Is.
var (
	ErrTopicExists        = errors.New("topic exists")
	ErrUnknownTopic       = errors.New("unknown topic")
	ErrInvalidName        = errors.New("invalid topic name")
	ErrInvalidPartitions  = errors.New("invalid number of partitions")
	ErrInvalidReplication = errors.New("invalid replication factor")
	ErrInvalidConfig      = topicconfig.ErrInvalid // invalid topic config
	ErrInvalidAssignment  = errors.New("invalid assignment of replicas")
	ErrUnknownLevel       = errors.New("unknown feature level")
	ErrLowerLevel         = errors.New("a feature level is never lowered")

	// ErrNotController: another node leads the metadata journal, ask that one.
	ErrNotController = errors.New("this node is not the controller")
	// ErrReadsOnly: this node never writes, whatever the request.
	ErrReadsOnly = errors.New("this node only reads (--roles fetch): use the address of a node with the ingest role to write, to change topics, and for groups")
	// ErrUnavailable: whether the change is or will be committed is not known.
	// Asking again later is safe.
	ErrUnavailable = errors.New("metadata journal is not available, try again")
)

// The errors that stop a node which applies the journal.
var (
	// ErrTooOld: the journal holds entries that this binary does not know.
	ErrTooOld = errors.New("this node is too old for the cluster's metadata, upgrade it")
	// ErrCorrupt: an entry is damaged or contradicts those before it.
	ErrCorrupt = errors.New("corrupt metadata journal")
)

// Admin changes the metadata of a cluster. A result is returned only when
// everything it depends on is committed; calls end early with ErrUnavailable
// when ctx ends. Partitions that a call creates or restores take records then, unless the
// leadership of the controller has ended: their journals follow in a moment.
type Admin interface {
	// CreateTopics answers for each topic in turn. With validateOnly nothing
	// changes.
	CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) []CreateResult
	// DeleteTopics answers for each id in turn, nil when the deletion is committed and
	// the topic takes no records. It is invisible then and its name free. Until it is
	// purged, RestoreTopics brings it back; before LevelTiering it is purged at once.
	DeleteTopics(ctx context.Context, ids []segment.ID) []error
	// RestoreTopics makes deleted topics visible again and answers for each id in turn,
	// nil when the topic takes records.
	RestoreTopics(ctx context.Context, ids []segment.ID) []error
	// Raise raises the feature level of the cluster, which is never lowered. With
	// validateOnly nothing changes.
	Raise(ctx context.Context, level uint16, validateOnly bool) error
	// SetNode changes the state of a node, by its broker id: StateDrained, StateServing to
	// end that, or StateRemoved. It returns when the state is committed; journals of a
	// drained node move afterwards. With validateOnly nothing changes.
	SetNode(ctx context.Context, id int32, state NodeState, validateOnly bool) error
	// GrowTo adds data journals until there are as many. With validateOnly nothing changes.
	GrowTo(ctx context.Context, journals uint32, validateOnly bool) error
	// CreatePartitions gives topics more partitions and answers for each in turn.
	// With validateOnly nothing changes.
	CreatePartitions(ctx context.Context, more []NewPartitions, validateOnly bool) []error
	// AlterConfigs changes configs of topics and answers for each in turn: all
	// changes of a topic are made or none. With validateOnly nothing changes.
	AlterConfigs(ctx context.Context, changes []ConfigChange, validateOnly bool) []error
	AccessAdmin
	// NextProducerID returns an id, from 1, that no producer was ever given.
	NextProducerID(ctx context.Context) (int64, error)
}

// NewTopic asks for a topic.
type NewTopic struct {
	Name              string
	Partitions        int32 // -1: the cluster's default
	ReplicationFactor int16 // 1 to 3, echoed only; -1: the cluster's default
	Configs           map[string]string
}

// CreateResult is the topic, or the reason why there is none. After a call that
// only validated, the topic's ID is zero.
type CreateResult struct {
	Topic *Topic
	Err   error
}

// NewPartitions asks for a topic to have more partitions.
type NewPartitions struct {
	Topic string
	Count int32 // in all
	// Assigned is how many replicas the request assigns to each new partition,
	// nil if it leaves that open. All replicas are the bucket.
	Assigned []int
}

// ConfigChange changes the configs of one topic. With Replace, those that are not
// set by an op go back to their defaults.
type ConfigChange struct {
	Topic   string
	Replace bool
	Ops     []ConfigOp
}

// ConfigOp is the change of one config.
type ConfigOp struct {
	Kind        OpKind
	Name, Value string // OpDelete ignores Value
}

// OpKind has the numbers of IncrementalAlterConfigs (KIP-339).
type OpKind int8

// The kinds of ConfigOps.
const (
	OpSet      OpKind = 0
	OpDelete   OpKind = 1 // back to the default
	OpAppend   OpKind = 2 // to a list, elements that are not in it
	OpSubtract OpKind = 3 // from a list
)
