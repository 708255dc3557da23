package partlog

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

func woken(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestWatchWakesOnlyForItsPartitions(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 1), open(keyA, 0, 0), open(keyB, 0, 0))
	wake := make(chan struct{}, 1)
	cancel := s.Watch([]Key{keyA}, wake)

	mustApply(t, s, data(2, 1, records(keyB, 1, 0, 0, 1)))
	mustApply(t, s, fence(3, 2))
	if woken(wake) {
		t.Error("woken by another partition or a fence")
	}
	mustApply(t, s, data(4, 2, records(keyA, 2, 0, 0, 1)))
	mustApply(t, s, data(5, 2, records(keyA, 2, 1, 1, 1))) // finds the channel full
	if !woken(wake) {
		t.Error("not woken by new records")
	}
	mustApply(t, s, data(6, 2), Seal{keyA}.Encode())
	if !woken(wake) {
		t.Error("not woken by the seal")
	}
	cancel()
	cancel()
	if len(s.waiters.byKey) != 0 {
		t.Errorf("%d keys are still watched", len(s.waiters.byKey))
	}
}

func TestWatchWakesWhenAPartitionIsOpened(t *testing.T) {
	s := New(testJournal)
	wake := make(chan struct{}, 1)
	defer s.Watch([]Key{keyA}, wake)()
	mustApply(t, s, data(1, 1), open(keyA, 0, 0))
	if !woken(wake) {
		t.Error("not woken")
	}
}

func TestCancelledWatchIsNotWoken(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 1), open(keyA, 0, 0))
	first, second := make(chan struct{}, 1), make(chan struct{}, 1)
	s.Watch([]Key{keyA}, first)()
	defer s.Watch([]Key{keyA}, second)()
	mustApply(t, s, data(2, 1, records(keyA, 1, 0, 0, 1)))
	if woken(first) || !woken(second) {
		t.Error("the cancelled watch was woken, or the other one was not")
	}
}

// TestNoWakeUpIsLost has waiters that look up only when woken: each would hang
// if one announcement went missing.
func TestNoWakeUpIsLost(t *testing.T) {
	const waiters, target = 8, 500
	s := New(testJournal)
	mustApply(t, s, data(1, 1), open(keyA, 0, 0))
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			for end := int64(0); end < target; {
				wake := make(chan struct{}, 1)
				cancel := s.Watch([]Key{keyA}, wake)
				for {
					if v, _ := s.Lookup(keyA); v.End > end {
						end = v.End
						break
					}
					<-wake
				}
				cancel()
			}
		})
	}
	for i := range int64(target) {
		mustApply(t, s, data(uint64(i)+2, 1, records(keyA, 1, i, i, i)))
	}
	wg.Wait()
}

func BenchmarkApply(b *testing.B) {
	for _, waiting := range []int{0, 10_000} {
		name := "idle"
		if waiting > 0 {
			name = "10000 waiters on other partitions"
		}
		b.Run(name, func(b *testing.B) {
			s := New(testJournal)
			keys := make([]Key, 100)
			var opens []segment.Entry
			for i := range keys {
				keys[i] = Key{testTopic, int32(i)}
				opens = append(opens, open(keys[i], 0, 0))
			}
			mustApply(b, s, data(1, 1), opens...)
			for i := range waiting {
				defer s.Watch([]Key{{segment.ID{9}, int32(i)}}, make(chan struct{}, 1))()
			}
			seq := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				seq++
				f := data(seq, 1)
				for _, k := range keys {
					f.Partitions = append(f.Partitions, records(k, 1, int64(seq-2), int64(seq-2), 1))
				}
				if err := s.Apply(f, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWatch(b *testing.B) {
	s := New(testJournal)
	for range 10_000 {
		defer s.Watch([]Key{keyA}, make(chan struct{}, 1))()
	}
	b.ReportAllocs()
	wake := make(chan struct{}, 1)
	for b.Loop() {
		s.Watch([]Key{keyA}, wake)()
	}
}

type counted int

func (c *counted) Moved() { *c++ }

func TestAttachedWatcherIsNotifiedOfEachMove(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 1), open(keyA, 0, 0), open(keyB, 0, 0))
	var a, b, other counted
	s.Attach(keyA, &a)
	s.Attach(keyB, &b)
	s.Attach(keyA, &other)
	mustApply(t, s, data(2, 1, records(keyA, 1, 0, 0, 1)))
	mustApply(t, s, data(3, 1, records(keyA, 1, 1, 1, 1)))
	s.Detach(keyA, &a)
	s.Detach(keyA, &a)
	mustApply(t, s, data(4, 1, records(keyA, 1, 2, 2, 1)))
	if a != 2 || b != 0 || other != 3 {
		t.Errorf("notified %d, %d and %d times, want 2, 0 and 3", a, b, other)
	}
	s.Detach(keyB, &b)
	s.Detach(keyA, &other)
	if len(s.waiters.byKey) != 0 {
		t.Errorf("%d keys are still watched", len(s.waiters.byKey))
	}
}

// TestManyWatchersComeAndGo compares the watchers of a partition with a count of each,
// some of which are there twice.
func TestManyWatchersComeAndGo(t *testing.T) {
	random := rand.New(rand.NewPCG(seeded.Seed(t), 0))
	all := make([]*waiter, 3*manyWatchers)
	for i := range all {
		all[i] = &waiter{wake: make(chan struct{}, 1)}
	}
	var ws watchers
	want, total := map[*waiter]int{}, 0
	for range 20_000 {
		w := all[random.IntN(len(all))]
		if random.IntN(2) == 0 && want[w] < 2 {
			ws.add(w)
			want[w]++
			total++
		} else {
			ws.remove(w)
			if want[w] > 0 {
				want[w]--
				total--
			}
		}
		if len(ws.list) != total {
			t.Fatalf("%d watchers, want %d", len(ws.list), total)
		}
		for w, i := range ws.at {
			if ws.list[i] != w {
				t.Fatalf("place %d has another watcher than the map says", i)
			}
		}
	}
	got := map[*waiter]int{}
	for _, w := range ws.list {
		got[w.(*waiter)]++
	}
	for w, n := range want {
		if got[w] != n {
			t.Fatalf("a watcher is there %d times, want %d", got[w], n)
		}
	}
}

// All watchers of a partition leave after each batch. Each is found by its place.
func TestWatchersLeaveWithoutASearch(t *testing.T) {
	var ws watchers
	all := make([]*waiter, 10*manyWatchers)
	for i := range all {
		all[i] = &waiter{wake: make(chan struct{}, 1)}
		ws.add(all[i])
	}
	for _, w := range all {
		if _, found := ws.at[w]; !found {
			t.Fatal("a watcher among many has to be searched for")
		}
		ws.remove(w)
	}
	if len(ws.list) != 0 || len(ws.at) != 0 {
		t.Errorf("%d watchers are left, %d in the map", len(ws.list), len(ws.at))
	}
}

func TestADisturbanceWakesAllWatchers(t *testing.T) {
	s := New(testJournal)
	first, second := make(chan struct{}, 1), make(chan struct{}, 1)
	defer s.Watch([]Key{keyA}, first)()
	defer s.Watch([]Key{keyB}, second)()
	s.Disturb()
	if !woken(first) || !woken(second) {
		t.Error("a watcher was not woken")
	}
}
