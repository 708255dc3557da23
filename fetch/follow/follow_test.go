package follow

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

var testChain = journal.NewChain(segment.ID{1}, 0, 4)

// slowFloors is a store that answers nothing about the floor of journal 0 for a while. A
// process that stands still between the end of the log and the floor sees it so.
type slowFloors struct {
	objstore.Store
	holding atomic.Bool
	asked   chan struct{} // holding, and a floor of journal 0 is asked for
	release chan struct{} // the answer waits for this
}

func (s *slowFloors) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, segment.FloorPrefix(0)) && s.holding.Load() {
		select {
		case s.asked <- struct{}{}:
		default:
		}
		select {
		case <-s.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Store.Get(ctx, key)
}

func lead(t *testing.T, store objstore.Store) *metadata.Leader {
	leader := metadata.StartLeader(metadata.LeaderOptions{
		Store: store, State: metadata.New(), Log: slog.New(slog.DiscardHandler), Defaults: metadata.Defaults{Partitions: 1, ReplicationFactor: 1},
		Committed: func(*journal.Object) {},
		Journal: journal.Config{
			Chain: testChain, Node: segment.NewID(), Incarnation: segment.NewID(), NewID: segment.NewID, NowMs: func() int64 { return 1 },
		},
	})
	t.Cleanup(leader.Close)
	<-leader.Ready()
	return leader
}

// options follow a store. Failures go to the channel.
func options(store objstore.Store) (Options, chan error) {
	failed := make(chan error, 1)
	return Options{
		Store: store, Meta: metadata.New(), Poll: func() time.Duration { return 10 * time.Millisecond }, Log: slog.New(slog.DiscardHandler),
		Load: func(ctx context.Context, id uint32) (journal.Config, *journal.Checkpoint, error) {
			cfg := journal.Config{Chain: journal.NewChain(testChain.Cluster, id, int(testChain.Window))}
			c, err := journal.LoadCheckpoint(ctx, store, cfg.Chain, nil)
			if c != nil {
				cfg.Chain, cfg.History = c.Chain, c.History
			}
			return cfg, c, err
		},
		Stays:     func(error) bool { return false },
		OnApplied: func(*journal.Object) {}, OnMetadata: func() {}, OnShown: func(uint32, Journal) {},
		OnFailed: func(err error) { failed <- err },
	}, failed
}

func createTopic(t *testing.T, leader *metadata.Leader, name string) {
	t.Helper()
	if res := leader.CreateTopics(t.Context(), []metadata.NewTopic{{Name: name, Partitions: 1, ReplicationFactor: 1}}, false); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
}

func TestAFollowerThatFallsBelowTheFloorBeginsAgain(t *testing.T) {
	store := mem.New(time.Now, nil)
	leader := lead(t, store)
	slow := &slowFloors{Store: store, asked: make(chan struct{}, 1), release: make(chan struct{})}
	opt, failed := options(slow)
	shown := make(chan uint32, 10)
	opt.OnShown = func(id uint32, _ Journal) { shown <- id }
	f := New(opt)
	defer f.Close()
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id := <-shown; id != 1 {
		t.Errorf("journal %d is shown, want journal 1", id)
	}

	slow.holding.Store(true)
	<-slow.asked // it looks by itself, and finds nothing
	for i := range 3 {
		createTopic(t, leader, fmt.Sprintf("t%d", i))
	}
	moveFloor(t, store)
	close(slow.release)
	for end := time.Now().Add(time.Minute); len(opt.Meta.Topics()) < 3; time.Sleep(time.Millisecond) {
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the node knows %d topics at seq %d", len(opt.Meta.Topics()), opt.Meta.Head())
		}
	}
}

// moveFloor moves the floor of journal 0 to its head.
func moveFloor(t *testing.T, store objstore.Store) {
	t.Helper()
	chain, state := testChain, metadata.New()
	for {
		o, err := journal.ReadObject(t.Context(), store, 0, chain.Next)
		if err != nil {
			break
		}
		verdict, err := chain.Check(&o.Footer.Header)
		if err == nil {
			err = state.Apply(o.Footer, o.Entries)
		}
		if err != nil {
			t.Fatal(err)
		}
		chain.Advance(&o.Footer.Header, verdict)
	}
	writer := journal.NewCheckpointer(journal.CheckpointerOptions{NewID: segment.NewID})
	job := journal.CheckpointJob{Chain: chain, State: state.Encode()}
	if res := writer.Write(t.Context(), store, job); res.Err != nil {
		t.Fatal(res.Err)
	}
	key := segment.CheckpointKey(0, chain.Last)
	b, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	floor, err := segment.EncodeFloor(segment.Floor{
		N: 1, Floor: chain.Next, Checkpoint: key, Hash: sha256.Sum256(b), Object: segment.NewID(), Cluster: testChain.Cluster,
	})
	if err == nil {
		err = store.Create(t.Context(), segment.FloorKey(0, 1), objstore.Plain(floor))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestErrorsOfAStartAreReturned: a supervisor starts the node again.
func TestErrorsOfAStartAreReturned(t *testing.T) {
	opt, failed := options(mem.New(time.Now, nil))
	away := errors.New("no route to host")
	opt.Load = func(context.Context, uint32) (journal.Config, *journal.Checkpoint, error) {
		return journal.Config{}, nil, away
	}
	f := New(opt)
	defer f.Close()
	if err := f.Start(t.Context()); !errors.Is(err, away) || len(failed) > 0 {
		t.Errorf("Start returns %v, %d errors are reported", err, len(failed))
	}
}

// TestABucketThatIsAwayDoesNotEndANodeThatReads: it goes on with the objects that
// it has applied, and ends for errors that stay only.
func TestABucketThatIsAwayDoesNotEndANodeThatReads(t *testing.T) {
	store := mem.New(time.Now, nil)
	leader := lead(t, store)
	opt, failed := options(store)
	var fails atomic.Int32
	load, stays := opt.Load, errors.New("damaged")
	opt.Stays = func(err error) bool { return errors.Is(err, stays) }
	opt.Load = func(ctx context.Context, id uint32) (journal.Config, *journal.Checkpoint, error) {
		switch {
		case id != 1:
		case fails.Add(-1) > 0:
			return journal.Config{}, nil, errors.New("no route to host")
		case fails.Load() == 0:
			return journal.Config{}, nil, stays
		}
		return load(ctx, id)
	}
	f := New(opt)
	defer f.Close()
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	fails.Store(3)
	f.post(func() { f.core.grew(1) })
	if err := <-failed; !errors.Is(err, stays) || fails.Load() != 0 {
		t.Errorf("ended by %v, with %d errors left", err, fails.Load())
	}
	createTopic(t, leader, "read-on")
	for {
		if _, ok := f.Topics().Topic("read-on"); ok {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCloseAtAnyMoment(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Log("seed", seed)
	r := rand.New(rand.NewSource(seed))
	store := mem.New(time.Now, nil)
	lead(t, store)
	for range 50 {
		opt, failed := options(store)
		f := New(opt)
		go func() {
			for range 5 {
				f.Poke(0)
				f.post(func() {
					if f.core.journals[1] != nil {
						f.core.grew(1)
					}
				})
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.Intn(2000))*time.Microsecond)
		if err := f.Start(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		f.Close()
		if len(failed) > 0 {
			t.Fatal(<-failed)
		}
	}
}
