package partlog

import (
	"cmp"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

// tierModel is a journal as a naive reader of its entries knows it. Next to it are two
// states: a plain one that is built object by object, and one that pages and restarts.
type tierModel struct {
	t     *seeded.T
	r     *rand.Rand
	plain *State
	l     *leader
	other *leader  // pages at other times
	floor *library // of the checkpoint of a floor, which other wrote; nil if there is none

	seq     uint64
	epoch   uint32
	ids     uint16
	parts   map[Key]*naivePart
	intents map[segment.ID]map[segment.ID]IntentObject
	waiting map[segment.ID]segment.Name // unreleased
	garbage map[segment.ID]Garbage
	seqs    map[uint64]bool // of data objects; true: garbage
	kept    map[uint64]bool // named by extents below merged, now or before
	judged  Judged
	job     *tierJob // under way
}

// naivePart has the extents of a partition: below merged, and all that there ever were in
// journal objects.
type naivePart struct {
	start, end, merged, freed int64
	sourced                   int64 // bytes that Results counted
	sealed, dropped           bool
	below, refs               []Extent
	cleaned                   Cleaned
}

// tierJob is a job of the leader whose Results are not yet applied.
type tierJob struct {
	id      segment.ID
	results []*Result
}

var tierKeys = []Key{{testTopic, 0}, {testTopic, 1}, {testTopic, 2}}

func newTierModel(t *seeded.T) *tierModel {
	m := &tierModel{
		t: t, r: t.Rand, plain: New(testJournal), l: newLeader(), other: newLeader(), epoch: 1,
		parts: map[Key]*naivePart{}, intents: map[segment.ID]map[segment.ID]IntentObject{},
		waiting: map[segment.ID]segment.Name{}, garbage: map[segment.ID]Garbage{},
		seqs: map[uint64]bool{}, kept: map[uint64]bool{},
	}
	m.other.number = 1
	m.apply(fence(1, 1))
	var opens []segment.Entry
	for i, k := range tierKeys {
		m.parts[k] = &naivePart{}
		opens = append(opens, open(k, 0, int32(i)))
	}
	m.apply(data(2, 1), opens...)
	return m
}

// apply applies an object to both states.
func (m *tierModel) apply(f *segment.Footer, e ...segment.Entry) {
	m.seq = f.Header.Seq
	if len(f.Partitions) > 0 {
		m.seqs[m.seq] = false
	}
	for _, s := range []*State{m.plain, m.l.State, m.other.State} {
		if err := s.Apply(f, e); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *tierModel) newID() segment.ID {
	m.ids++
	return segment.ID{7, byte(m.ids >> 8), byte(m.ids)}
}

// write is an object with records, deletions of records, and other entries.
func (m *tierModel) write(more ...segment.Entry) {
	f := data(m.seq+uint64(m.in(int64(1), int64(2))), m.epoch)
	var e []segment.Entry
	for _, k := range tierKeys {
		p := m.parts[k]
		if p == nil || p.sealed {
			continue
		}
		if m.intIn(0, 5) == 0 {
			start := m.in(p.start, p.end)
			e = append(e, DeleteRecords{k, start}.Encode())
			p.start = start
		}
	}
	for _, entry := range more {
		m.takeEntry(entry, f.Header.BuiltMs)
	}
	for i, k := range tierKeys {
		p := m.parts[k]
		if p == nil || p.sealed || m.flip() {
			continue
		}
		r := records(k, int32(m.epoch)+int32(i), p.end, p.end+m.in(0, 4), m.in(-1, 30))
		f.Partitions = append(f.Partitions, r)
		p.refs = append(p.refs, ExtentOf(&f.Header, &r))
		p.end = r.LastOffset + 1
	}
	m.apply(f, append(slices.Clone(more), e...)...)
}

// fence ends all intents.
func (m *tierModel) fence() {
	m.epoch++
	f := fence(m.seq+1, m.epoch)
	for id, objects := range m.intents {
		for _, o := range objects {
			if o.Placed {
				m.t.Count("placed, then fenced")
			}
		}
		m.endIntent(id, f.Header.BuiltMs)
	}
	m.job = nil
	m.apply(f)
}

func (m *tierModel) endIntent(job segment.ID, now int64) {
	for id, o := range m.intents[job] {
		if !o.Placed {
			m.garbage[id] = Garbage{Name: o.Name, Class: ClassMerge, SinceMs: now, Ended: true}
		}
	}
	delete(m.intents, job)
}

// takeEntry does with an entry of tiering as Apply should.
func (m *tierModel) takeEntry(e segment.Entry, now int64) {
	switch e.Kind {
	case EntryIntent:
		in, _ := DecodeIntent(testJournal, e.Payload)
		m.intents[in.Job] = map[segment.ID]IntentObject{}
		for _, n := range in.Objects {
			m.intents[in.Job][n.Object] = IntentObject{Name: n}
		}
	case EntryResult:
		r, _ := DecodeResult(testJournal, e.Payload)
		for i := range r.Parts {
			m.takePart(m.intents[r.Job], &r.Parts[i])
		}
		if r.Last {
			m.endIntent(r.Job, now)
		}
	case EntryAbandon:
		a, _ := DecodeAbandon(e.Payload)
		m.endIntent(a.Job, now)
	case EntryRelease:
		r, _ := DecodeRelease(testJournal, e.Payload)
		for _, f := range r.Freed {
			p := m.parts[f.Key]
			p.freed = f.Offset
			if page := m.l.parts[f.Key].below.chunks; len(page) > 0 && page[0].page != nil && page[0].first < f.Offset {
				m.t.Count("freed in a page")
			}
			m.lose(p, func(x *Extent) bool { return x.Last < f.Offset })
			if p.dropped && len(p.below) == 0 {
				delete(m.parts, f.Key)
				m.t.Count("left the state")
			}
		}
		for _, n := range r.Objects {
			delete(m.waiting, n.Object)
			m.garbage[n.Object] = Garbage{Name: n, Class: r.Class, SinceMs: now}
		}
		for _, q := range r.Seqs {
			for seq := q.First; seq <= q.Last; seq++ {
				if m.t.Count("seqs released"); m.kept[seq] {
					m.t.Count("seqs kept")
				}
				m.seqs[seq] = true
				delete(m.kept, seq)
			}
		}
		m.judged = r.Judged
	case EntryCleaned:
		c, _ := DecodeCleaned(e.Payload)
		if p := m.parts[c.Key]; p != nil && !p.dropped {
			p.cleaned = c
		}
	case EntrySwept:
		s, _ := DecodeSwept(e.Payload)
		for _, id := range s.Objects {
			g := m.garbage[id]
			if g.Deleted, g.SinceMs = true, now; s.Second {
				delete(m.garbage, id)
				continue
			}
			m.garbage[id] = g
		}
		for _, q := range s.Seqs {
			for seq := q.First; seq <= q.Last; seq++ {
				delete(m.seqs, seq)
			}
		}
	}
}

func (m *tierModel) takePart(in map[segment.ID]IntentObject, part *ResultPart) {
	p := m.parts[part.Key]
	if p == nil || p.dropped {
		m.t.Count("left out")
		return
	}
	put := slices.DeleteFunc(slices.Clone(part.Extents), func(x Extent) bool { return x.Last < p.start })
	if len(put) < len(part.Extents) {
		m.t.Count("clipped")
	}
	if len(put) == 0 {
		return
	}
	if _, page, _, _ := m.l.Find(part.Key, max(part.From, p.start), 1); page != nil && page.Merged && len(part.Replaced) > 0 {
		m.t.Count("replaced in a page")
	}
	old := slices.Clone(p.below)
	for i := range put {
		if id := put[i].Object.Object; put[i].merged() {
			in[id] = IntentObject{Name: put[i].Object, Placed: true}
			delete(m.waiting, id)
		} else {
			m.kept[put[i].Object.Seq] = true
		}
	}
	p.below = slices.DeleteFunc(p.below, func(x Extent) bool { return x.Last >= put[0].Base && x.Last < part.To })
	p.below = append(p.below, put...)
	slices.SortFunc(p.below, func(a, b Extent) int { return cmp.Compare(a.Last, b.Last) })
	if part.To > p.merged {
		if p.merged, p.sourced = part.To, p.sourced+part.Source; part.To == p.end {
			p.sourced = total(p.refs)
		}
	}
	m.unnamed(old)
}

// total is how many bytes extents have.
func total(extents []Extent) (n int64) {
	for i := range extents {
		n += int64(extents[i].Length)
	}
	return n
}

// lose removes extents of a partition.
func (m *tierModel) lose(p *naivePart, which func(*Extent) bool) {
	old := slices.Clone(p.below)
	p.below = slices.DeleteFunc(p.below, func(x Extent) bool { return which(&x) })
	m.unnamed(old)
}

// unnamed lets the objects of old extents wait, if no extent names them any more.
func (m *tierModel) unnamed(old []Extent) {
	for i := range old {
		if n := old[i].Object; n.Kind == segment.KindMerged && !m.named(n) {
			m.waiting[n.Object] = n
		}
	}
}

func (m *tierModel) named(n segment.Name) bool {
	for _, p := range m.parts {
		if slices.ContainsFunc(p.below, func(x Extent) bool { return x.Object == n }) {
			return true
		}
	}
	return false
}

// step does one thing that a journal may meet.
func (m *tierModel) step() {
	switch m.intIn(0, 10) {
	case 0, 1:
		m.write()
	case 2, 3, 4:
		if m.job == nil {
			m.begin()
		} else {
			m.goOn()
		}
	case 5:
		if m.job == nil {
			m.release()
		}
	case 6:
		m.sweep()
	case 7:
		if m.intIn(0, 2) == 0 {
			m.fence()
		}
	case 8:
		m.life()
	case 9:
		m.page()
	case 10:
		m.clean()
	}
}

// life seals, opens again or drops a partition.
func (m *tierModel) life() {
	k := tierKeys[m.intIn(0, 2)]
	p := m.parts[k]
	switch {
	case p == nil || p.dropped || m.intIn(0, 2) > 0:
		return
	case !p.sealed:
		p.sealed = true
		m.apply(data(m.seq+1, m.epoch), Seal{k}.Encode())
	case m.flip():
		p.sealed = false
		m.write(Reopen{k}.Encode())
		m.t.Count("reopened")
	default:
		p.dropped, p.start = true, p.end
		if len(p.below) == 0 {
			delete(m.parts, k)
		}
		m.apply(data(m.seq+1, m.epoch), Drop{k}.Encode())
	}
}

// page lets the second state page, or go on from a checkpoint.
func (m *tierModel) page() {
	switch m.intIn(0, 5) {
	case 3:
		if m.other.plan(m.intIn(1, 3)) {
			m.other.paged()
		}
	case 4:
		s, err := DecodeExtents(testJournal, m.other.Encode(nil, segment.ID{}, nil))
		if err != nil {
			m.t.Fatal(err)
		}
		m.floor = &library{s, maps.Clone(m.other.objects)}
	case 5:
		m.rename()
	case 0:
		if m.l.plan(m.intIn(1, 3)) {
			m.l.paged()
		}
	case 1:
		m.l.plan(m.intIn(1, 3))
		if m.job != nil {
			m.goOn()
		} else {
			m.write()
		}
		if m.l.planned != nil {
			m.l.paged()
		}
	case 2:
		m.l.restart(m.t)
	}
}

// rename stores an index object under another name.
func (m *tierModel) rename() {
	for _, old := range m.l.IndexObjects() {
		to := segment.IndexName{Journal: testJournal, Seq: m.seq, Object: m.newID()}
		m.l.objects[to.Object] = m.l.objects[old.Object]
		m.l.Renamed(old, to)
		if slices.Contains(m.l.IndexObjects(), old) || !slices.Contains(m.l.IndexObjects(), to) {
			m.t.Fatalf("%v is still named, or %v is not", old, to)
		}
		m.t.Count("index object renamed")
		return
	}
}

// checkPages looks at the pages of one state as if they were removed. The checkpoint of the
// floor has the same extents.
func (m *tierModel) checkPages() {
	if m.floor == nil {
		return
	}
	for _, pages := range m.l.Pages() {
		for _, p := range pages {
			got, err := m.floor.PageOf(p, func(q *Page) (*PageExtents, error) { return m.floor.load(m.t, q), nil })
			if p.Seq > m.floor.Head() {
				if !errors.Is(err, ErrNotHere) {
					m.t.Fatalf("a page of seq %d at a floor after seq %d: error %v", p.Seq, m.floor.Head(), err)
				}
				continue
			}
			if p.Seq == 0 && errors.Is(err, ErrNotHere) {
				continue // an old key does not say that the floor is older; such pages are never removed
			}
			if err != nil {
				m.t.Fatalf("page of seq %d, offsets %d to %d of %+v, at a floor after seq %d: %v", p.Seq, p.Base, p.Last, m.l.load(m.t, p).From(0, 99), m.floor.Head(), err)
			}
			want := m.l.load(m.t, p).From(m.floor.firstOf(p), chunkRefs)
			if got := slices.Collect(got.all()); !slices.Equal(got, want) {
				m.t.Fatalf("page of offsets %d to %d has %+v, want %+v", p.Base, p.Last, got, want)
			}
			if m.t.Count("page found at a floor"); p.Merged {
				m.t.Count("page of merged extents found at a floor")
			}
			p.Head = m.floor.Head() - 1
			if _, err := m.floor.PageOf(p, nil); !errors.Is(err, ErrBehind) {
				m.t.Fatalf("a state behind the floor: error %v", err)
			}
		}
	}
}

// in, intIn and flip are random: from low to high, both included.
func (m *tierModel) in(low, high int64) int64 { return low + m.r.Int64N(high-low+1) }

func (m *tierModel) intIn(low, high int) int { return low + m.r.IntN(high-low+1) }

func (m *tierModel) flip() bool { return m.r.IntN(2) == 0 }

func TestTieredStateMatchesANaiveJournal(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: func(t *seeded.T, _ struct{}) {
		m := newTierModel(t)
		t.Steps(50, func(r *rand.Rand) {
			m.r = r
			m.step()
			m.check()
		})
	}, Must: []string{
		"bytes in pages", "deleted before merged", "page found at a floor", "page of merged extents found at a floor", "index object renamed",
		"left out", "clipped", "replaced in a page", "placed, then fenced", "freed in a page", "seqs released", "seqs kept", "reopened", "left the state",
	}}, 400, 200)
}
