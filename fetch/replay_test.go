package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// consume reads a partition from an offset up to another with fetches of limit
// bytes, as a client does, and returns the bytes.
func (w *world) consume(k partlog.Key, from, to int64, limit int32) []byte {
	w.tb.Helper()
	var got []byte
	for offset := from; offset < to; {
		p := want(k, offset)
		p.MaxBytes = limit
		r := w.fetchOne(p)
		if r.Err != nil || len(r.Records) == 0 {
			w.tb.Errorf("no progress at offset %d of %d: %v", offset, to, r.Err)
			return got
		}
		b := bytes.Join(r.Records, nil)
		_ = batch.Walk(b, func(_ int, h batch.Header) error { offset = h.LastOffset() + 1; return nil })
		got = append(got, b...)
	}
	return got
}

// newFarWorld is a world without a tail.
func newFarWorld(t testing.TB) *world {
	w := newWorld(t, nil)
	w.far = true
	w.restart(nil)
	return w
}

// fill commits n objects with a few batches of some KiB of both partitions.
func (w *world) fill(n int) {
	for i := range n {
		object := map[partlog.Key][][]byte{}
		for _, k := range []partlog.Key{keyA, keyB} {
			for range 3 {
				object[k] = append(object[k], batchOf(1, strings.Repeat(string(rune('a'+i%26)), 5000)))
			}
		}
		w.commit(object)
	}
	w.gets.Store(0)
}

func TestReplayReadsEachObjectOnce(t *testing.T) {
	w := newFarWorld(t)
	const objects = 200
	w.fill(objects)
	if got := w.consume(keyA, 0, w.ends[keyA], 10_000); !bytes.Equal(got, bytes.Join(w.log[keyA], nil)) {
		t.Errorf("a replay got %d other bytes than the log has", len(got))
	}
	if n := w.gets.Load(); n != objects {
		t.Errorf("%d GETs for %d objects", n, objects)
	}
	s := w.reader.cfg.Cache.Replays()
	if s.Ahead == 0 || s.Wasted != 0 || s.Used != s.Ahead || s.Gets != objects {
		t.Errorf("counted as %+v", s)
	}
}

// TestReplayOfManyPartitionsReadsEachObjectOnce has one reader for partitions that
// share objects, of which each has its own pace.
func TestReplayOfManyPartitionsReadsEachObjectOnce(t *testing.T) {
	w := newFarWorld(t)
	const objects, partitions = 100, 12
	rng := rand.New(rand.NewPCG(1, 2))
	for range objects {
		object := map[partlog.Key][][]byte{}
		for i := range int32(partitions) {
			for range 1 + rng.IntN(3) {
				object[partlog.Key{Topic: testTopic, Index: i}] = append(object[partlog.Key{Topic: testTopic, Index: i}],
					batchOf(1, strings.Repeat("x", 1000+rng.IntN(3000))))
			}
		}
		w.commit(object)
	}
	w.gets.Store(0)
	offsets, left := [partitions]int64{}, true
	for left {
		req := Request{MinBytes: 1, MaxBytes: 50 << 20}
		for i, offset := range offsets {
			p := want(partlog.Key{Topic: testTopic, Index: int32(i)}, offset)
			p.MaxBytes = 20_000
			req.Partitions = append(req.Partitions, p)
		}
		left = false
		for i, r := range w.fetch(req) {
			n := int64(len(values(t, r)))
			offsets[i] += n
			left = left || n > 0
		}
	}
	for i, offset := range offsets {
		if k := (partlog.Key{Topic: testTopic, Index: int32(i)}); offset != w.ends[k] {
			t.Errorf("partition %d was read up to offset %d of %d", i, offset, w.ends[k])
		}
	}
	// At the start and at the end partitions are not at the same object.
	if n := w.gets.Load(); n > objects+2*partitions {
		t.Errorf("%d GETs for %d objects", n, objects)
	}
}

// TestReplayReadsAhead holds GETs back: a replay of one object at a time has many
// on their way, and no objects for a reader that asks once.
func TestReplayReadsAhead(t *testing.T) {
	w := newFarWorld(t)
	w.fill(100)
	one := int32(len(w.log[keyA][0]) * 3)
	w.consume(keyA, 0, 3, one)
	if n := w.gets.Load(); n != 1 {
		t.Errorf("%d GETs for a reader who asked once", n)
	}
	release := make(chan struct{})
	entered := make(chan struct{}, 200)
	w.faults(func(mem.Call) mem.Action {
		entered <- struct{}{}
		<-release
		return mem.Action{}
	})
	done := make(chan []byte)
	go func() { done <- w.consume(keyA, 3, 6, one) }()
	for range 10 { // hangs if nothing is read ahead
		<-entered
	}
	close(release)
	if got := <-done; !bytes.Equal(got, bytes.Join(w.log[keyA][3:6], nil)) {
		t.Error("the records are not those of the log")
	}
}

// TestReaderThatGoesAwayIsReadAheadNoMore has a reader that comes back after it
// was given up.
func TestReaderThatGoesAwayIsReadAheadNoMore(t *testing.T) {
	w := newFarWorld(t)
	now := time.Now()
	w.reader.streams.now = func() time.Time { return now }
	w.fill(200)
	one := int32(len(w.log[keyA][0]) * 3)
	w.consume(keyA, 0, 9, one)
	first := w.reader.streams.order.Front().Value.(*stream)
	if len(first.planned) == 0 || len(w.reader.streams.byKey) != 1 {
		t.Fatalf("%d objects are planned for %d readers", len(first.planned), len(w.reader.streams.byKey))
	}
	now = now.Add(streamIdle)
	w.consume(keyB, 0, 3, one) // each request forgets readers that are gone
	if s := w.reader.streams; len(s.byKey[keyA]) != 0 || len(s.byKey[keyB]) != 1 || s.order.Len() != 1 {
		t.Errorf("readers %v", s.byKey)
	}
	if got := w.consume(keyA, 9, w.ends[keyA], one); !bytes.Equal(got, bytes.Join(w.log[keyA][9:], nil)) {
		t.Error("the records are not those of the log")
	}
}

// TestForgottenReaderIsNotReadAhead lets another request forget a reader before and while
// its read-ahead is planned. Regions for which no reader will come must not stay and take
// the room of others.
func TestForgottenReaderIsNotReadAhead(t *testing.T) {
	w := newFarWorld(t)
	w.fill(100)
	release := make(chan struct{})
	w.faults(func(mem.Call) mem.Action { <-release; return mem.Action{} })
	defer close(release)
	ss := w.reader.streams
	f := w.reader.newFetch(Request{Partitions: []Partition{want(keyA, 3)}, MaxBytes: 10_000})
	f.look(t.Context())
	known := func() []plan {
		ss.answered(nil, keyA, 0, 3, true)
		plans, _ := f.plan()
		return plans
	}
	plans := known()
	ss.leave(plans[0].stream)
	if n := len(ss.begin(plans)); n != 0 {
		t.Errorf("read-ahead for %d readers that are forgotten", n)
	}
	plans = known()
	readers := ss.begin(plans)
	f.extend(t.Context(), &readers[0], func(*extent) bool { return true })
	ss.leave(plans[0].stream)
	steps := readers[0].steps
	ss.end(readers, steps[:f.readAhead(steps)])
	// The first ones are on their way; the others wait for those.
	if last := steps[len(steps)-1].ask; w.reader.cfg.Cache.HasRegion(last.Range) {
		t.Error("a region stays that was read ahead for a forgotten reader")
	}
}

func TestReplaysThatAreRememberedAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	ss := w.reader.streams
	for i := range int32(2 * maxStreams) {
		ss.answered(nil, partlog.Key{Topic: testTopic, Index: i / 2}, 0, int64(i%2)+1, false)
	}
	if ss.order.Len() != maxStreams || len(ss.byKey) != maxStreams/2 {
		t.Errorf("%d readers of %d partitions", ss.order.Len(), len(ss.byKey))
	}
	if last := int32(maxStreams - 1); ss.find(partlog.Key{Topic: testTopic, Index: last}, 2) == nil || ss.find(keyA, 1) != nil {
		t.Error("others than the oldest were forgotten")
	}
}

func TestWindowFollowsTheReader(t *testing.T) {
	s := stream{window: startWindow}
	for i, step := range []struct {
		waited, lost bool
		part, want   int64
	}{
		{false, false, 1 << 30, 4 << 20},
		{true, false, 1 << 30, 8 << 20},
		{false, false, 1 << 30, 8 << 20}, // fast enough
		{true, false, 1 << 30, 16 << 20},
		{true, false, 1 << 30, 32 << 20},
		{true, false, 1 << 30, 64 << 20},
		{true, false, 1 << 30, 128 << 20},
		{true, false, 1 << 30, 128 << 20}, // the most
		{true, true, 1 << 30, 64 << 20},   // too much
		{true, false, 1 << 30, 64 << 20},  // not again so soon
		{false, false, 5 << 20, 5 << 20},  // one of many readers
		{false, false, 1, 1 << 20},        // the least
	} {
		s.waited = step.waited
		if s.resize(step.lost, step.part); s.window != step.want {
			t.Errorf("step %d: the window is %d bytes, want %d", i, s.window, step.want)
		}
	}
	for range windowPause {
		s.resize(false, 1)
	}
	s.waited = true
	if s.resize(false, 1<<30); s.window != 2<<20 {
		t.Errorf("the window is %d bytes some time after it was too large", s.window)
	}
}

// TestReplaysLeaveTheTailAlone lets ten readers replay a log many times the size of the
// cache while consumers follow its tail, and counts the GETs of the tail.
func TestReplaysLeaveTheTailAlone(t *testing.T) {
	gets := map[bool]int64{}
	for _, replays := range []bool{false, true} {
		w := newWorld(t, nil)
		w.memory = 16 << 20
		w.restart(nil)
		object := map[partlog.Key][][]byte{}
		for _, k := range []partlog.Key{keyA, keyB} {
			object[k] = [][]byte{batchOf(1, strings.Repeat("x", 250<<10))}
		}
		for range 180 { // 90 MB
			w.commit(object)
		}
		history := w.ends[keyA]
		// A replay reads ahead as much as the cache holds, if it is alone or keeps pace
		// with the others: 64 objects, none of which shall count as the tail's.
		end := history - 80
		w.gets.Store(0)
		var wg sync.WaitGroup
		for range 10 {
			if replays {
				wg.Go(func() { w.consume(keyA, 0, end, 1<<20) })
			}
		}
		var mu sync.Mutex
		tailGets := int64(0)
		w.faults(func(c mem.Call) mem.Action {
			var seq int64
			if _, err := fmt.Sscanf(c.Key, fmt.Sprintf("journals/%d/%%d", testJournal), &seq); err == nil && seq > history+1 {
				mu.Lock()
				tailGets++
				mu.Unlock()
			}
			return mem.Action{}
		})
		for range 30 {
			w.commit(object)
			for _, lag := range []int64{0, 3, 8} { // three groups of consumers
				if offset := w.ends[keyA] - 1 - lag; offset >= history {
					w.consume(keyA, offset, offset+1, 1<<20)
					w.consume(keyB, offset, offset+1, 1<<20)
				}
			}
		}
		wg.Wait()
		gets[replays] = tailGets
		if s := w.reader.cfg.Cache.Replays(); replays && s.Gets < 100 {
			t.Errorf("replays took %d GETs, they did not go by the store", s.Gets)
		}
	}
	t.Logf("GETs of the tail: %d alone, %d next to ten replays", gets[false], gets[true])
	if gets[true] != gets[false] || gets[false] > 3*30 {
		t.Errorf("the tail took %d GETs alone and %d next to ten replays", gets[false], gets[true])
	}
}

// TestReplayMeetsDamageAndLoss replays a log with objects that are damaged or gone. All
// records before them are served, and the damage is reported.
func TestReplayMeetsDamageAndLoss(t *testing.T) {
	w := newFarWorld(t)
	w.fill(30)
	seq := w.seq - 9 // the object of offsets 60 to 62
	key, sound := segment.JournalKey(testJournal, seq), w.objects[seq]
	damaged := bytes.Clone(sound)
	damaged[bytes.Index(sound, w.log[keyA][61])+100] ^= 1
	for name, tc := range map[string]struct {
		change func()
		served int64
		want   error
	}{
		"damaged": {func() { w.store.PutNow(key, damaged) }, 61, ErrStorage},
		"gone":    {func() { w.store.DeleteNow(key) }, 60, errMissing},
	} {
		tc.change()
		w.restart(nil)
		if got := w.consume(keyA, 0, tc.served, 10_000); !bytes.Equal(got, bytes.Join(w.log[keyA][:tc.served], nil)) {
			t.Errorf("%s: the records before it are not those of the log", name)
		}
		if r := w.fetchOne(want(keyA, tc.served)); !errors.Is(r.Err, tc.want) || len(r.Records) > 0 {
			t.Errorf("%s: error %v, want %v", name, r.Err, tc.want)
		}
		w.store.PutNow(key, sound)
		w.forgive()
		if got := w.consume(keyA, tc.served, w.ends[keyA], 10_000); !bytes.Equal(got, bytes.Join(w.log[keyA][tc.served:], nil)) {
			t.Errorf("%s: the records after it are not those of the log", name)
		}
	}
}

// TestLeadersMemoryIsNotReadAhead has a replay that comes to objects that its leader has in
// memory.
func TestLeadersMemoryIsNotReadAhead(t *testing.T) {
	w := newFarWorld(t)
	w.fill(40)
	recent := NewRecent(testJournal, 64<<20)
	for seq := w.seq - 9; seq <= w.seq; seq++ {
		recent.Add(seq, inMemory(w.objects[seq]))
	}
	w.view.Tail = recent
	w.consume(keyA, 0, w.ends[keyA], 10_000)
	if n := w.gets.Load(); n != 30 {
		t.Errorf("%d GETs for 30 objects that are not in the leader's memory", n)
	}
}

func TestLookIntoTheMiddleReadsLittle(t *testing.T) {
	w := newFarWorld(t)
	var batches [][]byte
	for range 100 {
		batches = append(batches, batchOf(1, strings.Repeat("x", 100_000)))
	}
	w.commit(map[partlog.Key][][]byte{keyA: batches})
	w.fill(caughtUp)
	p := want(keyA, 50)
	p.MaxBytes = 1
	if got := values(t, w.fetchOne(p)); len(got) != 1 {
		t.Errorf("%d records, want one", len(got))
	}
	if s := w.reader.cfg.Cache.Replays(); s.Gets != 0 {
		t.Errorf("all of a large object was read for one batch: %+v", s)
	}
	w.consume(keyA, 51, 52, 1) // now it is a replay
	if s := w.reader.cfg.Cache.Replays(); s.Read < 9*cache.BlockSize {
		t.Errorf("a sequential reader does not have the object read as a whole: %+v", s)
	}
}
