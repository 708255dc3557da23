package metadata

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

func TestUndoneIsReportedWhenAJournalMakesNoProgressForLong(t *testing.T) {
	reports, said := NewReports(), []error(nil)
	l := newLeading(LeaderOptions{State: New(), Reconciled: reports, OnUndone: func(err error) { said = append(said, err) }}, nil)
	apply(t, l.opt.State, FeatureLevel{1}, JournalCreated{1}, JournalCreated{2})
	begin := time.UnixMilli(0)
	after := func(d time.Duration) time.Time { return l.watchUndone(begin.Add(d)) }
	if !after(0).IsZero() {
		t.Error("something is to be done in a cluster without topics")
	}
	apply(t, l.opt.State, topicNamed(topicA, "a"))
	if !after(0).IsZero() {
		t.Error("a journal without a leader is waited for")
	}
	reports.Leads(1, true)
	if next := after(time.Second); !next.Equal(begin.Add(time.Second + undonePatience)) {
		t.Errorf("looks again at %v", next)
	}
	reports.Report(1, 1) // slow, but it makes progress
	after(undonePatience)
	if after(undonePatience + time.Second); len(said) > 0 {
		t.Errorf("reported %v, though the journal made progress", said)
	}
	after(2 * undonePatience)
	if after(3 * undonePatience); len(said) != 1 || said[0] == nil {
		t.Errorf("reported %v, want one trouble", said)
	}
	reports.Report(1, 2)
	if after(3 * undonePatience); len(said) != 2 || said[1] != nil {
		t.Errorf("reported %v, want that the trouble is over", said)
	}
}

func TestAPurgeThatIsNotCommittedIsUndone(t *testing.T) {
	reports, said := NewReports(), []error(nil)
	l := newLeading(LeaderOptions{State: New(), Reconciled: reports, OnUndone: func(err error) { said = append(said, err) }}, nil)
	apply(t, l.opt.State, FeatureLevel{1}, JournalCreated{1}, topicNamed(topicA, "a"), TopicDeleted{topicA})
	reports.Report(1, 1)
	l.watchUndone(time.UnixMilli(0))
	if l.watchUndone(time.UnixMilli(0).Add(undonePatience)); len(said) != 1 {
		t.Errorf("reported %v, want one trouble", said)
	}
}

// TestAnswersWaitForTheJournalsConcerned drives a Leader as clients do.
func TestAnswersWaitForTheJournalsConcerned(t *testing.T) {
	reports := NewReports()
	reports.Leads(1, true)
	l := StartLeader(LeaderOptions{
		Store: mem.New(time.Now, nil), State: New(), Defaults: Defaults{Partitions: 1, ReplicationFactor: 1}, Log: slog.New(slog.DiscardHandler),
		Committed: func(*journal.Object) {}, Reconciled: reports,
		Journal: journal.Config{
			Chain: journal.NewChain(segment.ID{1}, 0, 4), Node: segment.ID{3}, Incarnation: segment.NewID(),
			NewID: segment.NewID, NowMs: func() int64 { return 1 },
		},
	})
	defer l.Close()
	<-l.Ready()
	topic := []NewTopic{{Name: "a", Partitions: 2, ReplicationFactor: 1}}
	within := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		t.Cleanup(cancel)
		return ctx
	}
	if res := l.ForClients().CreateTopics(within(50*time.Millisecond), topic, true); res[0].Err != nil {
		t.Errorf("a check waits for journals: %v", res[0].Err)
	}
	if res := l.ForClients().CreateTopics(within(50*time.Millisecond), topic, false); !errors.Is(res[0].Err, ErrUnavailable) {
		t.Errorf("%v before the partitions are open, want %v", res[0].Err, ErrUnavailable)
	}
	created, _ := l.opt.State.Topic("a")
	go reports.Report(1, l.opt.State.Head())
	if err := l.Settle(within(time.Minute)); err != nil {
		t.Error(err)
	}
	if errs := l.DeleteTopics(within(50*time.Millisecond), []segment.ID{created.ID}); !errors.Is(errs[0], ErrUnavailable) {
		t.Errorf("%v before the partitions are sealed, want %v", errs[0], ErrUnavailable)
	}
	if res := l.CreateTopics(within(time.Minute), topic, false); !errors.Is(res[0].Err, ErrTopicExists) {
		t.Errorf("%v while the topic is being deleted, want %v", res[0].Err, ErrTopicExists)
	}
	go reports.Report(1, l.opt.State.Head())
	if err := l.Settle(within(time.Minute)); err != nil || l.opt.State.has(created.ID) {
		t.Errorf("%v, or the topic is not purged", err)
	}
	reports.Leads(1, false)
	if res := l.CreateTopics(within(time.Minute), topic, false); res[0].Err != nil {
		t.Errorf("%v in a journal without a leader", res[0].Err)
	}
}

func TestClientsMayNotTouchInternalTopics(t *testing.T) {
	l := startController(t, mem.New(time.Now, nil), journal.CheckpointPolicy{})
	defer l.Close()
	names := []NewTopic{{Name: "a", Partitions: 1, ReplicationFactor: 1}, {Name: ConsumerOffsets, Partitions: 1, ReplicationFactor: 1}}
	results := l.ForClients().CreateTopics(t.Context(), names, false)
	if results[0].Err != nil || !errors.Is(results[1].Err, ErrInternalTopic) {
		t.Errorf("%+v", results)
	}
	results = l.CreateTopics(t.Context(), names[1:], false)
	if results[0].Err != nil {
		t.Fatal(results[0].Err)
	}
	if errs := l.ForClients().DeleteTopics(t.Context(), []segment.ID{results[0].Topic.ID}); !errors.Is(errs[0], ErrInternalTopic) {
		t.Error(errs[0])
	}
}
