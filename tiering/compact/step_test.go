package compact_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/compact"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var theKey = partlog.Key{Topic: segment.ID{7}, Index: 2}

// world is a journal with one compacted partition, in virtual time, whose leadership may
// end at any entry.
type world struct {
	t      testing.TB
	rng    *rand.Rand
	store  *mem.Store
	state  *partlog.State
	now    time.Time
	seq    uint64
	epoch  uint32
	ids    uint64
	prev   segment.Ref
	merger *merge.Merger
	step   *compact.Step
	policy compact.Policy
	keys   int
	end    int64
	truth  map[string]string // the last value of each key
	dies   float64           // how likely a leadership ends at an entry
	dead   bool
	clocks error         // why no round may begin
	rounds int           // that were asked for
	wrong  int           // rounds after which the clock of the node is wrong, 0: it stays right
	built  time.Duration // how far the clock is ahead by which objects are built
	sent   time.Duration // the same for that of the producer
	begins time.Time
	drop   func(*merge.Compaction) // spoils a job
}

func (w *world) id() (id segment.ID) {
	w.ids++
	id[0] = 0xee
	binary.BigEndian.PutUint64(id[8:], w.ids)
	return id
}

func (w *world) Now() time.Time { return w.now }

func (w *world) Sleep(ctx context.Context, d time.Duration) error {
	w.now = w.now.Add(d)
	return ctx.Err()
}

func newWorld(t testing.TB, rng *rand.Rand) *world {
	w := &world{
		t: t, rng: rng, state: partlog.New(1), now: time.UnixMilli(1e12), keys: 5 + rng.IntN(30), truth: map[string]string{},
		policy: compact.Policy{MinDirtyRatio: 0.3, DeleteRetention: time.Duration(rng.IntN(3)) * time.Hour},
	}
	w.store = mem.New(w.Now, func(mem.Call) mem.Action { return mem.Action{} })
	w.lead()
	w.object(segment.KindData, []segment.Entry{partlog.Open{Key: theKey}.Encode()}, nil)
	return w
}

// lead begins a leadership: a fence, and new steps.
func (w *world) lead() {
	w.dead = false
	w.epoch++
	w.object(segment.KindFence, nil, nil)
	page := func(context.Context, *partlog.Page) (*partlog.PageExtents, error) {
		return nil, errors.New("no pages here")
	}
	var err error
	w.merger, err = merge.NewMerger(merge.Options{
		Config: merge.Config{
			JobBytes: 64 << 10, DueBytes: 256, DueAge: time.Minute, OwnBytes: 2 << 10, SmallBytes: 256, ObjectBytes: 8 << 10, TidyAge: time.Hour, TidyCount: 4,
		},
		Cluster: segment.ID{1}, Journal: 1, Node: segment.ID{3}, Incarnation: segment.ID{4}, Store: w.store, State: w.state,
		Carry: w.carry, Page: page, Sequential: true, Clock: w, NewID: w.id, Disk: merge.Folder(w.t.TempDir()),
		Memory: func(segment.Name) ([]byte, func(), bool) { return nil, nil, false },
		Topic:  func(segment.ID) (merge.Topic, bool) { return merge.Topic{Name: "table", Class: "compact"}, true },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.step = compact.NewStep(compact.Options{
		State: w.state, Carry: w.carry, Scan: w.merger.Scan, Page: page, Now: w.Now, Round: w.round, Begins: func() time.Time { return w.begins }, Log: slog.New(slog.DiscardHandler),
		Rewrite: func(ctx context.Context, c *merge.Compaction) (merge.Compacted, error) {
			if w.drop != nil {
				w.drop(c)
			}
			return w.merger.Compact(ctx, c)
		},
		Topic:  func(segment.ID) (compact.Policy, bool) { return w.policy, true },
		Secret: func() (s compact.Secret) { binary.BigEndian.PutUint64(s[:], w.rng.Uint64()); return s },
		Memory: int64(1+w.rng.IntN(2*w.keys)) * 140, JobBytes: 1 << (9 + w.rng.IntN(6)),
		OnUnclean: func(partlog.Key, error) {},
	})
}

func (w *world) round(context.Context) (time.Time, error) {
	if w.rounds++; w.wrong > 0 && w.rounds > w.wrong {
		return time.Time{}, clocks.ErrWrong
	}
	return w.now, w.clocks
}

func (w *world) object(kind segment.Kind, entries []segment.Entry, parts []segment.Records) {
	w.t.Helper()
	w.seq++
	h := segment.Header{
		Kind: kind, Cluster: segment.ID{1}, Object: w.id(), Journal: 1, Epoch: w.epoch, Seq: w.seq, Prev: w.prev,
		Node: segment.ID{3}, Incarnation: segment.ID{4}, BuiltMs: w.now.Add(w.built).UnixMilli(),
	}
	b, footer, err := segment.Build(h, entries, parts)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.CreateNow(segment.JournalKey(1, w.seq), b); err != nil {
		w.t.Fatal(err)
	}
	if err := w.state.Apply(footer, entries); err != nil {
		w.t.Fatal(err)
	}
	w.prev = segment.Ref{Seq: w.seq, Object: h.Object}
}

var errDied = errors.New("the leader died")

func (w *world) carry(_ context.Context, entries []segment.Entry) error {
	if w.dead || w.rng.Float64() < w.dies/2 {
		w.dead = true
		return errDied
	}
	w.object(segment.KindData, entries, nil)
	if w.rng.Float64() < w.dies/2 {
		w.dead = true // the entry is committed
		return errDied
	}
	return nil
}

// produce writes an object with some batches. Some values are null, few keys are.
func (w *world) produce() {
	p := segment.Records{Partition: segment.Partition{Topic: theKey.Topic, Index: theKey.Index, LeaderEpoch: int32(w.epoch)}}
	sent := w.now.Add(w.sent).UnixMilli()
	for range 1 + w.rng.IntN(5) {
		spec := batchtest.Spec{BaseOffset: w.end, LeaderEpoch: int32(w.epoch), BaseTimestamp: sent, Codec: batch.Codec(w.rng.IntN(5))}
		for range 1 + w.rng.IntN(5) {
			r := batchtest.Record{Key: fmt.Append(nil, "key ", w.rng.IntN(w.keys)), Timestamp: sent}
			switch w.rng.IntN(12) {
			case 0, 1, 2:
				delete(w.truth, string(r.Key))
			case 3:
				r.Key, r.Value = nil, []byte("without a key")
			default:
				r.Value = fmt.Appendf(nil, "value of offset %d, %x", w.end, w.rng.Uint64())
				w.truth[string(r.Key)] = string(r.Value)
			}
			spec.Records = append(spec.Records, r)
			w.end++
		}
		p.Batches = append(p.Batches, batchtest.Build(spec))
	}
	w.object(segment.KindData, nil, []segment.Records{p})
}

// table reads the partition from its start, as a consumer does, and returns the last values.
func (w *world) table() map[string]string {
	w.t.Helper()
	var survey partlog.Survey
	w.state.Survey(func(x *partlog.Survey) { survey = *x })
	values := map[string]string{}
	next := survey.View.Start
	for next < survey.View.End {
		extents, page, _, _ := w.state.Find(theKey, next, 100)
		if page != nil || len(extents) == 0 || extents[0].Base != next {
			w.t.Fatalf("no extent begins at offset %d", next)
		}
		for i := range extents {
			e := &extents[i]
			b, err := objstore.ReadRange(w.t.Context(), w.store, e.Object.Key(), int64(e.Position), int64(e.Length))
			if err != nil {
				w.t.Fatal(err)
			}
			err = batch.Walk(b, func(pos int, h batch.Header) error {
				return batch.Records(b[pos:], math.MaxInt32, func(r batch.Record) bool {
					switch {
					case r.Key == nil:
					case r.Value == nil:
						delete(values, string(r.Key))
					default:
						values[string(r.Key)] = string(r.Value)
					}
					return true
				})
			})
			if err != nil {
				w.t.Fatal(err)
			}
			next = e.Last + 1
		}
	}
	return values
}

// work runs the steps until they have nothing to do, or the leader dies.
func (w *world) work() {
	w.t.Helper()
	for range 300 {
		more, err := w.merger.Run(w.t.Context())
		if err == nil {
			var again bool
			again, err = w.step.Run(w.t.Context())
			more = more || again
		}
		switch {
		case errors.Is(err, errDied):
			w.lead()
		case err != nil:
			w.t.Fatal(err)
		case !more:
			return
		}
	}
	w.t.Fatal("no end of work")
}

// TestCompactedPartitions produces, merges and compacts a partition in turn, with leaders
// that die at any entry. A consumer must find the last values. In some runs the compaction
// loses a key, as a bug might: then nothing may change.
func TestCompactedPartitions(t *testing.T) {
	seeded.Run(t, seeded.Test[int]{
		Run: func(t *seeded.T, _ int) {
			w := newWorld(t, t.Rand)
			if w.dies = float64(t.Rand.IntN(3)) * 0.05; t.Rand.IntN(3) == 0 {
				w.faulty(t)
				return
			}
			for range 25 {
				for range 1 + t.Rand.IntN(6) {
					w.produce()
				}
				w.now = w.now.Add(time.Duration(t.Rand.IntN(90)) * time.Minute)
				w.work()
				if got := w.table(); !maps.Equal(got, w.truth) {
					t.Fatalf("a consumer finds %v, want %v", got, w.truth)
				}
			}
			if s := w.step.Stats(); s.Passes > 3 && s.RecordsRemoved > 50 {
				t.Count("compacted")
			}
		},
		Must: []string{"compacted", "a bug was found"},
	}, 40, 12)
}

// TestNothingIsCompactedWhileTheClockIsWrong holds a partition that is due. Nor is anything
// before compaction begins.
func TestNothingIsCompactedWhileTheClockIsWrong(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 0)))
	for range 30 {
		w.produce()
	}
	w.now = w.now.Add(time.Hour)
	w.clocks = clocks.ErrWrong
	w.work()
	if s := w.step.Stats(); s.Passes+s.Failed > 0 {
		t.Errorf("%+v with a wrong clock", s)
	}
	w.clocks, w.now, w.begins = nil, w.now.Add(time.Hour), w.now.Add(2*time.Hour)
	w.work()
	if s := w.step.Stats(); s.Passes+s.Failed > 0 {
		t.Errorf("%+v before compaction begins", s)
	}
	w.now = w.now.Add(time.Hour)
	w.work()
	if s := w.step.Stats(); s.Passes == 0 {
		t.Errorf("%+v with a right clock", s)
	}
}

// passes runs the steps, and returns how many passes were completed.
func (w *world) passes() int64 {
	w.t.Helper()
	before := w.step.Stats().Passes
	w.work()
	return w.step.Stats().Passes - before
}

// TestRecordsKeepTheirLag stores records by a clock that is behind, and records that are
// from the future. The first are as young as their timestamps, the others as their object.
func TestRecordsKeepTheirLag(t *testing.T) {
	for name, tc := range map[string]struct{ built, sent time.Duration }{
		"built by a clock that is behind": {built: -365 * 24 * time.Hour},
		"sent by a clock that is ahead":   {sent: 365 * 24 * time.Hour},
		"sent long before":                {sent: -365 * 24 * time.Hour},
	} {
		w := newWorld(t, rand.New(rand.NewPCG(1, 0)))
		w.policy.MinLag, w.built, w.sent = 2*time.Hour, tc.built, tc.sent
		for range 30 {
			w.produce()
		}
		w.built = 0
		w.now = w.now.Add(time.Hour)
		if n := w.passes(); n > 0 {
			t.Errorf("%s: %d passes before the lag is over", name, n)
		}
		w.now = w.now.Add(90 * time.Minute)
		if n := w.passes(); n == 0 {
			t.Errorf("%s: no pass after the lag", name)
		}
	}
}

// TestAPassEndsByAConfirmedClock: tombstones wait from then on.
func TestAPassEndsByAConfirmedClock(t *testing.T) {
	for _, wrong := range []int{0, 1} {
		w := newWorld(t, rand.New(rand.NewPCG(1, 0)))
		for range 30 {
			w.produce()
		}
		w.now = w.now.Add(time.Hour)
		w.wrong = wrong
		if n := w.passes(); n == 0 || w.rounds < 2 {
			t.Fatalf("%d passes with %d rounds", n, w.rounds)
		}
		w.state.Survey(func(x *partlog.Survey) {
			want := int64(math.MaxInt64)
			if wrong == 0 {
				want = w.now.UnixMilli()
			}
			if x.CleanedMs != want {
				t.Errorf("clean since %d, want %d", x.CleanedMs, want)
			}
		})
	}
}

// faulty has a compaction lose a key.
func (w *world) faulty(t *seeded.T) {
	w.dies, w.policy.MinDirtyRatio = 0, 0
	for range 20 {
		w.produce()
	}
	for more, err := true, error(nil); more; {
		if more, err = w.merger.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lost := false
	w.drop = func(c *merge.Compaction) { c.Filter = faulty{c.Filter, &lost} }
	var err error
	for again := true; again && err == nil; {
		again, err = w.step.Run(t.Context())
	}
	if lost != errors.Is(err, merge.ErrMismatch) {
		t.Fatalf("records were lost: %v, error %v", lost, err)
	}
	if got := w.table(); !maps.Equal(got, w.truth) {
		t.Fatalf("a consumer finds %v, want %v", got, w.truth)
	}
	if lost {
		t.Count("a bug was found")
	}
}

// faulty loses every record of some keys.
type faulty struct {
	merge.Filter
	lost *bool
}

func (f faulty) Keep(r batch.Record) bool {
	if !f.Filter.Keep(r) {
		return false
	}
	lose := len(r.Key) > 0 && r.Key[len(r.Key)-1] == '3'
	*f.lost = *f.lost || lose
	return !lose
}
