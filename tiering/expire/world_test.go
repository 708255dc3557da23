package expire

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	testTopic = segment.ID{7}
	testKey   = partlog.Key{Topic: testTopic}
)

const day = 24 * 60 * 60 * 1000

// world is a journal with one partition, whose extents have 10 offsets and 100 bytes each.
type world struct {
	t       testing.TB
	state   *partlog.State
	seq     uint64
	ids     uint16
	end     int64
	opt     Options
	policy  Policy
	deleted bool // the topic
	now     time.Time
	clock   error  // of a round
	onCarry func() // may be nil
	onRound func() // may be nil
	pages   map[segment.IndexName][]byte
	loss    error // of reading pages
	rounds  int
	reads   int
	carried []segment.Entry
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, state: partlog.New(1), now: time.UnixMilli(100 * day), policy: Policy{-1, -1}, pages: map[segment.IndexName][]byte{}}
	w.opt = Options{
		State: w.state, Carry: w.carry, Clocks: w, Log: slog.New(slog.DiscardHandler), Page: w.page,
		Policy: func(id segment.ID) (Policy, bool) { return w.policy, id == testTopic && !w.deleted },
		Gone:   func(id segment.ID) bool { return w.deleted },
		Begins: func() time.Time { return time.Time{} },
		Now:    func() time.Time { return w.now },
	}
	w.object(nil)
	w.object([]segment.Entry{partlog.Open{Key: testKey}.Encode()})
	return w
}

func (w *world) Round(context.Context) (time.Time, error) {
	w.rounds++
	if w.onRound != nil {
		w.onRound()
	}
	if w.clock != nil {
		return time.Time{}, w.clock
	}
	return w.now, nil
}

func (w *world) carry(_ context.Context, entries []segment.Entry, wanted func(segment.Entry) bool) error {
	if w.onCarry != nil {
		w.onCarry()
	}
	if entries = slices.DeleteFunc(entries, func(e segment.Entry) bool { return !wanted(e) }); len(entries) == 0 {
		return nil
	}
	w.carried = append(w.carried, entries...)
	w.object(entries)
	return nil
}

func (w *world) object(entries []segment.Entry, parts ...segment.Partition) {
	w.t.Helper()
	w.seq++
	h := segment.Header{Kind: segment.KindData, Journal: 1, Epoch: 1, Seq: w.seq}
	if w.seq == 1 {
		h.Kind = segment.KindFence
	}
	if err := w.state.Apply(&segment.Footer{Header: h, Partitions: parts}, entries); err != nil {
		w.t.Fatal(err)
	}
}

// write adds an extent in a journal object; -1: its records carry no time.
func (w *world) write(ms int64) {
	w.t.Helper()
	w.object(nil, segment.Partition{
		Topic: testTopic, LeaderEpoch: 1, Position: 100, Length: 100, CRC: 1,
		BaseOffset: w.end, LastOffset: w.end + 9, Records: 10, Batches: 1, MaxTimestamp: ms,
	})
	w.end += 10
}

// merge puts an own segment in place of each extent in the journal; of(i) are its times.
func (w *world) merge(of func(i int) (newest, source int64)) {
	w.t.Helper()
	for i := 0; max(w.merged(), w.start()) < w.end; i++ { // from whole extents
		from := max(w.merged(), w.start()/10*10)
		name, job := segment.OwnSegment(testTopic, 0, from, w.id(1)), w.id(2)
		newest, source := of(i)
		w.object([]segment.Entry{partlog.Intent{Job: job, Objects: []segment.Name{name}}.Encode()})
		w.object([]segment.Entry{(&partlog.Result{Job: job, Last: true, Parts: []partlog.ResultPart{{
			Key: testKey, From: from, To: from + 10, Source: 100, Extents: []partlog.Extent{{
				Object: name, Base: from, Last: from + 9, MaxTimestamp: newest, Position: 200, Length: 100, IndexLength: 50, CRC: 1,
				Records: 10, Size: 500, SHA256: [32]byte{1}, BuiltMs: 77, SourceMs: source,
			}},
		}}}).Encode()})
	}
}

// again puts another own segment in place of the one that an offset begins.
func (w *world) again(from int64) {
	w.t.Helper()
	for old, err := range w.state.Walk(w.t.Context(), testKey, from, w.page) {
		if err != nil {
			w.t.Fatal(err)
		}
		job, by := w.id(2), old
		by.Object = segment.OwnSegment(testTopic, 0, from, w.id(1))
		w.object([]segment.Entry{partlog.Intent{Job: job, Objects: []segment.Name{by.Object}}.Encode()})
		w.object([]segment.Entry{(&partlog.Result{Job: job, Last: true, Parts: []partlog.ResultPart{{
			Key: testKey, From: from, To: from + 10, Replaced: []partlog.Extent{old}, Extents: []partlog.Extent{by},
		}}}).Encode()})
		return
	}
}

func (w *world) id(kind byte) segment.ID {
	w.ids++
	return segment.ID{kind, byte(w.ids >> 8), byte(w.ids)}
}

func (w *world) merged() (merged int64) {
	w.state.Survey(func(s *partlog.Survey) { merged = s.Merged })
	return merged
}

// pageAll moves all extents that may lie in pages there.
func (w *world) pageAll() {
	w.t.Helper()
	for {
		index, ok := w.state.PlanIndex(1)
		if !ok {
			return
		}
		id := w.id(3)
		w.pages[index.Name(id)] = index.Payload()
		w.state.Paged(index, id)
	}
}

func (w *world) page(_ context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
	w.reads++
	if w.loss != nil {
		return nil, w.loss
	}
	b, ok := w.pages[p.IndexName]
	if !ok {
		return nil, errors.New("no such page")
	}
	return partlog.DecodePage(p, b[p.Position:p.Position+p.Length])
}

func (w *world) start() int64 {
	v, _ := w.state.Lookup(testKey)
	return v.Start
}

// look has an Expirer look once a minute later, and checks the start.
func (w *world) look(x *Expirer, want int64) {
	w.t.Helper()
	w.now = w.now.Add(time.Minute)
	if _, err := x.Run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if start := w.start(); start != want {
		w.t.Errorf("the partition starts at %d, want %d", start, want)
	}
}

var _ Clocks = (*clocks.Clocks)(nil)
