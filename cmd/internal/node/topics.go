package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// topicAdmin is the controller's Admin made whole: a topic is created when the
// journals of its partitions take records of them, and gone when they have
// sealed them and its name is free again.
//
// What a request could not see through before its time was up, such as while the
// bucket was away, is finished in the background.
//
// Invariant: nobody opens partitions of a topic he has looked up while somebody
// else deletes it, or a topic that is forgotten would stay open in a journal.
// Whoever opens has a share of gate, whoever deletes all of it.
type topicAdmin struct {
	*metadata.Leader
	meta     *metadata.State
	journals *journals
	board    *health.Board
	gate     *semaphore.Weighted
	undone   chan struct{} // capacity 1: something is to be finished
}

// What of topicAdmin.gate is needed to open partitions, and to delete topics.
const (
	toOpen   = 1
	toDelete = 1 << 30
)

func newTopicAdmin(n *node, controller *metadata.Leader) *topicAdmin {
	return &topicAdmin{
		Leader: controller, meta: n.meta, journals: n.journals, board: n.board,
		gate: semaphore.NewWeighted(toDelete), undone: make(chan struct{}, 1),
	}
}

// enter waits for a part of the gate.
func (a *topicAdmin) enter(ctx context.Context, part int64) (leave func(), err error) {
	if err := a.gate.Acquire(ctx, part); err != nil {
		return nil, fmt.Errorf("%w: other topics are being changed: %w", metadata.ErrUnavailable, err)
	}
	return func() { a.gate.Release(part) }, nil
}

const (
	settlePause = 2 * time.Second
	settleLimit = time.Minute
)

// finishUndone runs until the function it returns is called, which waits.
func (a *topicAdmin) finishUndone() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			select {
			case <-a.undone:
				a.settleLater(ctx)
			case <-ctx.Done():
			}
		}
	}()
	return func() error {
		cancel()
		<-done
		return nil
	}
}

func (a *topicAdmin) settleLater(ctx context.Context) {
	select {
	case <-time.After(settlePause):
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := a.settle(ctx); err != nil {
		a.board.Raise(health.Topics, "", false, fmt.Sprintf("topics are not all opened or deleted yet, trying again: %v", err))
		a.remember()
		return
	}
	a.board.Clear(health.Topics, "")
}

// remember has what was left undone finished later.
func (a *topicAdmin) remember() {
	select {
	case a.undone <- struct{}{}:
	default:
	}
}

// rememberUnknown remembers a change of the metadata that may be committed, now or
// later, though its request has ended without knowing.
func (a *topicAdmin) rememberUnknown(err error) {
	if errors.Is(err, metadata.ErrUnavailable) {
		a.remember()
	}
}

// CreateTopics commits the topics and opens their partitions.
func (a *topicAdmin) CreateTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) []metadata.CreateResult {
	return refusing(topics, func(t metadata.NewTopic) error { return metadata.CheckClientName(t.Name) },
		func(err error) metadata.CreateResult { return metadata.CreateResult{Err: err} },
		func(topics []metadata.NewTopic) []metadata.CreateResult { return a.create(ctx, topics, validateOnly) })
}

// refusing calls do for what refuse finds no error in. The results of the others
// are made of their errors.
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

// create is CreateTopics for all topics, internal ones too.
func (a *topicAdmin) create(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) []metadata.CreateResult {
	leave, err := a.enter(ctx, toOpen)
	if err != nil {
		return slices.Repeat([]metadata.CreateResult{{Err: err}}, len(topics))
	}
	defer leave()
	results := a.Leader.CreateTopics(ctx, topics, validateOnly)
	if validateOnly {
		return results
	}
	var created []*metadata.Topic
	for _, r := range results {
		if r.Err == nil {
			created = append(created, r.Topic)
		}
		a.rememberUnknown(r.Err)
	}
	if err := a.reconcile(ctx, created, nil); err != nil {
		a.remember()
		for i := range results {
			if results[i].Err == nil {
				results[i] = metadata.CreateResult{Err: err}
			}
		}
	}
	return results
}

// CreatePartitions commits the partitions and opens them.
func (a *topicAdmin) CreatePartitions(ctx context.Context, more []metadata.NewPartitions, validateOnly bool) []error {
	leave, err := a.enter(ctx, toOpen)
	if err != nil {
		return slices.Repeat([]error{err}, len(more))
	}
	defer leave()
	errs := a.Leader.CreatePartitions(ctx, more, validateOnly)
	if validateOnly {
		return errs
	}
	var grown []*metadata.Topic
	for i, n := range more {
		a.rememberUnknown(errs[i])
		if t, ok := a.meta.Topic(n.Topic); ok && errs[i] == nil {
			grown = append(grown, t)
		}
	}
	if err := a.reconcile(ctx, grown, nil); err != nil {
		a.remember()
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
	}
	return errs
}

// DeleteTopics commits the deletions, seals the partitions, and frees the names.
func (a *topicAdmin) DeleteTopics(ctx context.Context, ids []segment.ID) []error {
	return refusing(ids, a.internal, func(err error) error { return err }, func(ids []segment.ID) []error { return a.delete(ctx, ids) })
}

func (a *topicAdmin) internal(id segment.ID) error {
	if t, ok := a.meta.TopicByID(id); ok && t.Internal() {
		return metadata.ErrInternalTopic
	}
	return nil
}

func (a *topicAdmin) delete(ctx context.Context, ids []segment.ID) []error {
	leave, err := a.enter(ctx, toDelete)
	if err != nil {
		return slices.Repeat([]error{err}, len(ids))
	}
	defer leave()
	errs := a.Leader.DeleteTopics(ctx, ids)
	for _, err := range errs {
		a.rememberUnknown(err)
	}
	places := map[segment.ID]int{}
	for i, id := range ids {
		if errs[i] == nil {
			places[id] = i
		}
	}
	var ours []*metadata.Topic
	for _, t := range a.meta.Deleting() {
		if _, is := places[t.ID]; is {
			ours = append(ours, t)
		}
	}
	if err := a.finishDeleting(ctx, ours); err != nil {
		a.remember()
		for _, t := range ours {
			errs[places[t.ID]] = err
		}
	}
	return errs
}

// finishDeleting seals the partitions of deleted topics, and forgets the topics: with
// one commit in each journal and one of the metadata, however many they are.
func (a *topicAdmin) finishDeleting(ctx context.Context, topics []*metadata.Topic) error {
	if len(topics) == 0 {
		return nil
	}
	if err := a.reconcile(ctx, nil, topics); err != nil {
		return err
	}
	ids := make([]segment.ID, len(topics))
	for i, t := range topics {
		ids[i] = t.ID
	}
	for _, err := range a.Leader.Purge(ctx, ids) {
		if err != nil && !errors.Is(err, metadata.ErrUnknownTopic) { // another call may have finished it
			return err
		}
	}
	return nil
}

// settle does what an earlier controller, or a request whose time was up, left
// undone.
func (a *topicAdmin) settle(ctx context.Context) error {
	// What is to be finished may not be committed yet.
	if err := a.Leader.Await(ctx); err != nil {
		return err
	}
	if err := a.openAll(ctx); err != nil {
		return fmt.Errorf("open partitions: %w", err)
	}
	leave, err := a.enter(ctx, toDelete)
	if err != nil {
		return err
	}
	defer leave()
	if deleting := a.meta.Deleting(); len(deleting) > 0 {
		if err := a.finishDeleting(ctx, deleting); err != nil {
			return fmt.Errorf("finish deleting %d topics, %s the first: %w", len(deleting), deleting[0].Name, err)
		}
	}
	return nil
}

func (a *topicAdmin) openAll(ctx context.Context) error {
	leave, err := a.enter(ctx, toOpen)
	if err != nil {
		return err
	}
	defer leave()
	return a.reconcile(ctx, a.meta.Topics(), nil)
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
