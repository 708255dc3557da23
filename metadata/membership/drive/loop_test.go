package drive

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A Driver ticks every membership.TickEvery, whatever else there is to do, and no more after Close.
func TestTheLoopTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := driven()
		l := NewLoop()
		l.Start(d)
		if err := l.Do(t.Context(), func() { d.Begin(clusterOf(2)) }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := len(s.did)
		for range 15 {
			s.now = s.now.Add(200 * time.Millisecond)
			time.Sleep(200 * time.Millisecond)
			synctest.Wait()
		}
		if len(s.did) == before {
			t.Error("no tick")
		}
		l.Close()
		l.Close()
		before = len(s.did)
		s.now = s.now.Add(time.Minute)
		if time.Sleep(time.Minute); len(s.did) != before {
			t.Error("it ticks after its end")
		}
	})
}

func TestTheLoopReleasesItsSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := driven()
		l := NewLoop()
		l.Start(d)
		blocked := make(chan struct{})
		if err := l.Do(t.Context(), func() { <-blocked }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		for range eventsWait + 2 {
			if err = l.Do(ctx, func() {}); err != nil {
				break
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("more events than %d wait: %v", eventsWait, err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.Do(t.Context(), func() {}) }()
		synctest.Wait()
		close(blocked)
		l.Close()
		<-ended // whether it ran or not
		for range eventsWait + 1 {
			if err = l.Do(t.Context(), func() {}); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	})
}
