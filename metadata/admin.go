package metadata

import (
	"context"
	"errors"

	"github.com/varvelog/varve/tiering/segment"
)

// What an administrative request can come to. Errors wrap one of these and say
// more; test with errors.Is.
var (
	ErrTopicExists        = errors.New("topic exists")
	ErrUnknownTopic       = errors.New("unknown topic")
	ErrInvalidName        = errors.New("invalid topic name")
	ErrInvalidPartitions  = errors.New("invalid number of partitions")
	ErrInvalidReplication = errors.New("invalid replication factor")
	ErrInvalidConfig      = errors.New("invalid topic config")

	// ErrNotController: another node leads the metadata journal, ask that one.
	ErrNotController = errors.New("this node is not the controller")
	// ErrUnavailable: it is not known whether the change is or will be
	// committed. Asking again later is safe.
	ErrUnavailable = errors.New("metadata journal is not available, try again")
)

// What stops a node that applies the journal.
var (
	// ErrTooOld: the journal holds what this binary does not know.
	ErrTooOld = errors.New("this node is too old for the cluster's metadata, upgrade it")
	// ErrCorrupt: an entry is damaged or contradicts those before it.
	ErrCorrupt = errors.New("corrupt metadata journal")
)

// Admin changes the metadata of a cluster. A result is given only when all that
// it rests on is committed; calls end early with ErrUnavailable when ctx does.
type Admin interface {
	// CreateTopics answers for each topic in turn. With validateOnly nothing
	// changes.
	CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) []CreateResult
	// DeleteTopics answers for each id in turn, nil when the deletion is
	// committed: the topic is invisible then, its name taken until it is purged.
	DeleteTopics(ctx context.Context, ids []segment.ID) []error
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

// CreateResult is the topic, or why there is none. After a call that only
// validated, the topic's ID is zero.
type CreateResult struct {
	Topic *Topic
	Err   error
}

// NotController is the Admin of nodes that never lead the metadata journal:
// every call answers ErrNotController.
type NotController struct{}

// CreateTopics answers ErrNotController for each topic.
func (NotController) CreateTopics(_ context.Context, topics []NewTopic, _ bool) []CreateResult {
	results := make([]CreateResult, len(topics))
	for i := range results {
		results[i].Err = ErrNotController
	}
	return results
}

// DeleteTopics answers ErrNotController for each id.
func (NotController) DeleteTopics(_ context.Context, ids []segment.ID) []error {
	errs := make([]error, len(ids))
	for i := range errs {
		errs[i] = ErrNotController
	}
	return errs
}

// NextProducerID answers ErrNotController.
func (NotController) NextProducerID(context.Context) (int64, error) { return 0, ErrNotController }
