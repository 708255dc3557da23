package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// startController starts one on a bucket, from its newest checkpoint.
func startController(t *testing.T, store *mem.Store, policy journal.CheckpointPolicy) *Leader {
	t.Helper()
	cfg := journal.Config{
		Chain: journal.NewChain(segment.ID{1}, 0, 4), Node: segment.ID{3}, Incarnation: segment.NewID(),
		NewID: segment.NewID, NowMs: func() int64 { return time.Now().UnixMilli() },
	}
	state := New()
	c, err := journal.LoadCheckpoint(t.Context(), store, cfg.Chain, nil)
	if err == nil && c != nil {
		cfg.Chain, cfg.History = c.Chain, c.History
		err = state.Restore(c.State)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := StartLeader(LeaderOptions{
		Store: store, Journal: cfg, State: state, Defaults: Defaults{Partitions: 1, ReplicationFactor: 1},
		Committed: func(*journal.Object) {}, Checkpoints: policy, Log: slog.New(slog.DiscardHandler),
	})
	select {
	case <-l.Ready():
	case <-l.Done():
		t.Fatal(l.Err())
	}
	return l
}

func TestAControllerMovesTheFloorAndStartsFromIt(t *testing.T) {
	store := mem.New(time.Now, nil)
	policy := journal.CheckpointPolicy{Every: 2, Most: 3, Behind: 1}
	l := startController(t, store, policy)
	topics := 0
	create := func() error {
		results := l.CreateTopics(t.Context(), []NewTopic{{Name: fmt.Sprintf("t%d", topics), Partitions: -1, ReplicationFactor: -1}}, false)
		if results[0].Err == nil {
			topics++
		}
		return results[0].Err
	}
	var floor segment.Floor
	for n := uint64(1); n < 3; n++ {
		b, ok := store.GetNow(segment.FloorKey(0, n))
		for ; !ok; b, ok = store.GetNow(segment.FloorKey(0, n)) {
			if err := create(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if floor, err = segment.DecodeFloor(b); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	for _, i := range store.ListNow(segment.CheckpointPrefix(0)) {
		if i.Key > floor.Checkpoint {
			store.DeleteNow(i.Key)
		}
	}
	l = startController(t, store, policy)
	if n := len(l.opt.State.Topics()); n != topics {
		t.Fatalf("%d topics after a start without hints, want %d", n, topics)
	}
	for taken := true; taken; { // the next floor is another controller's
		floor.N, floor.Floor, floor.Object = floor.N+1, 1<<20, segment.ID{66}
		b, err := segment.EncodeFloor(floor)
		if err != nil {
			t.Fatal(err)
		}
		taken = store.CreateNow(segment.FloorKey(0, floor.N), b) != nil
	}
	for create() == nil {
	}
	<-l.Done()
	if !errors.Is(l.Err(), journal.ErrFenced) {
		t.Fatalf("ended with %v, want %v", l.Err(), journal.ErrFenced)
	}
}

// handOver has a controller hand over, and returns the answer.
func handOver(t *testing.T, l *Leader, d time.Duration) chan error {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	answer := make(chan error, 1)
	go func() {
		defer cancel()
		answer <- l.HandOver(ctx, segment.ID{8})
	}()
	return answer
}

// handingController is one that follows on after a leadership, and may write end entries.
func handingController(t *testing.T, store *mem.Store) *Leader {
	return controllerOf(t, store, New())
}

func controllerOf(t *testing.T, store *mem.Store, s *State, change ...func(*LeaderOptions)) *Leader {
	t.Helper()
	l := followerOf(store, s, change...)
	t.Cleanup(l.Close)
	<-l.AtHead()
	if l.Leads() {
		t.Fatal("leads before it was asked to")
	}
	lead(t, l)
	return l
}

func followerOf(store *mem.Store, s *State, change ...func(*LeaderOptions)) *Leader {
	opt := LeaderOptions{
		Store: store, State: s, Defaults: Defaults{Partitions: 1, ReplicationFactor: 1}, Committed: func(*journal.Object) {},
		Journal: journal.Config{
			Chain: journal.NewChain(segment.ID{1}, 0, 4), Node: segment.ID{3}, NewID: segment.NewID,
			NowMs: func() int64 { return time.Now().UnixMilli() }, Ends: func() bool { return true },
		},
		Pace:   journal.NewPace(func() time.Duration { return 10 * time.Millisecond }),
		OnLost: func(error) error { return nil }, Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&opt)
	}
	return FollowLeader(opt)
}

// lead has a controller that follows lead.
func lead(t *testing.T, l *Leader) {
	t.Helper()
	if err := l.LeadPatiently(t.Context(), segment.NewID()); err != nil {
		t.Fatal(err)
	}
	for !l.Leads() {
		time.Sleep(time.Millisecond)
	}
}

// A hand-over that is not done in time is taken back.
func TestAControllerHandsOver(t *testing.T) {
	var held atomic.Bool
	release := make(chan struct{})
	store := mem.New(time.Now, func(c mem.Call) mem.Action {
		if c.Op == objstore.OpCreate && held.Load() {
			<-release
		}
		return mem.Action{}
	})
	l := handingController(t, store)
	create := func(name string) chan error {
		answer := make(chan error, 1)
		go func() {
			answer <- l.CreateTopics(t.Context(), []NewTopic{{Name: name, Partitions: -1, ReplicationFactor: -1}}, false)[0].Err
		}()
		return answer
	}
	if err := <-create("a"); err != nil {
		t.Fatal(err)
	}
	held.Store(true)
	planned := create("b")
	until := func(holds func(*leading) bool) {
		for answer := make(chan bool, 1); ; time.Sleep(time.Millisecond) {
			_ = l.loop.Do(t.Context(), func() { answer <- holds(l.life.leading) })
			if <-answer {
				return
			}
		}
	}
	until(func(l *leading) bool { return len(l.proposed) > 0 })
	if err := <-handOver(t, l, 10*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("handed over with a change under way: %v", err)
	}
	answer := handOver(t, l, time.Minute)
	until(func(l *leading) bool { return l.next != nil })
	if err := atOnce(t, l, &command{plan: func(*Controller) ([]segment.Entry, error) {
		t.Error("plans while it hands over")
		return nil, nil
	}}); !errors.Is(err, ErrNotController) {
		t.Errorf("answers %v while it hands over, want %v", err, ErrNotController)
	}
	held.Store(false)
	close(release)
	if err := <-planned; err != nil {
		t.Error(err)
	}
	if err := <-answer; err != nil || l.Leads() {
		t.Errorf("leads %v: %v", l.Leads(), err)
	}
	lead(t, l)
	if err := <-create("d"); err != nil {
		t.Error(err)
	}
}

// atOnce is the answer of a command that waits for nothing; nil: it waits.
func atOnce(t *testing.T, l *Leader, cmd *command) error {
	cmd.done = make(chan error, 1)
	answer := make(chan error, 1)
	_ = l.loop.Do(t.Context(), func() {
		l.life.take(cmd)
		select {
		case err := <-cmd.done:
			answer <- err
		default:
			answer <- nil
		}
	})
	return <-answer
}

// TestCommittedChangesAreSuccessAtAHandOver: data journals follow them under any controller.
// That a deleted topic takes no records is not known.
func TestCommittedChangesAreSuccessAtAHandOver(t *testing.T) {
	reports := NewReports()
	l := controllerOf(t, mem.New(time.Now, nil), New(), func(o *LeaderOptions) { o.Reconciled = reports })
	topics := []NewTopic{{Name: "a", Partitions: 1, ReplicationFactor: 1}}
	gone := l.CreateTopics(t.Context(), []NewTopic{{Name: "gone", Partitions: 1, ReplicationFactor: 1}}, false)[0].Topic
	reports.Leads(1, true) // from now on, and it follows nothing
	created, grown, deleted, settled := make(chan error, 1), make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { created <- l.CreateTopics(t.Context(), topics, false)[0].Err }()
	waits := func(n int) {
		for answer := make(chan int, 1); ; time.Sleep(time.Millisecond) {
			_ = l.loop.Do(t.Context(), func() { answer <- len(l.life.leading.following) })
			if <-answer == n {
				return
			}
		}
	}
	waits(1)
	go func() { grown <- l.CreatePartitions(t.Context(), []NewPartitions{{Topic: "a", Count: 2}}, false)[0] }()
	go func() { deleted <- l.DeleteTopics(t.Context(), []segment.ID{gone.ID})[0] }()
	waits(3)
	go func() { settled <- l.Settle(t.Context()) }()
	waits(4)
	if err := <-handOver(t, l, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-created, <-grown); err != nil {
		t.Errorf("a committed change: %v", err)
	}
	if d, s := <-deleted, <-settled; !errors.Is(d, ErrUnavailable) || !errors.Is(s, ErrUnavailable) {
		t.Errorf("deleted %v, settled %v, want %v: a partition may take records", d, s, ErrUnavailable)
	}
}

func TestAHandOverBelongsToOneLeadership(t *testing.T) {
	l := handingController(t, mem.New(time.Now, nil))
	first := l.life.leading
	if err := <-handOver(t, l, time.Minute); err != nil {
		t.Fatal(err)
	}
	lead(t, l)
	asked := make(chan bool, 1)
	_ = l.loop.Do(t.Context(), func() {
		asked <- first.goOnLeading()
	})
	if <-asked {
		t.Error("the leadership before takes back the hand-over of this one")
	}
}
