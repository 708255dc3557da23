package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// storedPart is a partition of a merged segment in a test.
type storedPart struct {
	index    int32
	from, to int64
	batches  []batchtest.Spec
}

// storedMerged stores a shared merged segment of two partitions, with offsets 10 to 19 and
// gaps, and 0 to 2. The batches of the first are in several blocks.
func storedMerged(t *testing.T, store *mem.Store) *merged {
	t.Helper()
	big := strings.Repeat("x", 700<<10)
	return storeMerged(t, store, []storedPart{
		{0, 10, 20, []batchtest.Spec{
			{Records: batchtest.Values(1, big, "b"), BaseOffset: 11, LeaderEpoch: 1},
			{Records: batchtest.Values(2, big), BaseOffset: 14, LeaderEpoch: 2},
			{Records: batchtest.Values(3, big), BaseOffset: 17, LeaderEpoch: 2},
		}},
		{1, 0, 3, []batchtest.Spec{{Records: batchtest.Values(4, "c", "d", "e"), LeaderEpoch: 1}}},
	})
}

func storeMerged(t *testing.T, store *mem.Store, parts []storedPart) *merged {
	t.Helper()
	m := &merged{object: segment.SharedSegment(1, segment.ID{7})}
	var b bytes.Buffer
	w, err := segment.NewMergedWriter(&b, segment.MergedHeader{
		Name: m.object, Journal: 1, Cluster: segment.ID{1}, Job: segment.ID{8}, Node: segment.ID{9}, Incarnation: segment.ID{10}, BuiltMs: 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if err := w.Begin(segment.MergedPart{Topic: segment.ID{2}, Index: p.index, TopicName: "events", From: p.from, To: p.to, SourceMs: 4}); err != nil {
			t.Fatal(err)
		}
		for _, spec := range p.batches {
			if err := w.Append(batchtest.Build(spec), nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.End(); err != nil {
			t.Fatal(err)
		}
	}
	made, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range made.Partitions {
		m.pieces = append(m.pieces, piece{partlog.Key{Topic: p.Topic, Index: p.Index}, partlog.Extent{
			Object: m.object, Base: p.From, Last: p.To - 1, MaxTimestamp: p.MaxTimestamp, Position: p.Position, Length: p.Length, CRC: p.CRC,
			IndexLength: p.IndexLength, Records: uint32(p.Records), Size: uint32(made.Size), SHA256: sha256.Sum256(b.Bytes()), BuiltMs: 5, SourceMs: p.SourceMs,
		}})
	}
	store.PutNow(m.object.Key(), b.Bytes())
	return m
}

// checked returns the findings about a merged segment, in both ways of looking.
func checked(t *testing.T, store *mem.Store, m *merged) (index, all []*Finding) {
	t.Helper()
	for _, whole := range []bool{false, true} {
		c := mergedCheck{store: store, cluster: segment.ID{1}, journal: 1, whole: whole, records: true}
		found, _, err := c.check(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Key != m.object.Key() || f.Severity != Error {
				t.Errorf("%+v", f)
			}
		}
		index, all = all, found
	}
	return index, all
}

func TestASoundMergedSegmentHasNoFinding(t *testing.T) {
	store := mem.New(time.Now, nil)
	if index, all := checked(t, store, storedMerged(t, store)); len(index)+len(all) > 0 {
		t.Errorf("%+v, %+v", index, all)
	}
}

func TestEveryDamagedByteOfAMergedSegmentIsFound(t *testing.T) {
	store := mem.New(time.Now, nil)
	m := storedMerged(t, store)
	good, _ := store.GetNow(m.object.Key())
	first, second := &m.pieces[0], &m.pieces[1]
	records := int(first.Position)
	section, err := segment.DecodeMergedPartition(good[first.Position+first.Length:][:first.IndexLength])
	if err != nil || len(section.Blocks) < 2 {
		t.Fatalf("%v, %d blocks, want several", err, len(section.Blocks))
	}
	blocks := section.Blocks
	affects := func(fs []*Finding) (offsets [][2]int64) {
		for _, f := range fs {
			for _, a := range f.Affects {
				offsets = append(offsets, [2]int64{a.First, a.Last})
			}
		}
		return offsets
	}
	for at := 0; at < len(good); at++ {
		if rest := len(good) - at; at > records+20 && (rest > 700 && at%90_019 != 0 || rest <= 700 && at%3 != 0) {
			continue // most of it is alike
		}
		b := bytes.Clone(good)
		b[at] ^= 4
		store.PutNow(m.object.Key(), b)
		_, all := checked(t, store, m)
		if len(all) != 1 {
			t.Fatalf("byte %d: %d findings", at, len(all))
		}
		inSection := func(p *piece) bool {
			return at >= int(p.Position+p.Length) && at < int(p.Position+p.Length+p.IndexLength)
		}
		var want [][2]int64
		switch {
		case at >= int(first.Position) && at < int(first.Position+first.Length):
			for _, block := range blocks {
				if at >= int(block.Position) && at < int(block.Position+block.Length) {
					want = [][2]int64{{block.First, block.Last}}
				}
			}
		case inSection(first):
			want = [][2]int64{{10, 19}}
		case inSection(second), at >= int(second.Position) && at < int(second.Position+second.Length):
			want = [][2]int64{{0, 2}}
		}
		if got := affects(all); len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Fatalf("byte %d: affects %v, want %v", at, got, want)
		}
	}
}

func TestAMergedSegmentIsHeldAgainstTheState(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(m *merged, store *mem.Store)
		code  Code
		index bool // found without the records
	}{
		"cut short": {func(m *merged, s *mem.Store) {
			b, _ := s.GetNow(m.object.Key())
			s.PutNow(m.object.Key(), b[:len(b)-1])
		}, CodeCorrupt, true},
		"another id":        {func(m *merged, s *mem.Store) { other(m, s, segment.SharedSegment(1, segment.ID{99})) }, CodeMisplaced, true},
		"another CRC":       {func(m *merged, _ *mem.Store) { m.pieces[1].CRC++ }, CodeState, true},
		"another range":     {func(m *merged, _ *mem.Store) { m.pieces[0].Last++ }, CodeState, true},
		"another count":     {func(m *merged, _ *mem.Store) { m.pieces[0].Records++ }, CodeState, true},
		"another time":      {func(m *merged, _ *mem.Store) { m.pieces[0].MaxTimestamp++ }, CodeState, true},
		"another partition": {func(m *merged, _ *mem.Store) { m.pieces[0].key.Index = 5 }, CodeState, true},
		"another sum":       {func(m *merged, _ *mem.Store) { m.pieces[0].SHA256[3]++; m.pieces[1].SHA256[3]++ }, CodeCorrupt, false},
		"two sums":          {func(m *merged, _ *mem.Store) { m.pieces[1].SHA256[3]++ }, CodeCorrupt, false},
	} {
		store := mem.New(time.Now, nil)
		m := storedMerged(t, store)
		tc.spoil(m, store)
		index, all := checked(t, store, m)
		if len(all) != 1 || all[0].Code != tc.code || all[0].Hint == "" || tc.index != (len(index) == 1) {
			t.Errorf("%s: %+v, %+v", name, index, all)
		}
	}
}

// other makes m another object with the same bytes.
func other(m *merged, store *mem.Store, name segment.Name) {
	b, _ := store.GetNow(m.object.Key())
	m.object = name
	for i := range m.pieces {
		m.pieces[i].Object = name
	}
	store.PutNow(name.Key(), b)
}

func TestAMissingMergedSegmentIsLeftToTheCaller(t *testing.T) {
	store := mem.New(time.Now, nil)
	m := storedMerged(t, store)
	store.DeleteNow(m.object.Key())
	for _, whole := range []bool{false, true} {
		c := mergedCheck{store: store, cluster: segment.ID{1}, journal: 1, whole: whole}
		if found, _, err := c.check(t.Context(), m); !errors.Is(err, objstore.ErrNotFound) || found != nil {
			t.Errorf("%v, %v", found, err)
		}
	}
}
