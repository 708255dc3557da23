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

// recorder is a Machine in a Loop that passes its calls on.
type recorder struct {
	loop    *Loop[segment.ID]
	led     chan struct{}
	stalled chan uint64
	applied chan segment.Ref
	ended   chan error
	log     bytes.Buffer // of the driver; read once it is quiet
}

func newRecorder(t *testing.T, store objstore.Store, cfg Config) *recorder {
	r := &recorder{led: make(chan struct{}), stalled: make(chan uint64, 64), applied: make(chan segment.Ref, 64), ended: make(chan error, 1)}
	r.loop = NewLoop[segment.ID](store, OwnerOptions{Journal: cfg, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	r.loop.Start(r, Intake[segment.ID]{Take: r.propose})
	t.Cleanup(r.loop.Close)
	return r
}

func (r *recorder) Apply(o *Object, _ bool) error { r.applied <- o.Ref(); return nil }
func (r *recorder) Led(uint32)                    { close(r.led) }
func (r *recorder) Deposed(err error) error       { return err }
func (r *recorder) AtHead()                       {}
func (r *recorder) Stalled(seq uint64)            { r.stalled <- seq }
func (r *recorder) Progress() (time.Time, error)  { return time.Time{}, nil }
func (r *recorder) Ready() bool                   { return false }
func (r *recorder) PlanCheckpoint(chain Chain, h History) CheckpointJob {
	return CheckpointJob{Chain: chain, History: h}
}
func (r *recorder) Checkpointed(CheckpointResult) bool { return false }
func (r *recorder) Ended(err error)                    { r.ended <- err }

// propose sends a data segment.
func (r *recorder) propose(id segment.ID) {
	r.loop.Owner().Propose(dataSegment(r.loop.Owner().Header(), id))
}

func leaderConfig() Config {
	n := byte(0)
	return Config{
		Lead: true, Chain: NewChain(testCluster, testJournal, testWindow), Node: segment.ID{3}, Incarnation: segment.ID{4},
		NewID: func() segment.ID { n++; return segment.ID{5, n} }, NowMs: func() int64 { return 1 },
	}
}

// An outage of the store on virtual time. The one segment under way is reported as
// stalled after half a minute, and proofs fail after a second. When the store is back
// the segment is committed, once.
func TestDriverGoesThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		store := mem.New(time.Now, func(mem.Call) mem.Action {
			if down.Load() {
				return mem.NeverAnswer()
			}
			return mem.Action{}
		})
		o := newRecorder(t, store, leaderConfig())
		<-o.led
		synctest.Wait()
		down.Store(true)
		for len(o.applied) > 0 { // fence and fillers
			<-o.applied
		}
		began := time.Now()
		o.loop.Requests() <- segment.ID{9}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.loop.Prove(ctx); err == nil {
			t.Error("proved a head that could not be read")
		}
		if seq := <-o.stalled; seq != testWindow+1 {
			t.Errorf("seq %d stalled, want %d", seq, testWindow+1)
		}
		if after := time.Since(began); after < 20*time.Second || after > 40*time.Second {
			t.Errorf("the stall was reported after %v, want about half a minute", after)
		}
		down.Store(false)
		if ref := <-o.applied; ref.Object != (segment.ID{9}) {
			t.Errorf("applied %v", ref)
		}
		if err := o.loop.Prove(t.Context()); err != nil {
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
		o := newRecorder(t, store, leaderConfig())
		<-o.led
		synctest.Wait()
		for len(o.applied) > 0 {
			<-o.applied
		}
		late.Store(true)
		o.loop.Requests() <- segment.ID{9}
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

// A follower finds objects committed without an announcement, by its own clock,
// and Close leaves nothing behind.
func TestFollowerPollsAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(time.Now, nil)
		leader := newRecorder(t, store, leaderConfig())
		<-leader.led
		var got []segment.Ref
		f := Follow(store, Config{Chain: NewChain(testCluster, testJournal, testWindow)},
			func(o *Object) error { got = append(got, o.Ref()); return nil },
			NewPace(func() time.Duration { return 5 * time.Second }), slog.New(slog.DiscardHandler))
		<-f.Ready()
		leader.loop.Requests() <- segment.ID{9}
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
