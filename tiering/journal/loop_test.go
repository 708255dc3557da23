package journal

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

func newTestLoop() (*Loop[int], *scripted) {
	return NewLoop[int](mem.New(time.Now, nil), OwnerOptions{Journal: leaderConfig(), Log: slog.New(slog.DiscardHandler)}), &scripted{}
}

// Requests wait while there is no room, and then all that fit are taken at once.
func TestALoopTakesRequestsWhileThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop, m := newTestLoop()
		var room atomic.Int32
		taken := 0
		signal := make(chan struct{})
		loop.Start(m, Intake[int]{
			Take: func(int) { taken++; room.Add(-1) }, Full: func() bool { return room.Load() == 0 }, Signal: func() <-chan struct{} { return signal },
		})
		<-loop.Ready()
		for i := range 5 {
			go func() {
				select {
				case loop.Requests() <- i:
				case <-loop.Done():
				}
			}()
		}
		synctest.Wait()
		look := func(want int, when string) {
			t.Helper()
			done := make(chan struct{})
			if err := loop.Do(t.Context(), func() { close(done) }); err != nil {
				t.Fatal(err)
			}
			<-done
			synctest.Wait()
			if taken != want {
				t.Errorf("%s: %d requests are taken, want %d", when, taken, want)
			}
		}
		look(0, "without room")
		before := m.progress
		room.Store(3)
		signal <- struct{}{}
		synctest.Wait()
		if progressed := m.progress - before; taken != 3 || progressed != 2 {
			t.Errorf("room for 3: %d requests are taken with %d progresses, want one for the signal and one for them", taken, progressed)
		}
		look(3, "with no more room")
		loop.Close()
	})
}

// Close ends work in the background and waits for it, whatever the reason of the end.
func TestALoopWaitsForAllThatItStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop, m := newTestLoop()
		closed := false
		worked := make(chan error, 1)
		loop.Start(m, Intake[int]{Close: func() error {
			closed = len(worked) == 1 && len(m.ended) == 1
			return errors.New("not the first")
		}})
		<-loop.Ready()
		loop.runner.Go(time.Hour, func(ctx context.Context, _ objstore.Store) {
			<-ctx.Done()
			time.Sleep(time.Second)
			worked <- ctx.Err()
		}, func() { t.Error("work is done after the end") })
		reason := errors.New("no time left")
		loop.End(reason)
		if !closed || loop.Err() != reason {
			t.Errorf("closed last: %v, ended by %v", closed, loop.Err())
		}
		if err := loop.Do(t.Context(), nil); err == nil { // may get into the queue, and stays there
			if err := loop.Prove(t.Context()); !errors.Is(err, ErrEnded) {
				t.Errorf("a question after the end: %v", err)
			}
		}
	})
}

// The timer calls the Machine when it asks to be called, and not before.
func TestALoopWakesItsMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop, m := newTestLoop()
		m.next = time.Now().Add(time.Hour)
		var calls atomic.Int32
		m.onProgress = func() {
			calls.Add(1)
			if !m.next.After(time.Now()) {
				m.next = time.Time{}
			}
		}
		loop.Start(m, Intake[int]{})
		defer loop.Close()
		<-loop.Ready()
		time.Sleep(time.Minute) // over the first stall tick
		synctest.Wait()
		before := calls.Load()
		time.Sleep(time.Hour - time.Minute - time.Second)
		synctest.Wait()
		if calls.Load() != before {
			t.Errorf("called %d times before its time", calls.Load()-before)
		}
		if err := loop.Do(t.Context(), func() { m.next = time.Now().Add(time.Hour) }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := calls.Load() - before; n != 1 {
			t.Errorf("called %d times, though it had moved its time", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := calls.Load() - before; n != 2 {
			t.Errorf("called %d times, want once by the test and once at its time", n)
		}
	})
}

// TestQuestionsThatWaitShareALook asks for many proofs, some before a look at the store
// begins and some while it is under way. The latter wait for the next look.
func TestQuestionsThatWaitShareALook(t *testing.T) {
	for _, lead := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const latency = 50 * time.Millisecond
			var looks atomic.Int32
			end := segment.JournalKey(testJournal, 1)
			store := mem.New(time.Now, func(c mem.Call) mem.Action {
				if c.Op == objstore.OpCreate {
					return mem.Action{}
				}
				if c.Key == end {
					looks.Add(1)
				}
				time.Sleep(latency)
				return mem.Action{}
			})
			cfg := leaderConfig()
			if cfg.Lead = lead; lead {
				end = segment.JournalKey(testJournal, testWindow+1)
			}
			loop := NewLoop[int](store, OwnerOptions{Journal: cfg, Log: slog.New(slog.DiscardHandler)})
			loop.Start(&scripted{}, Intake[int]{})
			defer loop.Close()
			time.Sleep(time.Minute)
			looks.Store(0)
			prove := func(earliest time.Duration) {
				begin := time.Now()
				for range 100 {
					go func() {
						if err := loop.Prove(t.Context()); err != nil {
							t.Errorf("lead %v: %v", lead, err)
						}
						if after := time.Since(begin); after < earliest {
							t.Errorf("lead %v: answered after %v, by a look that began before the question", lead, after)
						}
					}()
				}
				synctest.Wait()
			}
			prove(latency)
			time.Sleep(latency / 2)
			prove(latency/2 + latency)
			time.Sleep(time.Minute)
			if n := looks.Load(); n != 2 {
				t.Errorf("lead %v: 200 questions took %d looks, want 2", lead, n)
			}
		})
	}
}
