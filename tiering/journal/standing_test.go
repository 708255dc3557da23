package journal

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// readsCounted is a store, and how many requests it has got that only read.
func readsCounted() (*mem.Store, *atomic.Int32) {
	gets := new(atomic.Int32)
	return mem.New(time.Now, func(c mem.Call) mem.Action {
		if c.Op != objstore.OpCreate {
			gets.Add(1)
		}
		return mem.Action{}
	}), gets
}

// One proof answers all callers, and none is asked for within StandFor of it, or of
// the sending of an object that was committed.
func TestALeaderConfirmsItselfByOneRequestForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, gets := readsCounted()
		o := newRecorder(t, store, leaderConfig())
		<-o.led
		synctest.Wait()
		ask := func(want int32, when string) {
			t.Helper()
			before := gets.Load()
			answers := make(chan error)
			for range 50 {
				go func() { answers <- o.loop.Confirm(t.Context()) }()
			}
			for range 50 {
				if err := <-answers; err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			synctest.Wait()
			if n := gets.Load() - before; n != want {
				t.Errorf("%s: %d requests to the store, want %d", when, n, want)
			}
		}
		ask(0, "right after its fence")
		time.Sleep(StandFor + time.Millisecond)
		ask(1, "after a pause")
		ask(0, "right after a proof")
		time.Sleep(StandFor - time.Millisecond)
		o.loop.Requests() <- segment.ID{9}
		synctest.Wait()
		time.Sleep(2 * time.Millisecond)
		ask(0, "right after a commit")
	})
}

// A store that does not answer deposes no leader, and keeps one caller in many waiting.
func TestALeaderThatCannotLookSaysThatItDoesNotKnow(t *testing.T) {
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
		time.Sleep(StandFor + time.Second)
		down.Store(true)
		for i, waits := range []time.Duration{proofLimit, 0, 0} {
			began := time.Now()
			if err := o.loop.Confirm(t.Context()); err == nil || errors.Is(err, ErrEnded) {
				t.Errorf("call %d: %v", i, err)
			}
			if took := time.Since(began); took != waits {
				t.Errorf("call %d took %v, want %v", i, took, waits)
			}
		}
		down.Store(false)
		time.Sleep(doubtFor)
		if err := o.loop.Confirm(t.Context()); err != nil {
			t.Errorf("when the store is back: %v", err)
		}
	})
}

// A caller that asks a leader which was deposed while it wrote nothing learns of it.
func TestALeaderThatWasDeposedFindsOutWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(time.Now, nil)
		first := newRecorder(t, store, leaderConfig())
		<-first.led
		second := leaderConfig()
		second.Incarnation = segment.ID{6}
		<-newRecorder(t, store, second).led
		time.Sleep(StandFor + time.Millisecond)
		if err := first.loop.Confirm(t.Context()); !errors.Is(err, ErrEnded) || !errors.Is(err, ErrFenced) {
			t.Errorf("the first leader: %v", err)
		}
		if err := first.loop.Confirm(t.Context()); !errors.Is(err, ErrEnded) {
			t.Errorf("asked again: %v", err)
		}
	})
}

func TestStandingHoldsByBothClocks(t *testing.T) {
	led := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		after time.Duration
		holds bool
	}{
		{0, true}, {StandFor, true}, {StandFor + 1, false},
		{-1, false}, // the clock was set back: how long it is is not known
	} {
		t.Run(fmt.Sprint(test.after), func(t *testing.T) {
			var s Standing
			if s.Holds(led) {
				t.Error("holds before it led")
			}
			s.Proved(led)
			if got := s.Holds(led.Add(test.after)); got != test.holds {
				t.Errorf("holds: %t", got)
			}
		})
	}
}

// The time when a request was sent counts: a process that stood still reads the
// answer long after.
func TestStandingIsAsOldAsTheRequest(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	late := began.Add(StandFor + time.Second)
	var s Standing
	s.Sent(7, began)
	s.Sent(7, late) // once more; it is not known which attempt was the one
	s.Committed(7)
	if s.Holds(late) {
		t.Error("a commit counts from the last attempt on")
	}
	if !s.Holds(began.Add(time.Second)) {
		t.Error("a commit counts for nothing")
	}
	if s.End(); s.Holds(began.Add(time.Second)) {
		t.Error("it holds after its end")
	}
}
