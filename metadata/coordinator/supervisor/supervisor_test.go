package supervisor

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/metadata/coordinator/shard/shardtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
)

// rig is a Supervisor over a topic with two partitions, both open in one journal.
type rig struct {
	*Supervisor[*shardtest.Registers]
	options Options[*shardtest.Registers]
	topics  *topics
	journal *fakeJournal
	shards  []*fakeShard // started so far
	closed  int
}

// newRig lets change set the options before the Supervisor is made.
func newRig(change func(r *rig)) *rig {
	r := &rig{topics: &topics{journals: []uint32{1}}, journal: newJournal()}
	r.topics.create(topicA, 2)
	r.open(0, 1)
	r.options = Options[*shardtest.Registers]{
		Topic: metadata.NewConsumerOffsets(), Metadata: r.topics, Node: func() int32 { return 7 },
		Journal: func(uint32) (Journal, bool) { return r.journal, r.journal.led },
		Machine: func() (*shardtest.Registers, error) { return shardtest.New(), nil },
		Start:   r.start,
		Create:  func(context.Context, metadata.NewTopic) error { return nil },
		Leader:  func(context.Context, *metadata.Topic, int32) int32 { return 7 },
	}
	if change != nil {
		change(r)
	}
	r.Supervisor = New(r.options)
	return r
}

func (r *rig) open(partitions ...int32) {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	for _, p := range partitions {
		r.journal.open[partlog.Key{Topic: topicA, Index: p}] = true
	}
}

func (r *rig) start(t Tenure, m *shardtest.Registers) (Shard, error) {
	s := &fakeShard{tenure: t, machine: m, reported: map[[16]byte]int{}, onClose: func() { r.closed++ }}
	r.shards = append(r.shards, s)
	return s, nil
}

func (r *rig) expectLed(t *testing.T, want ...int32) {
	t.Helper()
	if got := r.Led(); !reflect.DeepEqual(got, want) {
		t.Errorf("led are %v, want %v", got, want)
	}
}

func TestRunFollowsTheMetadataUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(nil)
		topic := r.topics.internal
		r.topics.internal = nil
		wake := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx, wake) }()
		time.Sleep(time.Hour)
		r.expectLed(t)

		delete(r.journal.open, partlog.Key{Topic: topicA, Index: 1})
		r.topics.set(topic)
		wake <- struct{}{}
		synctest.Wait()
		r.expectLed(t, 0)
		r.open(1)
		time.Sleep(openPause)
		synctest.Wait()
		r.expectLed(t, 0, 1)

		cancel()
		<-done
		if r.expectLed(t); r.closed != 2 {
			t.Errorf("%d of 2 coordinators are closed", r.closed)
		}
	})
}

func TestAFailedStartIsReportedAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		damaged := errors.New("the snapshot is damaged")
		reports := 0
		var fails atomic.Bool
		fails.Store(true)
		r := newRig(func(r *rig) {
			r.options.Start = func(tn Tenure, m *shardtest.Registers) (Shard, error) {
				if fails.Load() && tn.Key.Index == 0 {
					return nil, damaged
				}
				return r.start(tn, m)
			}
			r.options.OnFailed = func(err error) {
				if reports++; !errors.Is(err, damaged) {
					t.Errorf("reported is %v", err)
				}
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx, nil) }()
		synctest.Wait()
		r.expectLed(t, 1)
		fails.Store(false)
		time.Sleep(openPause)
		synctest.Wait()
		if r.expectLed(t, 0, 1); reports != 1 {
			t.Errorf("%d failures are reported, want 1", reports)
		}
		cancel()
		<-done
	})
}

// slowRig has Start wait until the channel is closed.
func slowRig() (*rig, chan struct{}) {
	goOn := make(chan struct{})
	return newRig(func(r *rig) {
		r.options.Start = func(tn Tenure, m *shardtest.Registers) (Shard, error) {
			<-goOn
			return r.start(tn, m)
		}
	}), goOn
}

func TestCloseStopsACoordinatorThatIsBeingStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, goOn := slowRig()
		go func() { _, _ = r.Look() }()
		synctest.Wait()
		go r.Close()
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		if len(r.shards) != 2 || r.closed != 2 {
			t.Errorf("%d coordinators were started, %d closed", len(r.shards), r.closed)
		}
		r.expectLed(t)
	})
}

// A list of groups without those of a coordinator that is being started would be
// taken as complete.
func TestAListWaitsForCoordinatorsThatAreBeingStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, goOn := slowRig()
		go func() { _, _ = r.Look() }()
		synctest.Wait()
		led := make(chan []int32, 1)
		go func() { led <- r.Led() }()
		synctest.Wait()
		close(goOn)
		if got := <-led; !reflect.DeepEqual(got, []int32{0, 1}) {
			t.Errorf("led are %v, want all", got)
		}
	})
}

func TestARequestWaitsForACoordinatorThatIsBeingStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, goOn := slowRig()
		go func() { _, _ = r.Look() }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Prove(ctx, []int32{0})[0]; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("gave up with %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- r.Prove(t.Context(), []int32{0})[0] }()
		synctest.Wait()
		close(goOn)
		if err := <-done; err != nil {
			t.Errorf("once it runs: %v", err)
		}
	})
}

func TestTheTopicIsCreatedOnce(t *testing.T) {
	const clients = 5
	var created atomic.Int64
	r := newRig(func(r *rig) {
		topic := r.topics.internal
		r.topics.internal = nil
		r.options.Create = func(context.Context, metadata.NewTopic) error {
			for r.topics.asked.Load() < clients { // until others have found no topic, too
				runtime.Gosched()
			}
			created.Add(1)
			r.topics.set(topic)
			return nil
		}
	})
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			if broker, err := r.Coordinator(t.Context(), "g"); broker != 7 || err != nil {
				t.Errorf("coordinator %d, %v", broker, err)
			}
		})
	}
	wg.Wait()
	if created.Load() != 1 {
		t.Errorf("created %d times", created.Load())
	}
	r.expectLed(t, 0, 1)
}

func TestPartitionsOfIDs(t *testing.T) {
	r := newRig(nil)
	if a, b := r.Partition("a"), r.Partition("b"); a != 1 || b != 0 {
		t.Errorf("partitions of a and b are %d and %d", a, b)
	}
	r.topics.internal = nil
	if p := r.Partition("a"); p != -1 {
		t.Errorf("partition %d of no topic", p)
	}
}

func TestCoordinatorsAreFoundOrNot(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(r *rig)
		broker int32
		err    error
	}{
		"here":      {func(*rig) {}, 7, nil},
		"deposed":   {func(r *rig) { r.journal.confirmed = journal.ErrEnded }, -1, nil},
		"not known": {func(r *rig) { r.journal.confirmed = errors.New("the store is away") }, 7, nil},
		"only reads": {func(r *rig) {
			r.options.Create = nil
			r.topics.internal = nil
		}, 7, nil},
		"created by another": {func(r *rig) {
			topic := r.topics.internal
			r.topics.internal = nil
			r.options.Create = func(context.Context, metadata.NewTopic) error {
				r.topics.internal = topic
				return metadata.ErrTopicExists
			}
		}, 7, nil},
		"not created": {func(r *rig) {
			r.topics.internal = nil
			r.options.Create = func(context.Context, metadata.NewTopic) error { return metadata.ErrUnavailable }
		}, -1, coordinator.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(tc.change)
			_, _ = r.Look()
			if broker, err := r.Coordinator(t.Context(), "g"); broker != tc.broker || !errors.Is(err, tc.err) {
				t.Errorf("coordinator %d, %v; want %d, %v", broker, err, tc.broker, tc.err)
			}
		})
	}
}

func TestRequestsGetATurnOrAnError(t *testing.T) {
	r := newRig(nil)
	called := 0
	do := func(ctx context.Context) error {
		return r.Do(ctx, 1, func(m *shardtest.Registers, _ coordinator.Out) {
			if called++; m != r.shards[1].machine {
				t.Error("another partition's machine")
			}
		})
	}
	if err := do(t.Context()); !errors.Is(err, coordinator.ErrNotCoordinator) {
		t.Errorf("without a coordinator: %v", err)
	}
	_, _ = r.Look()
	if err := do(t.Context()); err != nil || called != 1 {
		t.Errorf("%d turns, %v", called, err)
	}
	r.shards[1].err = coordinator.ErrLoading
	if err := do(t.Context()); !errors.Is(err, coordinator.ErrLoading) || called != 1 {
		t.Errorf("while it loads: %d turns, %v", called, err)
	}
	if err := r.Prove(t.Context(), []int32{1})[0]; !errors.Is(err, coordinator.ErrLoading) {
		t.Errorf("proof while it loads: %v", err)
	}
	n := 0
	if r.Each(func(shard.Stats) { n++ }); n != 2 {
		t.Errorf("%d of 2 coordinators are counted", n)
	}
}

func TestATurnThatComesTooLateIsNotTaken(t *testing.T) {
	r := newRig(nil)
	_, _ = r.Look()
	s := r.shards[0]
	s.keeps = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := r.Do(ctx, 0, func(*shardtest.Registers, coordinator.Out) { t.Error("the turn is taken after Do has returned") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	s.turns[0](nil, nil)
}

// TestPartitionsShareTheProofOfTheirJournal: a coordinator is asked only after it.
func TestPartitionsShareTheProofOfTheirJournal(t *testing.T) {
	r := newRig(func(*rig) {})
	_, _ = r.Look()
	for round := 1; round <= 2; round++ {
		errs := r.Prove(t.Context(), []int32{0, 1, 99})
		if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], coordinator.ErrNotCoordinator) || r.journal.proofs != round {
			t.Errorf("request %d: %v after %d proofs", round, errs, r.journal.proofs)
		}
	}
	for _, s := range r.shards {
		s.keeps = true // an answer would never come
	}
	for proof, want := range map[error]error{errors.New("no store"): coordinator.ErrUnavailable, journal.ErrEnded: coordinator.ErrNotCoordinator} {
		r.journal.proof = proof
		for partition, err := range r.Prove(t.Context(), []int32{0, 1}) {
			if !errors.Is(err, want) {
				t.Errorf("partition %d, proof %v: %v, want %v", partition, proof, err, want)
			}
		}
	}
}

// A journal may be lost between the look and the start. That is no failure.
func TestAJournalThatIsLostBeforeTheStartIsLookedAtAgain(t *testing.T) {
	lost := true
	r := newRig(nil)
	start := r.options.Start
	r.options.Start = func(t Tenure, m *shardtest.Registers) (Shard, error) {
		if lost {
			return nil, coordinator.ErrNotCoordinator
		}
		return start(t, m)
	}
	r.Supervisor = New(r.options)
	if again, err := r.Look(); !again || err != nil {
		t.Errorf("looks again: %v, fails with %v", again, err)
	}
	lost = false
	if again, err := r.Look(); again || err != nil {
		t.Errorf("looks again: %v, fails with %v", again, err)
	}
	r.expectLed(t, 0, 1)
}
