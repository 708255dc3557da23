package metadata

import (
	"context"

	"github.com/varvelog/varve/tiering/segment"
)

// ForClients is the Admin for clients: the Leader's, but without topics that
// the cluster keeps for itself.
func (l *Leader) ForClients() Admin { return forClients{l} }

type forClients struct{ *Leader }

// CreateTopics refuses names that clients may not use.
func (a forClients) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) []CreateResult {
	return refusing(topics, func(t NewTopic) error { return CheckClientName(t.Name) },
		func(err error) CreateResult { return CreateResult{Err: err} },
		func(topics []NewTopic) []CreateResult { return a.Leader.CreateTopics(ctx, topics, validateOnly) })
}

// DeleteTopics refuses internal topics.
func (a forClients) DeleteTopics(ctx context.Context, ids []segment.ID) []error {
	internal := func(id segment.ID) error {
		if t, ok := a.opt.State.TopicByID(id); ok && t.Internal() {
			return ErrInternalTopic
		}
		return nil
	}
	return refusing(ids, internal, func(err error) error { return err },
		func(ids []segment.ID) []error { return a.Leader.DeleteTopics(ctx, ids) })
}

// refusing calls do for the requests that refuse accepts. It makes the results
// of the others from their errors.
func refusing[T, R any](all []T, refuse func(T) error, refused func(error) R, do func([]T) []R) []R {
	results := make([]R, len(all))
	var left []T
	var places []int
	for i, x := range all {
		if err := refuse(x); err != nil {
			results[i] = refused(err)
			continue
		}
		left, places = append(left, x), append(places, i)
	}
	if len(left) > 0 {
		for i, result := range do(left) {
			results[places[i]] = result
		}
	}
	return results
}
