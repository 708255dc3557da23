package node

import (
	"context"
	"fmt"

	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// topicAdmin is the controller's Admin made whole: a topic is created when the
// journals of its partitions take records of them, and gone when they have
// sealed them and its name is free again.
type topicAdmin struct {
	*metadata.Leader
	meta     *metadata.State
	journals *journals
}

// CreateTopics commits the topics and opens their partitions.
func (a *topicAdmin) CreateTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) []metadata.CreateResult {
	results := a.Leader.CreateTopics(ctx, topics, validateOnly)
	if validateOnly {
		return results
	}
	var created []*metadata.Topic
	for _, r := range results {
		if r.Err == nil {
			created = append(created, r.Topic)
		}
	}
	if err := a.reconcile(ctx, created, nil); err != nil {
		for i := range results {
			if results[i].Err == nil {
				results[i] = metadata.CreateResult{Err: err}
			}
		}
	}
	return results
}

// DeleteTopics commits the deletions, seals the partitions, and frees the names.
func (a *topicAdmin) DeleteTopics(ctx context.Context, ids []segment.ID) []error {
	topics := make([]*metadata.Topic, len(ids)) // as they are while they can be found
	for i, id := range ids {
		topics[i], _ = a.meta.TopicByID(id)
	}
	errs := a.Leader.DeleteTopics(ctx, ids)
	for i, t := range topics {
		if errs[i] == nil && t != nil {
			errs[i] = a.finishDeleting(ctx, t)
		}
	}
	return errs
}

func (a *topicAdmin) finishDeleting(ctx context.Context, t *metadata.Topic) error {
	if err := a.reconcile(ctx, nil, []*metadata.Topic{t}); err != nil {
		return err
	}
	return a.Leader.Purge(ctx, t.ID)
}

// settle does what an earlier controller left undone.
func (a *topicAdmin) settle(ctx context.Context) error {
	if err := a.reconcile(ctx, a.meta.Topics(), nil); err != nil {
		return fmt.Errorf("open partitions: %w", err)
	}
	for _, t := range a.meta.Deleting() {
		if err := a.finishDeleting(ctx, t); err != nil {
			return fmt.Errorf("finish deleting topic %s: %w", t.Name, err)
		}
	}
	return nil
}

// reconcile opens and seals the topics' partitions in the journals they live in.
func (a *topicAdmin) reconcile(ctx context.Context, open, sealed []*metadata.Topic) error {
	wants := map[uint32]*ingest.Want{}
	want := func(journal uint32) *ingest.Want {
		if wants[journal] == nil {
			wants[journal] = &ingest.Want{}
		}
		return wants[journal]
	}
	for _, t := range open {
		for i, p := range t.Partitions {
			w := want(p.Journal)
			w.Open = append(w.Open, partlog.Key{Topic: t.ID, Index: int32(i)})
		}
	}
	for _, t := range sealed {
		for i, p := range t.Partitions {
			w := want(p.Journal)
			w.Sealed = append(w.Sealed, partlog.Key{Topic: t.ID, Index: int32(i)})
		}
	}
	for id, w := range wants {
		j := a.journals.get(id)
		if j == nil || j.leader == nil {
			return fmt.Errorf("%w: journal %d has no leader here", metadata.ErrUnavailable, id)
		}
		if err := j.leader.Reconcile(ctx, *w); err != nil {
			return fmt.Errorf("%w: journal %d: %w", metadata.ErrUnavailable, id, err)
		}
	}
	return nil
}
