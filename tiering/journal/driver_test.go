package journal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// owner runs a Driver as its owners do: one goroutine, one loop.
type owner struct {
	driver  *Live
	led     chan struct{}
	stalled chan uint64
	applied chan segment.Ref
	ended   chan error
	calls   chan func()
	stop    chan struct{}
	done    chan struct{}
	log     bytes.Buffer // of the driver; read once it is quiet
}

func newOwner(t *testing.T, store objstore.Store, cfg Config) *owner {
	o := &owner{
		led: make(chan struct{}), stalled: make(chan uint64, 64), applied: make(chan segment.Ref, 64), ended: make(chan error, 1),
		calls: make(chan func()), stop: make(chan struct{}), done: make(chan struct{}),
	}
	o.driver = NewLive(store, cfg, Hooks{
		Apply:   func(obj *Object, _ bool) error { o.applied <- obj.Ref(); return nil },
		Led:     func(uint32) { close(o.led) },
		AtHead:  func() {},
		Stalled: func(seq uint64) { o.stalled <- seq },
		Ended:   func(err error) { o.ended <- err },
	}, slog.New(slog.NewTextHandler(&o.log, nil)))
	go o.run()
	t.Cleanup(func() {
		close(o.stop)
		<-o.done
	})
	return o
}

func (o *owner) run() {
	defer close(o.done)
	defer o.driver.Close()
	o.driver.Start()
	for {
		select {
		case ev := <-o.driver.Events():
			o.driver.Handle(ev)
		case f := <-o.calls:
			f()
		case <-o.stop:
			return
		}
	}
}

// propose sends a data segment.
func (o *owner) propose(t *testing.T, id segment.ID) {
	o.calls <- func() {
		h := o.driver.Core().Header()
		h.Object = id
		data, footer, err := segment.Build(h, nil, nil)
		if err != nil {
			t.Error(err)
			return
		}
		o.driver.Propose(&Object{Footer: footer}, data)
	}
}

func leaderConfig() Config {
	n := byte(0)
	return Config{
		Lead: true, Chain: NewChain(testCluster, testJournal, testWindow), Node: segment.ID{3}, Incarnation: segment.ID{4},
		NewID: func() segment.ID { n++; return segment.ID{5, n} }, NowMs: func() int64 { return 1 },
	}
}

// An outage of the store on virtual time: the one segment under way is told of as
// stalled after half a minute, proofs fail after a second, and when the store is
// back the segment is committed, once.
func TestDriverGoesThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		store := mem.New(time.Now, func(mem.Call) mem.Action {
			if down.Load() {
				return mem.NeverAnswer()
			}
			return mem.Action{}
		})
		o := newOwner(t, store, leaderConfig())
		<-o.led
		synctest.Wait()
		down.Store(true)
		for len(o.applied) > 0 { // fence and fillers
			<-o.applied
		}
		began := time.Now()
		o.propose(t, segment.ID{9})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.driver.Prove(ctx); err == nil {
			t.Error("proved a head that nobody could look at")
		}
		if seq := <-o.stalled; seq != testWindow+1 {
			t.Errorf("seq %d stalled, want %d", seq, testWindow+1)
		}
		if after := time.Since(began); after < 20*time.Second || after > 40*time.Second {
			t.Errorf("told of the stall after %v, want about half a minute", after)
		}
		down.Store(false)
		if ref := <-o.applied; ref.Object != (segment.ID{9}) {
			t.Errorf("applied %v", ref)
		}
		if err := o.driver.Prove(t.Context()); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		if n := len(store.ListNow(segment.JournalPrefix(testJournal))); n != testWindow+1 {
			t.Errorf("%d objects, want %d", n, testWindow+1)
		}
		synctest.Wait()
		log := o.log.String()
		for _, text := range []string{"journal request failed, trying again", "journal requests succeed again"} {
			if n := strings.Count(log, text); n != 1 {
				t.Errorf("%q was logged %d times, want once:\n%s", text, n, log)
			}
		}
		if strings.Index(log, "trying again") > strings.Index(log, "succeed again") {
			t.Errorf("the last word is not that of the end:\n%s", log)
		}
	})
}

// A write that lands after its sender gave the reply up, and after it sent again,
// is the sender's own all the same.
func TestDriverTakesALateWriteForItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late atomic.Bool
		store := mem.New(time.Now, func(c mem.Call) mem.Action {
			if c.Op == objstore.OpCreate && late.CompareAndSwap(true, false) {
				return mem.LandLate()
			}
			return mem.Action{}
		})
		o := newOwner(t, store, leaderConfig())
		<-o.led
		synctest.Wait()
		for len(o.applied) > 0 {
			<-o.applied
		}
		late.Store(true)
		o.propose(t, segment.ID{9})
		synctest.Wait()
		if err := store.Release(0); err != nil {
			t.Fatal(err)
		}
		if ref := <-o.applied; ref.Object != (segment.ID{9}) {
			t.Errorf("applied %v", ref)
		}
		select {
		case err := <-o.ended:
			t.Errorf("ended: %v", err)
		default:
		}
	})
}

// A follower finds what was committed while nobody told it, by its own clock, and
// Close leaves nothing behind.
func TestFollowerPollsAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(time.Now, nil)
		leader := newOwner(t, store, leaderConfig())
		<-leader.led
		var got []segment.Ref
		f := Follow(store, Config{Chain: NewChain(testCluster, testJournal, testWindow)},
			func(o *Object) error { got = append(got, o.Ref()); return nil },
			NewPace(func() time.Duration { return 5 * time.Second }), slog.New(slog.DiscardHandler))
		<-f.Ready()
		leader.propose(t, segment.ID{9})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		f.Close()
		if n := len(got); n != testWindow+1 || got[n-1].Object != (segment.ID{9}) {
			t.Errorf("applied %v", got)
		}
		if err := f.Err(); err != nil {
			t.Error(err)
		}
		if err := f.Prove(t.Context()); !errors.Is(err, ErrEnded) {
			t.Errorf("a closed follower proves: %v", err)
		}
	})
}
