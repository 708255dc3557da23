package journal

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

func TestPaceIsThatOfTheWaiting(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const least = 250 * time.Millisecond
	for _, test := range []struct {
		name    string
		looked  time.Duration // since the last object
		waiting int
		least   time.Duration
		pause   time.Duration
	}{
		{"right after an object", 0, 0, least, least},
		{"a moment later", 2 * time.Second, 0, least, least},
		{"after a while", 16 * time.Second, 0, least, 2 * time.Second},
		{"after long", time.Hour, 0, least, idlePause},
		{"after long, awaited", time.Hour, 1, least, least},
		{"with announcements", 8 * time.Second, 0, 2 * time.Second, 2 * time.Second},
		{"with announcements, after long", time.Hour, 0, 2 * time.Second, idlePause},
		{"an object found by the look", -time.Second, 0, least, least},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := NewPace(func() time.Duration { return test.least })
			p.Moved(began)
			looked := began.Add(test.looked)
			p.Looked(looked)
			p.waiting = test.waiting
			if got := p.Due().Sub(looked); got != test.pause {
				t.Errorf("pause %v, want %v", got, test.pause)
			}
		})
	}
}

// On virtual time: an idle follower asks the store seldom; one that is awaited looks at
// once, and as often as ever until the wait has ended.
func TestAnIdleFollowerLooksSeldomUntilARequestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, gets := readsCounted()
		leader := newRecorder(t, store, leaderConfig())
		<-leader.led
		pace := NewPace(func() time.Duration { return 250 * time.Millisecond })
		applied := make(chan time.Time, 16)
		f := Follow(store, Config{Chain: NewChain(testCluster, testJournal, testWindow)},
			func(*Object) error { applied <- time.Now(); return nil }, pace, slog.New(slog.DiscardHandler))
		defer f.Close()
		<-f.Ready()
		requests := func(d time.Duration) int32 {
			before := gets.Load()
			time.Sleep(d)
			synctest.Wait()
			return gets.Load() - before
		}
		requests(5 * time.Minute) // until it is slow
		if n, most := requests(time.Minute), int32(2*time.Minute/idlePause+2); n > most || n == 0 {
			t.Errorf("%d requests in an idle minute, at most %d are planned for", n, most)
		}
		for len(applied) > 0 {
			<-applied
		}
		leader.loop.Requests() <- segment.ID{9}
		time.Sleep(10 * time.Millisecond)
		asked := time.Now()
		end := pace.Await(time.Now)
		if took := (<-applied).Sub(asked); took != 0 {
			t.Errorf("a request that begins to wait gets the object after %v", took)
		}
		if n := requests(time.Minute); n < 2*4*60-8 {
			t.Errorf("%d requests in a minute of waiting: too few", n)
		}
		end()
		requests(5 * time.Minute)
		if n := requests(time.Minute); n > int32(2*time.Minute/idlePause+2) {
			t.Errorf("%d requests in an idle minute after a wait", n)
		}
	})
}
