package partlog

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/segment"
)

// library is a state with the payloads of its index objects, as a reader has them.
type library struct {
	*State
	objects map[segment.ID][]byte
}

// reporter is the part of testing.T and rapid.T that is used here.
type reporter interface{ Fatal(args ...any) }

func (l library) load(t reporter, p *Page) *PageExtents {
	payload := l.objects[p.Object]
	if uint32(len(payload)) != p.Size {
		t.Fatal("page in an object of another size")
	}
	extents, err := DecodePage(p, payload[p.Position:][:p.Length])
	if err != nil {
		t.Fatal(err)
	}
	return extents
}

func (l library) find(t reporter, k Key, offset int64, n int) (out []Extent) {
	for {
		extents, page, view, _ := l.Find(k, offset, n-len(out))
		if page == nil {
			out = append(out, extents...)
			if len(extents) == 0 || len(out) == n || extents[len(extents)-1].Last+1 == view.End {
				return out
			}
			offset = extents[len(extents)-1].Last + 1 // in a page
			continue
		}
		if len(extents) > 0 {
			t.Fatal("both extents and a page")
		}
		out = append(out, l.load(t, page).From(offset, n-len(out))...)
		offset = page.Last + 1
		if len(out) == n {
			return out
		}
	}
}

func (l library) findTime(t reporter, k Key, after, ts int64) (Extent, bool) {
	view, _ := l.Lookup(k)
	for after = max(after, view.Start-1); ; {
		r, page, ok := l.FindTimeAfter(k, after, ts)
		if page == nil {
			return r, ok
		}
		if r, ok := l.load(t, page).WithTime(after+1, ts); ok {
			return r, true
		}
		if after < page.Base && whole(page) {
			t.Fatal("a page without the extent that it was named for")
		}
		after = page.Last
	}
}

func (l library) newest(t reporter, k Key, from int64) (Extent, bool) {
	return l.newestIn(t, k, from, math.MaxInt64)
}

// whole reports whether no part of the page is replaced.
func whole(p *Page) bool {
	if p.Merged {
		return p.Base == p.base && p.Last == p.last
	}
	return p.Base >= p.from
}

// newestIn looks on both sides of a page that does not have its greatest timestamp any
// more, as readers do.
func (l library) newestIn(t reporter, k Key, from, end int64) (Extent, bool) {
	r, page, ok := l.FindNewest(k, from, end)
	if page == nil {
		return r, ok
	}
	r, ok = l.load(t, page).Newest(from)
	if ok && r.MaxTimestamp == page.MaxTimestamp {
		return r, true
	}
	if page.Base >= from && whole(page) {
		t.Fatal("a page without the extent that it was named for")
	}
	for _, side := range [][2]int64{{from, page.First()}, {page.Last + 1, end}} {
		if side[0] >= side[1] {
			continue
		}
		if e, more := l.newestIn(t, k, side[0], side[1]); more && (!ok || e.MaxTimestamp > r.MaxTimestamp || e.MaxTimestamp == r.MaxTimestamp && e.Base < r.Base) {
			r, ok = e, true
		}
	}
	return r, ok
}

// leader pages and restarts a state as the leader of a journal does.
type leader struct {
	library
	planned   *Index
	object    segment.ID
	producers *ProducerPlan
	number    byte
}

func newLeader() *leader {
	return &leader{library: library{State: New(testJournal), objects: map[segment.ID][]byte{}}}
}

// plan makes an index object durable.
func (l *leader) plan(minRefs int) bool {
	ix, ok := l.PlanIndex(minRefs)
	if ok {
		id := segment.ID{1 + l.number, byte(len(l.objects) >> 8), byte(len(l.objects))}
		l.objects[id] = ix.Payload()
		l.planned, l.object = ix, id
	}
	return ok
}

// paged takes the plan over.
func (l *leader) paged() {
	l.Paged(l.planned, l.object)
	l.planned, l.object = nil, segment.ID{}
}

// restart goes on from a checkpoint.
func (l *leader) restart(t reporter) {
	payload := l.Encode(l.planned, l.object, l.producers)
	s, err := Decode(testJournal, payload, l.readPages)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Encode(nil, segment.ID{}, nil), payload) {
		t.Fatal("a restored state has another checkpoint")
	}
	l.State, l.planned, l.object, l.producers = s, nil, segment.ID{}, nil
}

// TestPagedStateMatchesANaiveLog pages at any time, drops plans, and goes on from
// checkpoints. Look-ups show no difference.
func TestPagedStateMatchesANaiveLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		journal := drawJournal(t, 40)
		plain, l := New(testJournal), newLeader()
		for _, o := range journal {
			for _, s := range []*State{plain, l.State} {
				if err := s.Apply(o.footer, o.entries); err != nil {
					t.Fatal(err)
				}
			}
			switch rapid.IntRange(0, 7).Draw(t, "do") {
			case 0, 1:
				l.plan(rapid.IntRange(0, 6).Draw(t, "least"))
			case 2, 3:
				if l.planned != nil {
					before := l.Encode(l.planned, l.object, nil)
					l.paged()
					if !bytes.Equal(l.Encode(nil, segment.ID{}, nil), before) {
						t.Fatal("the state differs from its checkpoint")
					}
				}
			case 4:
				l.restart(t)
			}
			if l.Hash() != plain.Hash() {
				t.Fatalf("hash differs at seq %d", o.footer.Header.Seq)
			}
		}
		for i := range int32(3) {
			k := Key{testTopic, i}
			compareLookups(t, l.library, k, journal)
			got, _ := l.Lookup(k)
			if want, _ := plain.Lookup(k); got != want {
				t.Fatalf("view %+v, want %+v", got, want)
			}
		}
	})
}

// long has n refs of partition A, each with one offset whose timestamp is the
// offset.
func long(t testing.TB, n int64) *leader {
	t.Helper()
	l := newLeader()
	mustApply(t, l.State, data(1, 1), open(keyA, 0, 0), open(keyB, 0, 0))
	for i := range n {
		mustApply(t, l.State, data(uint64(i)+2, 1, records(keyA, 1, i, i, i)))
	}
	return l
}

func TestFullChunksArePagedAndTheLastOneWaitsForMore(t *testing.T) {
	l := long(t, 2*chunkRefs+7)
	if !l.plan(8) {
		t.Fatal("nothing to page")
	}
	if got, want := len(l.objects[l.object]), 2*pageSize(chunkRefs); got != want {
		t.Errorf("payload of %d bytes, want %d: two full chunks", got, want)
	}
	l.paged()
	if _, ok := l.PlanIndex(8); ok {
		t.Error("paged again")
	}
	if ix, ok := l.PlanIndex(7); !ok || len(ix.Payload()) != pageSize(7) {
		t.Error("a chunk of enough refs is not paged")
	}
	for _, tc := range []struct {
		offset int64
		page   bool
	}{{0, true}, {2*chunkRefs - 1, true}, {2 * chunkRefs, false}} {
		extents, page, _, _ := l.Find(keyA, tc.offset, 1)
		if (page != nil) != tc.page || (len(extents) > 0) == tc.page {
			t.Errorf("offset %d: %d extents, page %+v", tc.offset, len(extents), page)
		}
	}
}

func TestPlanThatComesToNothingIsMadeAgain(t *testing.T) {
	l := long(t, 10)
	first, _ := l.PlanIndex(1)
	mustApply(t, l.State, data(100, 1, records(keyA, 1, 10, 10, 10)))
	second, _ := l.PlanIndex(2) // the chunk of one ref waits, the one that was closed does not
	if !bytes.Equal(first.Payload(), second.Payload()) {
		t.Errorf("payload of %d bytes, then of %d", len(first.Payload()), len(second.Payload()))
	}
}

// TestPlansMayOverlap takes over two plans of which one has the chunks of the
// other: each chunk stays where it was paged first.
func TestPlansMayOverlap(t *testing.T) {
	l := long(t, 10)
	l.plan(1)
	older, olderID := l.planned, l.object
	mustApply(t, l.State, data(100, 1, records(keyA, 1, 10, 10, 10)))
	l.plan(1)
	l.paged()
	_, before, _, _ := l.Find(keyA, 0, 1)
	l.Paged(older, olderID)
	if _, page, _, _ := l.Find(keyA, 0, 1); *page != *before {
		t.Errorf("page %+v, was %+v", page, before)
	}
	if got := l.find(t, keyA, 0, 100); len(got) != 11 {
		t.Errorf("%d refs, want 11", len(got))
	}
	if !bytes.Equal(l.Encode(older, olderID, nil), l.Encode(nil, segment.ID{}, nil)) {
		t.Error("a checkpoint names a page that is not needed")
	}
}

func TestIndexObjectIsBounded(t *testing.T) {
	s := New(testJournal)
	var opens []segment.Entry
	var parts []segment.Partition
	for i := range int32(10) {
		k := Key{testTopic, i}
		opens = append(opens, open(k, 0, 0))
		parts = append(parts, records(k, 1, 0, 0, 1))
	}
	mustApply(t, s, data(1, 1, parts...), opens...)
	for _, want := range []int{4, 4, 2} {
		ix, _ := s.planIndex(1, 5*pageSize(1)-1)
		if len(ix.Payload()) != want*pageSize(1) || ix.More() != (want == 4) {
			t.Fatalf("payload of %d bytes, want %d pages; more is %t", len(ix.Payload()), want, ix.More())
		}
		s.Paged(ix, segment.NewID())
	}
	if _, ok := s.planIndex(1, math.MaxInt); ok {
		t.Error("there is still more")
	}
}

func TestDamagedPagesAreRefused(t *testing.T) {
	l := long(t, 5)
	l.plan(1)
	l.paged()
	_, page, _, _ := l.Find(keyA, 3, 1)
	good := l.objects[page.Object][page.Position:][:page.Length]
	if read, err := DecodePage(page, good); err != nil || len(read.From(0, 99)) != 5 {
		t.Fatalf("extents %v, error %v", read, err)
	}
	sealed := func(change func(p *Page, b []byte) []byte) (*Page, []byte) {
		p := *page
		b := change(&p, bytes.Clone(good))
		p.Length, p.CRC = uint32(len(b)), checksum(b)
		return &p, b
	}
	set := func(at int, v byte) func(*Page, []byte) []byte {
		return func(_ *Page, b []byte) []byte { b[at] = v; return b }
	}
	for name, tc := range map[string]struct {
		change func(*Page, []byte) []byte
		want   error
	}{
		"newer version":         {set(1, 3), segment.ErrUnsupported},
		"merged extents":        {set(1, 2), segment.ErrCorrupt},
		"empty":                 {func(*Page, []byte) []byte { return nil }, segment.ErrCorrupt},
		"another partition":     {set(7, 9), segment.ErrCorrupt},
		"another base":          {set(31, 1), segment.ErrCorrupt},
		"too many refs":         {set(2, 0xff), segment.ErrCorrupt},
		"too few refs":          {set(3, 4), segment.ErrCorrupt},
		"no refs":               {func(_ *Page, b []byte) []byte { b[3] = 0; return b[:32] }, segment.ErrCorrupt},
		"cut short":             {func(_ *Page, b []byte) []byte { return b[:len(b)-1] }, segment.ErrCorrupt},
		"seq goes back":         {set(32+40+7, 1), segment.ErrCorrupt},
		"last before the first": {set(32+40+15, 0), segment.ErrCorrupt},
		"last offset too great": {func(p *Page, b []byte) []byte {
			p.Last = math.MaxInt64
			copy(b[32+4*40+8:], bytes.Repeat([]byte{0xff}, 8))
			b[32+4*40+8] = 0x7f
			return b
		}, segment.ErrCorrupt},
		"time before -1":      {set(32+16, 0x80), segment.ErrCorrupt},
		"ref without bytes":   {set(32+31, 0), segment.ErrCorrupt},
		"epoch zero":          {set(32+35, 0), segment.ErrCorrupt},
		"epoch goes back":     {set(32+35, 2), segment.ErrCorrupt},
		"ends elsewhere":      {func(p *Page, b []byte) []byte { p.Last++; return b }, segment.ErrCorrupt},
		"another newest":      {func(p *Page, b []byte) []byte { p.MaxTimestamp++; return b }, segment.ErrCorrupt},
		"another partition's": {func(p *Page, b []byte) []byte { p.Key = keyB; return b }, segment.ErrCorrupt},
	} {
		p, b := sealed(tc.change)
		if _, err := DecodePage(p, b); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
	}
	damaged := [][]byte{good[:len(good)-1], append(bytes.Clone(good), 0)}
	for i := range good { // some of them decode, and only the CRC shows the damage
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		damaged = append(damaged, flipped)
	}
	for i, b := range damaged {
		if _, err := DecodePage(page, b); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("bytes that do not have the page's CRC, case %d: error %v", i, err)
		}
	}
}
