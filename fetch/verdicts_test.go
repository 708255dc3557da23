package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// reported has the reports of a Reader about damage.
type reported struct {
	damaged  []Damage
	restored []string
}

func (o *reported) config(cfg *Config) {
	cfg.OnDamaged = func(d Damage) { o.damaged = append(o.damaged, d) }
	cfg.OnRestored = func(object string) { o.restored = append(o.restored, object) }
}

// hurt is a world with three objects of two batches each, the second of which is
// damaged or gone.
func hurt(t *testing.T, o *reported, far, gone bool) (w *world, key string, sound []byte) {
	t.Helper()
	w = newWorld(t, nil)
	big := strings.Repeat("x", 300<<10) // too large to come with the footer
	for range 3 {
		w.commit(map[partlog.Key][][]byte{keyA: {batchOf(1, big), batchOf(1, big)}, keyB: {batchOf(1, "b")}})
	}
	key, sound = segment.JournalKey(testJournal, w.seq-1), w.objects[w.seq-1]
	if gone {
		w.store.DeleteNow(key)
	} else {
		bad := bytes.Clone(sound)
		bad[bytes.Index(sound, w.log[keyA][3])+batch.HeaderSize+50] ^= 1
		w.store.PutNow(key, bad)
	}
	w.far = far
	w.restart(o.config)
	w.gets.Store(0)
	return w, key, sound
}

// TestDamageCostsFewGETs: a consumer that asks for damaged records in a loop has the
// store asked now and then only, and gets them once they are there again.
func TestDamageCostsFewGETs(t *testing.T) {
	for name, tc := range map[string]struct {
		far, gone bool
		first     int64 // offset that cannot be read
	}{
		"near, damaged": {false, false, 3}, "far, damaged": {true, false, 3},
		"near, gone": {false, true, 2}, "far, gone": {true, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var o reported
			w, key, sound := hurt(t, &o, tc.far, tc.gone)
			const asks = 1000 // over 100 s
			for range asks {
				if r := w.fetchOne(want(keyA, tc.first)); !errors.Is(r.Err, ErrStorage) || len(r.Records) > 0 {
					t.Fatalf("error %v, want ErrStorage", r.Err)
				}
				w.clock.Add(int64(100 * time.Millisecond))
			}
			// Looks after 0, 2, 6, 14, 30 and 62 s, each of a few GETs and once again.
			if n := w.gets.Load(); n > 60 {
				t.Errorf("%d GETs for %d asks", n, asks)
			}
			if len(o.damaged) == 0 || len(o.damaged) > 10 || len(o.restored) > 0 {
				t.Fatalf("damage is reported %d times, its end %d times", len(o.damaged), len(o.restored))
			}
			if d := o.damaged[0]; d.Object != key || d.Key != keyA || d.First != tc.first || d.Last != 3 || !errors.Is(d.Err, ErrStorage) {
				t.Errorf("reported %+v", d)
			}
			if r := w.fetchOne(want(keyA, 0)); r.Err != nil || len(r.Records) == 0 {
				t.Errorf("the records before it: %v", r.Err)
			}
			if r := w.fetchOne(want(keyA, 4)); r.Err != nil || len(r.Records) == 0 {
				t.Errorf("the records after it: %v", r.Err)
			}
			w.store.PutNow(key, sound)
			w.forgive()
			if got := values(t, w.fetchOne(want(keyA, tc.first))); len(got) == 0 {
				t.Error("no records though the object is there again")
			}
			if !slices.Equal(o.restored, []string{key}) || w.reader.Damaged() != 0 {
				t.Errorf("reported the end of %v, %d left", o.restored, w.reader.Damaged())
			}
		})
	}
}

// TestDamageThatIsBegunBeforeCostsNoGETs asks from before the damage on: the sound records
// are served each time, from memory.
func TestWhatIsSoundBeforeDamageStaysInMemory(t *testing.T) {
	var o reported
	w, _, _ := hurt(t, &o, false, false)
	for range 1000 {
		p := want(keyA, 2)
		p.MaxBytes = 4 << 20
		if r := w.fetchOne(p); r.Err != nil || len(r.Records) == 0 {
			t.Fatalf("the records before the damage: %v", r.Err)
		}
		w.clock.Add(int64(10 * time.Millisecond))
	}
	if n := w.gets.Load(); n > 40 {
		t.Errorf("%d GETs for 1000 asks", n)
	}
}

// TestOneFlippedBitOnTheWayIsNoDamage has the first read of everything damaged.
func TestOneFlippedBitOnTheWayIsNoDamage(t *testing.T) {
	for _, far := range []bool{false, true} {
		var o reported
		w, key, sound := hurt(t, &o, far, true)
		w.store.PutNow(key, sound)
		var mu sync.Mutex // replays read several objects at once
		seen := map[string]int{}
		w.faults(func(c mem.Call) mem.Action {
			mu.Lock()
			defer mu.Unlock()
			if seen[string(c.Op)+c.Key]++; c.Op == "get_range" && seen[string(c.Op)+c.Key] == 1 {
				return mem.BitFlipped(8 * 1000)
			}
			return mem.Action{}
		})
		for offset := range int64(6) {
			if got := values(t, w.fetchOne(want(keyA, offset))); len(got) == 0 {
				t.Errorf("far %t, offset %d: no records", far, offset)
			}
		}
		if len(o.damaged) != 0 {
			t.Errorf("far %t: reported %v", far, o.damaged)
		}
	}
}

func TestALookUpByTimeIsNotALoopOfGETsEither(t *testing.T) {
	var o reported
	w, _, _ := hurt(t, &o, false, true)
	for range 1000 {
		if _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, 0); err != nil {
			t.Fatal(err) // the first object has such records
		}
		if _, _, err := w.scan(keyA, 2); !errors.Is(err, ErrStorage) {
			t.Fatalf("scan: %v", err)
		}
	}
	if n := w.gets.Load(); n > 40 {
		t.Errorf("%d GETs for 1000 scans", n)
	}
}

// TestAFetchOfDamageWaits: it is answered when its time is over, or at once with the
// records of other partitions.
func TestAFetchOfDamageWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o reported
		w, _, _ := hurt(t, &o, false, false)
		defer w.reader.cfg.Cache.Close()
		w.reader.errorWait = errorWait
		for _, wait := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
			began := time.Now()
			req := request(want(keyA, 3), want(keyB, 3))
			req.MaxWait = wait
			results := w.fetch(req)
			if took := time.Since(began); took != max(wait, errorWait) || !errors.Is(results[0].Err, ErrStorage) || results[1].Err != nil {
				t.Errorf("MaxWait %v: after %v, errors %v and %v", wait, took, results[0].Err, results[1].Err)
			}
		}
		req := request(want(keyA, 3), want(keyB, 2))
		req.MaxWait = 3 * time.Second
		began := time.Now()
		if results := w.fetch(req); time.Since(began) != 0 || len(results[1].Records) == 0 || !errors.Is(results[0].Err, ErrStorage) {
			t.Errorf("with records of another partition: after %v, %v", time.Since(began), results)
		}
		req = request(want(keyA, 3), want(keyB, 3))
		req.MaxWait = 3 * time.Second
		go func() {
			time.Sleep(time.Second)
			w.commit(map[partlog.Key][][]byte{keyB: {batchOf(1, "new")}})
		}()
		began = time.Now()
		if results := w.fetch(req); time.Since(began) != time.Second || len(results[1].Records) == 0 {
			t.Errorf("with new records of another partition: after %v, %v", time.Since(began), results)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req = request(want(keyA, 3))
		req.MaxWait = time.Minute
		began = time.Now()
		w.reader.Fetch(ctx, req).Release()
		if took := time.Since(began); took != time.Second {
			t.Errorf("a connection that ends is kept for %v", took)
		}
	})
}

func TestVerdictsAreBounded(t *testing.T) {
	var now time.Time
	var o reported
	cfg := Config{Now: func() time.Time { return now }}
	o.config(&cfg)
	v := newVerdicts(&cfg)
	name := func(i int) place { return place{object: fmt.Sprint(i)} }
	for i := range 2 * maxVerdicts {
		v.found(name(i), Damage{Object: fmt.Sprint(i), Last: 9, Err: ErrStorage})
		now = now.Add(time.Millisecond)
	}
	if n := v.n.Load(); n != maxVerdicts || len(v.byPlace) != maxVerdicts || len(o.restored) != maxVerdicts {
		t.Errorf("%d verdicts about %d places, %d reported as over, want %d", n, len(v.byPlace), len(o.restored), maxVerdicts)
	}
	if _, err := v.blocked(name(2*maxVerdicts-1), 3); !errors.Is(err, ErrStorage) {
		t.Errorf("the newest: %v", err)
	}
	now = now.Add(verdictIdle)
	v.sweep()
	if n := v.n.Load(); n != 0 || len(o.restored) != 2*maxVerdicts {
		t.Errorf("%d verdicts that no reader asks for, %d reported as over", n, len(o.restored))
	}
}
