package compact

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
)

// logBatch is a batch as a compacted log has it: its offsets stay when records go.
type logBatch struct {
	base, last int64
	records    []batch.Record
	size       int // records that it had when it was written
}

func (b *logBatch) header() *batch.Header {
	return &batch.Header{BaseOffset: b.base, LastOffsetDelta: int32(b.last - b.base)}
}

// aLog is a partition that is compacted again and again.
type aLog struct {
	rng       *rand.Rand
	batches   []logBatch
	end       int64
	cleaned   int64
	cleanedAt int64 // passes
	passes    int64
}

func (l *aLog) append() {
	b := logBatch{base: l.end}
	for range 1 + l.rng.IntN(4) {
		r := batch.Record{Offset: l.end, Key: fmt.Append(nil, l.rng.IntN(12))}
		if l.rng.IntN(3) > 0 {
			r.Value = fmt.Append(nil, l.end)
		}
		if l.rng.IntN(20) == 0 {
			r.Key, r.Value = nil, nil
		}
		b.records = append(b.records, r)
		l.end++
	}
	b.last, b.size = l.end-1, len(b.records)
	l.batches = append(l.batches, b)
}

// fold is the last value of each key, as a consumer finds it that reads from the start.
func (l *aLog) fold() map[string]string {
	values := map[string]string{}
	for i := range l.batches {
		l.batches[i].foldInto(values)
	}
	return values
}

func (b *logBatch) foldInto(values map[string]string) {
	for _, r := range b.records {
		switch {
		case r.Key == nil:
		case r.Value == nil:
			delete(values, string(r.Key))
		default:
			values[string(r.Key)] = string(r.Value)
		}
	}
}

// pass runs a pass, which ends early with some probability.
func (l *aLog) pass(keys int64, retention int64) error {
	r := Range{From: l.cleaned, To: l.end - l.rng.Int64N(l.end/2+1), Last: l.end - 1}
	if l.passes-l.cleanedAt >= retention {
		r.TombstonesBelow = l.cleaned
	}
	l.passes++
	p := NewPass(r, NewMap(keys*slotSize, Secret{1}))
	l.build(p)
	model := &Model{Range: r, End: p.End(), Secret: Secret{2}}
	for _, b := range l.batches {
		for _, r := range b.records {
			model.Note(r.Offset, r.Key)
		}
	}
	for i := range l.batches {
		if l.rng.IntN(200) == 0 {
			return nil // the process dies
		}
		b := &l.batches[i]
		final := b.last == l.end-1
		kept := slices.DeleteFunc(slices.Clone(b.records), func(r batch.Record) bool { return !p.Untouched(b.header()) && !p.Keep(r) })
		want := slices.DeleteFunc(slices.Clone(b.records), func(r batch.Record) bool {
			return !final && !model.Stays(r.Offset, r.Key, r.Value == nil)
		})
		if !slices.EqualFunc(kept, want, func(a, b batch.Record) bool { return a.Offset == b.Offset }) {
			return fmt.Errorf("the model keeps %v, the pass %v", want, kept)
		}
		b.records = kept
	}
	l.cleaned, l.cleanedAt = p.End(), l.passes
	return l.checkClean()
}

func (l *aLog) build(p *Pass) {
	for i := range l.batches {
		b := &l.batches[i]
		if b.last < p.From {
			continue
		}
		if !p.Begin(b.header()) {
			return
		}
		for _, r := range b.records {
			if !p.Add(r) {
				return
			}
		}
		p.Done(b.header())
	}
}

// checkClean checks that each key has one record below the clean offset.
func (l *aLog) checkClean() error {
	seen := map[string]int64{}
	for _, b := range l.batches {
		for _, r := range b.records {
			if r.Key == nil || r.Offset >= l.cleaned {
				continue
			}
			if at, twice := seen[string(r.Key)]; twice {
				return fmt.Errorf("key %s at %d and %d, clean below %d", r.Key, at, r.Offset, l.cleaned)
			}
			seen[string(r.Key)] = r.Offset
		}
	}
	return nil
}

// TestPassesKeepTheLastValues appends to a log and compacts it in turn, with maps that are
// too small, passes that die, and tombstones that expire. A consumer must always find the
// last value of each key.
func TestPassesKeepTheLastValues(t *testing.T) {
	seeded.Run(t, seeded.Test[int]{Run: func(t *seeded.T, _ int) {
		l, truth := &aLog{}, map[string]string{}
		t.Steps(40, func(r *rand.Rand) {
			l.rng = r
			if l.end == 0 || r.IntN(2) == 0 {
				l.append()
				l.batches[len(l.batches)-1].foldInto(truth)
				return
			}
			if err := l.pass(2+r.Int64N(20), r.Int64N(3)); err != nil {
				t.Fatal(err)
			}
			if got := l.fold(); !maps.Equal(got, truth) {
				t.Fatalf("a consumer finds %v, want %v", got, truth)
			}
			if n := len(l.batches); l.batches[n-1].size != len(l.batches[n-1].records) {
				t.Fatal("the last batch lost records")
			}
		})
	}}, 2000, 300)
}

func TestMapTakesAsManyKeysAsItHasRoomFor(t *testing.T) {
	m := NewMap(100*slotSize, Secret{7})
	n := 0
	for ; m.Put(fmt.Append(nil, n), int64(n)); n++ {
	}
	if n < 70 || n != m.Len() {
		t.Errorf("%d keys of 100 slots, Len is %d", n, m.Len())
	}
	if !m.Put([]byte("3"), 1000) || m.Put([]byte("other"), 1) {
		t.Error("a full map must take known keys and no other")
	}
	if at, ok := m.Newest([]byte("3")); !ok || at != 1000 {
		t.Errorf("newest is %d", at)
	}
	if _, ok := m.Newest([]byte("other")); ok {
		t.Error("a key that was refused is there")
	}
	m.Reset(Secret{8})
	if _, ok := m.Newest([]byte("3")); ok || m.Len() != 0 {
		t.Error("a key is there after Reset")
	}
}

func TestNothingGoesByATimeThatIsNotKnown(t *testing.T) {
	at := time.UnixMilli(1_000_000_000)
	log := Log{End: 400, Cleaned: 100, CleanedAt: at, Pieces: []Piece{{0, 99, 10, at}, {100, 299, 10, at}}}
	if d, due := Plan(log, Policy{MinDirtyRatio: 0.5}, time.Time{}); !due || d.TombstonesBelow != 0 {
		t.Errorf("%+v, %v", d, due)
	}
	if d, due := Plan(log, Policy{MinDirtyRatio: 0.9, MaxLag: 1}, time.Time{}); due {
		t.Errorf("%+v is due by time", d)
	}
	if d, due := Plan(log, Policy{MinLag: 1}, time.Time{}); due {
		t.Errorf("%+v is old enough", d)
	}
}

func TestPlan(t *testing.T) {
	now := time.UnixMilli(1_000_000_000)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	log := Log{End: 400, Cleaned: 100, CleanedAt: ago(time.Hour), Pieces: []Piece{
		{0, 99, 1000, ago(9 * time.Hour)}, {100, 199, 500, ago(3 * time.Hour)}, {200, 299, 500, ago(time.Minute)},
	}}
	for _, c := range []struct {
		name   string
		change func(*Log, *Policy)
		want   Range
		due    bool
	}{
		{"half is dirty", func(*Log, *Policy) {}, Range{100, 300, 100, 399}, true},
		{"too little is dirty", func(_ *Log, p *Policy) { p.MinDirtyRatio = 0.6 }, Range{100, 300, 100, 399}, false},
		{"some is old", func(_ *Log, p *Policy) { p.MinDirtyRatio, p.MaxLag = 0.6, 2*time.Hour }, Range{100, 300, 100, 399}, true},
		{"some is young", func(_ *Log, p *Policy) { p.MinLag = time.Hour; p.MinDirtyRatio = 0.3 }, Range{100, 200, 100, 399}, true},
		{"all is young", func(_ *Log, p *Policy) { p.MinLag = 5 * time.Hour }, Range{}, false},
		{"tombstones are young", func(_ *Log, p *Policy) { p.DeleteRetention = 2 * time.Hour }, Range{100, 300, 0, 399}, true},
		{"clean", func(l *Log, _ *Policy) { l.Cleaned = 300 }, Range{}, false},
		{"the start moved", func(l *Log, p *Policy) { l.Start = 150 }, Range{150, 300, 0, 399}, true},
	} {
		l, p := log, Policy{MinDirtyRatio: 0.5, DeleteRetention: time.Minute}
		c.change(&l, &p)
		if d, due := Plan(l, p, now); d.Range != c.want || due != c.due {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, d.Range, due, c.want, c.due)
		}
	}
}
