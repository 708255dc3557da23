package sweep

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	testCluster = segment.ID{1}
	testTopic   = segment.ID{2}
)

var errFault = errors.New("the store fails")

const finalBytes = 64 << 20

// world is a journal with its bucket, and a leader that merges in the simplest way.
type world struct {
	t     testing.TB
	r     *rand.Rand
	store *mem.Store
	fault func(mem.Call) mem.Action
	state *partlog.State
	now   time.Time
	seq   uint64
	epoch uint32
	ids   uint64
	prev  segment.Ref
	floor uint64
	clear error
	opt   Options

	releaser *Releaser
	deleter  *Deleter
	held     int
	lose     *partlog.Key // whose pages cannot be read
	loss     error        // of reading them
	lost     []LostPage
	lostErr  error
	stays    map[string]bool // fences, voids
	empty    map[string]bool // data objects without records
	carries  int
	records  int                  // of each batch, at least
	until    map[string]time.Time // these stay until then
	job      *job
}

// job is a merge whose Result is not committed.
type job struct {
	id   segment.ID
	part partlog.ResultPart
}

func newWorld(t testing.TB, r *rand.Rand) *world {
	w := &world{t: t, r: r, loss: objstore.ErrNotFound, state: partlog.New(1), now: time.UnixMilli(1e12), stays: map[string]bool{}, empty: map[string]bool{}, until: map[string]time.Time{}}
	w.store = mem.New(func() time.Time { return w.now }, func(c mem.Call) mem.Action {
		if w.fault != nil {
			return w.fault(c)
		}
		return mem.Action{}
	})
	w.opt = Options{
		Cluster: testCluster, Journal: 1, Store: w.store, State: w.state,
		Carry: func(_ context.Context, entries []segment.Entry) error {
			w.count(entries)
			w.carries++
			w.object(segment.KindData, entries)
			return nil
		},
		Page: func(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
			if w.lose != nil && *w.lose == p.Key {
				return nil, fmt.Errorf("%w: %s", w.loss, p.ObjectKey())
			}
			return w.page(ctx, p)
		},
		Now:    func() time.Time { return w.now },
		Round:  func(context.Context) (time.Time, error) { return w.now, w.clear },
		Floor:  func(context.Context) (uint64, error) { return w.floor, nil },
		OnHold: func(holds []segment.Hold) { w.held = len(holds) }, OnLostPage: func(p LostPage, err error) { w.lost, w.lostErr = append(w.lost, p), err },
		Log: slog.New(slog.DiscardHandler), Again: time.Hour, Every: time.Nanosecond,
	}
	w.fence()
	var opens []segment.Entry
	for i := range int32(3) {
		opens = append(opens, partlog.Open{Key: key(i)}.Encode())
	}
	w.object(segment.KindData, opens)
	w.lead()
	return w
}

// count counts the parts of entries that a test wants to see.
func (w *world) count(entries []segment.Entry) {
	t, ok := w.t.(*seeded.T)
	if !ok {
		return
	}
	for _, e := range entries {
		if r, err := partlog.DecodeRelease(1, e.Payload); e.Kind == partlog.EntryRelease && err == nil {
			for name, n := range map[string]int{"objects released": len(r.Objects), "partitions freed": len(r.Freed), "seqs released": len(r.Seqs)} {
				if n > 0 {
					t.Count(name)
				}
			}
			for _, f := range r.Freed {
				w.state.Survey(func(s *partlog.Survey) {
					if s.Key == f.Key && len(s.Pages) > 0 && s.Pages[0].Base < f.Offset {
						t.Count("pages freed")
					}
				})
			}
			if j, _ := w.state.Judged(); len(r.Seqs) > 0 && r.Seqs[0].First < j.Seq {
				t.Count("loose seq released")
			}
			if from, _ := w.state.Applied(); len(r.Seqs) > 0 && r.Seqs[0].First < from {
				t.Count("judged by reading")
			}
		}
		if s, err := partlog.DecodeSwept(e.Payload); e.Kind == partlog.EntrySwept && err == nil {
			for name, is := range map[string]bool{"second deletion": s.Second, "seqs deleted": len(s.Seqs) > 0} {
				if is {
					t.Count(name)
				}
			}
		}
	}
}

func key(i int32) partlog.Key { return partlog.Key{Topic: testTopic, Index: i} }

// lead begins again, with the state alone.
func (w *world) lead() {
	w.opt.State = w.state
	w.releaser, w.deleter = NewReleaser(w.opt), NewDeleter(w.opt)
}

func (w *world) id() (id segment.ID) {
	w.ids++
	id[0] = 0xee
	binary.BigEndian.PutUint64(id[8:], w.ids)
	return id
}

func (w *world) page(_ context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
	b, ok := w.store.GetNow(p.ObjectKey())
	if !ok {
		return nil, fmt.Errorf("%w: %s", w.loss, p.ObjectKey())
	}
	return partlog.DecodePage(p, b[p.Position:][:p.Length])
}

func (w *world) fence() {
	w.epoch++
	w.job = nil
	w.stays[segment.JournalKey(1, w.seq+1)] = true
	w.object(segment.KindFence, nil)
}

// object writes and applies the next object, with records of some partitions.
func (w *world) object(kind segment.Kind, entries []segment.Entry, to ...int32) {
	w.t.Helper()
	w.seq++
	h := w.header(kind)
	w.empty[segment.JournalKey(1, w.seq)] = kind == segment.KindData && len(to) == 0
	if len(to) > 0 {
		h.WAL = segment.WALRange{Incarnation: h.Incarnation, From: w.seq, To: w.seq + 1}
	}
	var parts []segment.Records
	for _, i := range to {
		v, _ := w.state.Lookup(key(i))
		spec := batchtest.Spec{BaseOffset: v.End, LeaderEpoch: int32(w.epoch), Records: make([]batchtest.Record, max(w.records, 1+w.r.IntN(3)))}
		parts = append(parts, segment.Records{Partition: segment.Partition{Topic: testTopic, Index: i, LeaderEpoch: int32(w.epoch)}, Batches: [][]byte{batchtest.Build(spec)}})
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

func (w *world) header(kind segment.Kind) segment.Header {
	return segment.Header{
		Kind: kind, Cluster: testCluster, Object: w.id(), Journal: 1, Epoch: w.epoch, Seq: w.seq, Prev: w.prev,
		Node: segment.ID{3}, Incarnation: segment.ID{4}, BuiltMs: w.now.UnixMilli(),
	}
}

// void stores an object of the epoch before.
func (w *world) void() {
	if w.epoch < 2 {
		return
	}
	w.seq++
	h := w.header(segment.KindData)
	h.Epoch--
	b, _, err := segment.Build(h, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.stays[segment.JournalKey(1, w.seq)] = true
	_ = w.store.CreateNow(segment.JournalKey(1, w.seq), b)
}

// extent is one of a new object, which is stored.
func (w *world) extent(n segment.Name, base, last int64) partlog.Extent {
	w.store.PutNow(n.Key(), []byte("merged"))
	return partlog.Extent{
		Object: n, Base: base, Last: last, MaxTimestamp: 5, Position: 100, Length: finalBytes, IndexLength: 9, Size: 2 * finalBytes,
	}
}

// begin commits the intent of a job, and uploads its output.
func (w *world) begin() {
	i := w.r.Int32N(3)
	var s *partlog.Survey
	w.state.Survey(func(p *partlog.Survey) {
		if p.Key == key(i) {
			s = p
		}
	})
	if s == nil || s.View.Dropped {
		return
	}
	j := &job{id: w.id(), part: partlog.ResultPart{Key: s.Key}}
	live := slices.DeleteFunc(slices.Clone(s.Segments), func(x partlog.Extent) bool { return x.Last < s.View.Start })
	switch low := max(s.Merged, s.View.Start); {
	case len(live) > 0 && w.r.IntN(2) == 0: // again, one of those in memory
		x := live[w.r.IntN(len(live))]
		if x.Object.Kind != segment.KindMerged {
			return
		}
		j.part.From, j.part.To = x.Base, x.Last+1
		if x.Object.Own() {
			j.part.Replaced = []partlog.Extent{x}
		}
	case low < s.View.End:
		j.part.From, j.part.To = low, s.View.End
	default:
		return
	}
	n := segment.OwnSegment(testTopic, i, j.part.From, w.id())
	if w.r.IntN(3) == 0 {
		n = segment.SharedSegment(1, w.id())
	}
	w.object(segment.KindData, []segment.Entry{partlog.Intent{Job: j.id, Objects: []segment.Name{n}}.Encode()})
	j.part.Extents = []partlog.Extent{w.extent(n, j.part.From, j.part.To-1)}
	if first, _, _, _ := w.state.Find(s.Key, j.part.From, 1); j.part.To > s.Merged && len(first) > 0 && w.r.IntN(4) == 0 { // its first source is damaged
		x := first[0]
		if x.Base == j.part.From && x.Last+1 < j.part.To {
			out := w.extent(n, x.Last+1, j.part.To-1)
			j.part.Extents = []partlog.Extent{x, out}
		}
	}
	w.job = j
}

// end commits the Result of the job, or abandons it.
func (w *world) end() {
	e := (&partlog.Result{Job: w.job.id, Last: true, Parts: []partlog.ResultPart{w.job.part}}).Encode()
	if w.r.IntN(5) == 0 {
		e = partlog.Abandon{Job: w.job.id}.Encode()
	}
	w.job = nil
	w.object(segment.KindData, []segment.Entry{e})
}

// restart goes on from a checkpoint, with pages of some of the extents.
func (w *world) restart() {
	if ix, ok := w.state.PlanIndex(1 + w.r.IntN(2)); ok {
		id := w.id()
		w.store.PutNow(ix.Name(id).Key(), ix.Payload())
		w.state.Paged(ix, id)
	}
	s, err := partlog.Decode(1, w.state.Encode(nil, segment.ID{}, nil), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.state = s
	w.fence()
	w.lead()
}

// check holds that no object that an extent names is gone, and none that stays forever.
func (w *world) check() {
	for k, until := range w.until {
		if w.now.After(until) {
			delete(w.until, k)
		} else if !w.has(k) {
			w.t.Fatalf("%s is gone, its records were deleted less than %v ago", k, w.opt.UserGrace)
		}
	}
	for k := range w.stays {
		if _, ok := w.store.GetNow(k); !ok {
			w.t.Fatalf("%s is gone", k)
		}
	}
	for _, n := range w.named() {
		if _, ok := w.store.GetNow(n.Key()); !ok {
			w.t.Fatalf("%s is gone, and an extent names it", n.Key())
		}
	}
	for seq := max(w.floor, 1); seq <= w.seq; seq++ {
		if _, ok := w.store.GetNow(segment.JournalKey(1, seq)); !ok {
			w.t.Fatalf("seq %d is gone, the floor is %d", seq, w.floor)
		}
	}
}

// named are the objects that extents name, those in pages too.
func (w *world) named() (names []segment.Name) {
	for i := range int32(3) {
		v, ok := w.state.Lookup(key(i))
		for offset := v.Start; ok && offset < v.End; {
			extents := w.find(i, offset)
			for j := range extents {
				names = append(names, extents[j].Object)
				offset = extents[j].Last + 1
			}
		}
	}
	return names
}

// find returns extents from an offset on, those in pages too.
func (w *world) find(i int32, offset int64) []partlog.Extent {
	extents, page, _, _ := w.state.Find(key(i), offset, 100)
	if page == nil {
		return extents
	}
	x, err := w.page(context.Background(), page)
	if err != nil {
		w.t.Fatal(err)
	}
	return x.From(offset, 100)
}

func (w *world) run(step func(context.Context) (bool, error)) {
	if _, err := step(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}
