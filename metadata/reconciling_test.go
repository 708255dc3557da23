package metadata

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

func TestUndoneIsReportedWhenAJournalMakesNoProgressForLong(t *testing.T) {
	reports, said := NewReports(), []error(nil)
	l := newLeading(LeaderOptions{State: New(), Reconciled: reports, OnUndone: func(err error) { said = append(said, err) }}, nil)
	apply(t, l.opt.State, FeatureLevel{Level: 1}, JournalCreated{1}, JournalCreated{2})
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
	apply(t, l.opt.State, FeatureLevel{Level: 1}, JournalCreated{1}, topicNamed(topicA, "a"), TopicDeleted{ID: topicA})
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
	// untilCommitted ends when the state shows a change, and the Leader has noticed.
	untilCommitted := func(shown func() bool) context.Context {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			for !shown() {
				time.Sleep(time.Millisecond)
			}
			_, _ = l.NextProducerID(t.Context())
		}()
		return ctx
	}
	there := func() bool { _, ok := l.opt.State.Topic("a"); return ok }
	if res := l.ForClients().CreateTopics(t.Context(), topic, true); res[0].Err != nil {
		t.Errorf("a check waits for journals: %v", res[0].Err)
	}
	bad := append([]NewTopic{{Name: "b", Partitions: 0, ReplicationFactor: 1}}, topic...)
	res := l.ForClients().CreateTopics(untilCommitted(there), bad, false)
	if !errors.Is(res[0].Err, ErrInvalidPartitions) || !errors.Is(res[1].Err, ErrUnavailable) || res[1].Topic != nil {
		t.Errorf("%+v before the partitions are open, want %v and %v", res, ErrInvalidPartitions, ErrUnavailable)
	}
	created, _ := l.opt.State.Topic("a")
	stop := followAll(reports, l.opt.State)
	if err := l.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	errs := l.DeleteTopics(untilCommitted(func() bool { return !there() }), []segment.ID{created.ID, {99}})
	if !errors.Is(errs[0], ErrUnavailable) || !errors.Is(errs[1], ErrUnknownTopic) {
		t.Errorf("%v before the partitions are sealed, want %v and %v", errs, ErrUnavailable, ErrUnknownTopic)
	}
	if res := l.CreateTopics(t.Context(), topic, true); res[0].Err != nil {
		t.Errorf("%v while the topic of this name is being deleted", res[0].Err)
	}
	stop = followAll(reports, l.opt.State)
	if err := l.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(10 * time.Second); l.opt.State.has(created.ID); time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // the entry follows once the journals have reported
			t.Fatal("the topic is not purged")
		}
	}
	stop()
	reports.Leads(1, false)
	if res := l.CreateTopics(t.Context(), topic, false); res[0].Err != nil {
		t.Errorf("%v in a journal without a leader", res[0].Err)
	}
}

// followAll has journal 1 follow everything at once, until stop is called.
func followAll(reports *Reports, s *State) (stop func()) {
	wake, stopping := make(chan struct{}, 1), make(chan struct{})
	unwatch := s.Watch(wake)
	var work sync.WaitGroup
	work.Go(func() {
		defer unwatch()
		for {
			reports.Report(1, s.Head())
			select {
			case <-wake:
			case <-stopping:
				return
			}
		}
	})
	return func() {
		close(stopping)
		work.Wait()
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

// TestSettleSaysWhyTheLeaderEnded: a node that is taken over while it starts ends as one
// that is taken over later.
func TestSettleSaysWhyTheLeaderEnded(t *testing.T) {
	store, reports := mem.New(time.Now, nil), NewReports()
	start := func(node byte) *Leader {
		return StartLeader(LeaderOptions{
			Store: store, State: New(), Defaults: Defaults{Partitions: 1, ReplicationFactor: 1}, Log: slog.New(slog.DiscardHandler),
			Committed: func(*journal.Object) {}, Reconciled: reports,
			Journal: journal.Config{
				Chain: journal.NewChain(segment.ID{1}, 0, 4), Node: segment.ID{node}, Incarnation: segment.NewID(),
				NewID: segment.NewID, NowMs: func() int64 { return 1 },
			},
		})
	}
	first := start(1)
	defer first.Close()
	<-first.Ready()
	reports.Leads(1, true) // and never reports
	settled := make(chan error, 1)
	go func() { settled <- first.Settle(t.Context()) }()
	second := start(2)
	defer second.Close()
	<-second.Ready()
	_ = first.Prove(t.Context())
	if err := <-settled; !errors.Is(err, journal.ErrFenced) {
		t.Errorf("%v, want %v", err, journal.ErrFenced)
	}
}
