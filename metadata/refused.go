package metadata

import (
	"cmp"
	"context"
	"slices"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/tiering/segment"
)

// Refused is the Admin that answers every request with Err: of a node that never leads a
// journal (ErrReadsOnly), or one whose controller does not answer. Without Err it answers
// ErrUnavailable.
type Refused struct{ Err error }

func (r Refused) err() error { return cmp.Or(r.Err, ErrUnavailable) }

// each answers n requests.
func (r Refused) each(n int) []error { return repeat(r.err(), n) }

func repeat(err error, n int) []error { return slices.Repeat([]error{err}, n) }

// CreateTopics answers Err for each topic.
func (r Refused) CreateTopics(_ context.Context, topics []NewTopic, _ bool) []CreateResult {
	return slices.Repeat([]CreateResult{{Err: r.err()}}, len(topics))
}

// DeleteTopics answers Err for each id.
func (r Refused) DeleteTopics(_ context.Context, ids []segment.ID) []error { return r.each(len(ids)) }

// RestoreTopics answers Err for each id.
func (r Refused) RestoreTopics(_ context.Context, ids []segment.ID) []error { return r.each(len(ids)) }

// Raise answers Err.
func (r Refused) Raise(context.Context, uint16, bool) error { return r.err() }

// SetNode answers Err.
func (r Refused) SetNode(context.Context, int32, NodeState, bool) error { return r.err() }

// GrowTo answers Err.
func (r Refused) GrowTo(context.Context, uint32, bool) error { return r.err() }

// CreatePartitions answers Err for each topic.
func (r Refused) CreatePartitions(_ context.Context, more []NewPartitions, _ bool) []error {
	return r.each(len(more))
}

// AlterConfigs answers Err for each topic.
func (r Refused) AlterConfigs(_ context.Context, changes []ConfigChange, _ bool) []error {
	return r.each(len(changes))
}

// NextProducerID answers Err.
func (r Refused) NextProducerID(context.Context) (int64, error) { return 0, r.err() }

// CreateACLs answers Err for each rule.
func (r Refused) CreateACLs(_ context.Context, bindings []acl.Binding) []error {
	return r.each(len(bindings))
}

// DeleteACLs answers Err for each filter.
func (r Refused) DeleteACLs(_ context.Context, filters []acl.Filter) []RemovedACLs {
	return slices.Repeat([]RemovedACLs{{Err: r.err()}}, len(filters))
}

// AlterUsers answers Err for each change.
func (r Refused) AlterUsers(_ context.Context, changes []UserChange) []error {
	return r.each(len(changes))
}

// RequireAuthentication answers Err.
func (r Refused) RequireAuthentication(context.Context, string, []scram.Credential) error {
	return r.err()
}

// EndAuthentication answers Err.
func (r Refused) EndAuthentication(context.Context) error { return r.err() }
