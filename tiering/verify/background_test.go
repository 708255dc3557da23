package verify_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// watch is a background verification of a bucket in virtual time.
type watch struct {
	bucket  *tieredBucket
	store   *mem.Store
	now     time.Time
	sleeps  []time.Duration
	stop    int // after so many sleeps
	saved   []byte
	damaged []verify.Finding
	mended  []string
	proofs  int
}

func newWatch(t *testing.T, fault func(mem.Call) mem.Action) *watch {
	w := &watch{bucket: tiered(t), now: time.UnixMilli(1_000_000_000)}
	w.store = mem.New(nil, fault)
	for _, i := range w.bucket.store.ListNow("") {
		raw, _ := w.bucket.store.GetNow(i.Key)
		w.store.PutNow(i.Key, raw)
	}
	return w
}

// run verifies until there were n sleeps, or a pass is over.
func (w *watch) run(t *testing.T, n int) *verify.Background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.sleeps, w.damaged, w.mended = nil, nil, nil
	b := verify.NewBackground(verify.BackgroundOptions{
		Store: w.store, Cluster: cluster, State: w.bucket.state, Rate: 1 << 20, Prove: func(context.Context) error { w.proofs++; return nil },
		Load: func() ([]byte, error) { return w.saved, nil }, Save: func(raw []byte) error { w.saved = slices.Clone(raw); return nil },
		Now: func() time.Time { return w.now }, Name: newCatalog().Name,
		Sleep: func(_ context.Context, d time.Duration) error {
			w.now = w.now.Add(d)
			if w.sleeps = append(w.sleeps, d); len(w.sleeps) == n || d >= time.Minute {
				cancel()
			}
			return ctx.Err()
		},
		OnDamage: func(f verify.Finding) { w.damaged = append(w.damaged, f) }, OnMended: func(object string) { w.mended = append(w.mended, object) },
		Log: slog.New(slog.DiscardHandler),
	})
	b.Run(ctx)
	return b
}

const passes = 1000

func TestTheBackgroundReadsEachObjectOnceAPassAtItsPace(t *testing.T) {
	reads := map[string]int{}
	w := newWatch(t, func(c mem.Call) mem.Action {
		reads[c.Key]++
		return mem.Action{}
	})
	began := w.now
	b := w.run(t, passes)
	// The own segment, the shared one, and the journal from the first object with
	// records that are not merged, at seq 13, to the head at 28.
	if n := len(w.sleeps); n != 1+1+16+1 || w.sleeps[0] != time.Second || len(w.damaged) != 0 || b.Damaged() != 0 {
		t.Errorf("%d sleeps, %v, damaged %+v", n, w.sleeps, w.damaged)
	}
	if b.Oldest() != began || b.Read() < 2000 {
		t.Errorf("oldest %v, %d bytes read", b.Oldest(), b.Read())
	}
	for _, key := range []string{w.bucket.own.Key(), w.bucket.both.Key(), at(13), at(28)} {
		if reads[key] != 1 {
			t.Errorf("%s was read %d times", key, reads[key])
		}
	}
	second := w.now
	if b = w.run(t, passes); b.Oldest() != second { // an hour after the first began
		t.Errorf("after the second pass the oldest is %v, want %v", b.Oldest(), second)
	}
	if second.Sub(began) != time.Hour {
		t.Errorf("the second pass began after %v", second.Sub(began))
	}
}

func TestTheBackgroundGoesOnWhereItWas(t *testing.T) {
	reads := map[string]int{}
	w := newWatch(t, func(c mem.Call) mem.Action {
		reads[c.Key]++
		return mem.Action{}
	})
	for range 100 {
		if w.run(t, 1); w.sleeps[0] >= time.Minute {
			break
		}
	}
	for key, n := range reads {
		if n != 1 && !strings.Contains(key, "/index/") {
			t.Errorf("%s was read %d times", key, n)
		}
	}
	if len(reads) < 18 {
		t.Errorf("only %d objects were read", len(reads))
	}
	w.saved = []byte("rotten")
	if w.run(t, 1); reads[w.bucket.own.Key()] != 2 {
		t.Error("rotten progress does not begin again")
	}
}

func TestTheBackgroundReportsDamageUntilItIsMended(t *testing.T) {
	for name, tc := range map[string]struct {
		key     func(w *watch) string
		spoil   func(w *watch, key string)
		affects string
		proofs  int
	}{
		"a flipped record":      {func(w *watch) string { return w.bucket.own.Key() }, flipAt(144 + 70), "events-0 offsets 0 to 14", 0},
		"a missing segment":     {func(w *watch) string { return w.bucket.both.Key() }, func(w *watch, key string) { w.store.DeleteNow(key) }, "clicks-0 offsets 0 to 5", 1},
		"a segment cut short":   {func(w *watch) string { return w.bucket.own.Key() }, func(w *watch, key string) { w.cut(key) }, "events-0 offsets 0 to 14", 0},
		"a source cut short":    {func(*watch) string { return at(13) }, func(w *watch, key string) { w.cut(key) }, "events-0 offsets 15 to 17", 0},
		"a missing source":      {func(*watch) string { return at(20) }, func(w *watch, key string) { w.store.DeleteNow(key) }, "events-0 offsets 21 to 23", 1},
		"a flipped source byte": {func(*watch) string { return at(20) }, flipAt(segment.HeaderSize + 70), "events-0 offsets 21 to 23", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t, nil)
			key := tc.key(w)
			good, _ := w.store.GetNow(key)
			tc.spoil(w, key)
			b := w.run(t, passes)
			if len(w.damaged) != 1 || w.damaged[0].Key != key || len(w.damaged[0].Affects) == 0 || w.damaged[0].Affects[0].String() != tc.affects || w.damaged[0].Hint == "" {
				t.Fatalf("%+v", w.damaged)
			}
			if b.Damaged() != 1 || w.proofs != tc.proofs {
				t.Errorf("%d damaged, %d proofs", b.Damaged(), w.proofs)
			}
			w.store.PutNow(key, good)
			if b = w.run(t, passes); len(w.damaged) != 0 || b.Damaged() != 0 || !slices.Equal(w.mended, []string{key}) {
				t.Errorf("after it was restored: %+v, mended %v", w.damaged, w.mended)
			}
		})
	}
}

// TestTheBackgroundGoesAroundLostPages has index pages of which both copies are lost: they
// are reported, and all objects that may have records are read. A page that is back, or is
// not named any more, is damaged until the next pass is over.
func TestTheBackgroundGoesAroundLostPages(t *testing.T) {
	for kind, copies := range map[string]func(whole []byte) []byte{
		"missing": nil,
		"cut":     func(whole []byte) []byte { return whole[:len(whole)-1] },
		"damaged": func(whole []byte) []byte { return make([]byte, len(whole)) },
	} {
		t.Run(kind, func(t *testing.T) { goesAround(t, copies) })
	}
}

func goesAround(t *testing.T, copies func(whole []byte) []byte) {
	reads := map[string]int{}
	w := newWatch(t, func(c mem.Call) mem.Action {
		reads[c.Key]++
		return mem.Action{}
	})
	index, _ := w.bucket.state.PlanIndex(1)
	name := index.Name(segment.ID{0xdd})
	w.bucket.state.Paged(index, segment.ID{0xdd})
	whole := append(make([]byte, segment.BlobHeaderSize), index.Payload()...)
	for _, n := range name.Copies() {
		if copies != nil {
			w.store.PutNow(n.Key(), copies(whole))
		}
	}
	began := w.now
	b := w.run(t, passes)
	if b.Oldest() != began || w.saved == nil {
		t.Error("the pass was not completed")
	}
	lost := slices.ContainsFunc(w.damaged, func(f verify.Finding) bool {
		return f.Key == name.Key() && f.Affects[0].String() == "events-0 offsets 15 to 26"
	})
	if b.Damaged() != 1 || !lost {
		t.Errorf("%+v", w.damaged)
	}
	for seq := uint64(13); seq <= 28; seq++ {
		if reads[at(seq)] != 1 {
			t.Errorf("seq %d was read %d times", seq, reads[at(seq)])
		}
	}
	w.store.PutNow(name.Key(), whole)
	if b = w.run(t, passes); len(w.damaged) != 0 || b.Damaged() != 0 || !slices.Equal(w.mended, []string{name.Key()}) {
		t.Errorf("after it was restored: %+v, mended %v", w.damaged, w.mended)
	}
}

func flipAt(at int) func(*watch, string) {
	return func(w *watch, key string) {
		raw, _ := w.store.GetNow(key)
		raw = slices.Clone(raw)
		raw[at] ^= 1
		w.store.PutNow(key, raw)
	}
}

func (w *watch) cut(key string) {
	raw, _ := w.store.GetNow(key)
	w.store.PutNow(key, raw[:len(raw)-1])
}

// A store that does not answer is no damage: the pass goes on from there.
func TestTheBackgroundWaitsForTheStore(t *testing.T) {
	failing := true
	w := newWatch(t, func(c mem.Call) mem.Action {
		if failing {
			return mem.FailBefore(errors.New("no answer"))
		}
		return mem.Action{}
	})
	began := w.now
	b := w.run(t, passes)
	if len(w.sleeps) != 1 || len(w.damaged) != 0 || b.Oldest() != began {
		t.Errorf("%v, %+v", w.sleeps, w.damaged)
	}
	failing = false
	if w.run(t, passes); len(w.sleeps) != 19 {
		t.Errorf("%v", w.sleeps)
	}
}
