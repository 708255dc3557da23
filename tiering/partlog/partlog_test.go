package partlog

import (
	"errors"
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/varvelog/varve/tiering/segment"
)

const testJournal = 3

var (
	keyA = Key{testTopic, 0}
	keyB = Key{testTopic, 1}
)

func header(kind segment.Kind, seq uint64, epoch uint32) segment.Header {
	return segment.Header{Kind: kind, Journal: testJournal, Seq: seq, Epoch: epoch, BuiltMs: int64(seq) * 1000}
}

func fence(seq uint64, epoch uint32) *segment.Footer {
	return &segment.Footer{Header: header(segment.KindFence, seq, epoch)}
}

func data(seq uint64, epoch uint32, parts ...segment.Partition) *segment.Footer {
	return &segment.Footer{Header: header(segment.KindData, seq, epoch), Partitions: parts}
}

// records are those from base to last of a partition, with this max timestamp.
func records(k Key, epoch int32, base, last, maxTimestamp int64) segment.Partition {
	return segment.Partition{
		Topic: k.Topic, Index: k.Index, LeaderEpoch: epoch,
		Position: 100, Length: uint64(last-base+1) * 10, CRC: uint32(base),
		BaseOffset: base, LastOffset: last,
		Records: uint32(last - base + 1), Batches: 1, MaxTimestamp: maxTimestamp,
	}
}

func open(k Key, start int64, base int32) segment.Entry {
	return Open{Key: k, StartOffset: start, EpochBase: base}.Encode()
}

func entries(e ...segment.Entry) []segment.Entry { return e }

func mustApply(t testing.TB, s *State, f *segment.Footer, e ...segment.Entry) {
	t.Helper()
	if err := s.Apply(f, e); err != nil {
		t.Fatal(err)
	}
}

// started has partition A with offsets 10 to 14 in seq 5, of journal epoch 2 and
// leader epoch 102, and partition B, sealed and empty.
func started(t testing.TB) *State {
	t.Helper()
	s := New(testJournal)
	mustApply(t, s, fence(1, 2))
	mustApply(t, s, data(5, 2, records(keyA, 102, 10, 14, 50)),
		open(keyA, 10, 100), open(keyB, 0, 0), Seal{keyB}.Encode())
	return s
}

func TestAppliedRecordsAreFound(t *testing.T) {
	s := started(t)
	mustApply(t, s, data(6, 2, records(keyA, 102, 15, 15, 40)))

	want := View{Start: 10, End: 16, Epoch: 102, EpochBase: 100}
	if got, ok := s.Lookup(keyA); !ok || got != want {
		t.Errorf("view %+v, want %+v", got, want)
	}
	extents, _, view, ok := s.Find(keyA, 12, 10)
	if !ok || view != want || len(extents) != 2 {
		t.Fatalf("found %+v, %+v, %t", extents, view, ok)
	}
	first := Extent{Object: segment.DataObject(testJournal, 5), Base: 10, Last: 14, MaxTimestamp: 50, Position: 100, Length: 50, Epoch: 102, CRC: 10}
	if extents[0] != first || extents[1].Object.Seq != 6 {
		t.Errorf("found %+v, want first %+v", extents, first)
	}
	if s.Head() != 6 {
		t.Errorf("head is %d, want 6", s.Head())
	}
}

func TestFindReturnsNothingOutsideTheLog(t *testing.T) {
	s := started(t)
	for _, offset := range []int64{-1, 9, 15, math.MaxInt64} {
		if extents, _, view, ok := s.Find(keyA, offset, 10); len(extents) != 0 || view.End != 15 || !ok {
			t.Errorf("offset %d: %v, %+v, %t", offset, extents, view, ok)
		}
	}
	if _, _, _, ok := s.Find(Key{testTopic, 9}, 0, 1); ok {
		t.Error("found a partition that was never opened")
	}
}

func TestFindReturnsCopies(t *testing.T) {
	s := started(t)
	extents, _, _, _ := s.Find(keyA, 10, 1)
	extents[0].Object.Seq = 99
	if again, _, _, _ := s.Find(keyA, 10, 1); again[0].Object.Seq != 5 {
		t.Error("changing a returned extent changed the state")
	}
}

func TestFenceRaisesTheLeaderEpochWithoutRecords(t *testing.T) {
	s := started(t)
	mustApply(t, s, fence(7, 4))
	if v, _ := s.Lookup(keyA); v.Epoch != 104 || s.Head() != 7 {
		t.Errorf("epoch %d, head %d, want 104 and 7", v.Epoch, s.Head())
	}
	if v, _ := s.Lookup(keyB); v.Epoch != 2 || !v.Sealed {
		t.Errorf("sealed partition: %+v, want it to stay at epoch 2", v)
	}
}

func TestObjectsThatDoNotFitChangeNothing(t *testing.T) {
	twice := records(keyA, 102, 15, 15, 1)
	withProducer := func(p segment.Producer) segment.Partition {
		r := records(keyA, 102, 15, 15, 1)
		r.Producers = []segment.Producer{p}
		return r
	}
	withTxn := records(keyA, 102, 15, 15, 1)
	withTxn.OpenTxns = []segment.OpenTxn{{ProducerID: 1}}
	otherJournal := data(6, 2)
	otherJournal.Header.Journal++
	fenceWithRecords := fence(6, 3)
	fenceWithRecords.Partitions = []segment.Partition{records(keyA, 103, 15, 15, 1)}
	long := records(keyA, 102, 15, 15, 1)
	long.Length = math.MaxUint32 + 1

	for _, tc := range []struct {
		name    string
		footer  *segment.Footer
		entries []segment.Entry
		want    error
	}{
		{"gap in the offsets", data(6, 2, records(keyA, 102, 16, 17, 1)), nil, ErrContradiction},
		{"offsets again", data(6, 2, records(keyA, 102, 14, 17, 1)), nil, ErrContradiction},
		{"last offset before the first", data(6, 2, records(keyA, 102, 15, 14, 1)), nil, ErrContradiction},
		{"partition not opened", data(6, 2, records(Key{testTopic, 9}, 2, 0, 0, 1)), nil, ErrContradiction},
		{"partition sealed", data(6, 2, records(keyB, 2, 0, 0, 1)), nil, ErrContradiction},
		{"leader epoch without the base", data(6, 2, records(keyA, 2, 15, 15, 1)), nil, ErrContradiction},
		{"same partition twice", data(6, 2, twice, records(keyA, 102, 16, 16, 1)), nil, ErrContradiction},
		{"no bytes", data(6, 2, segment.Partition{Topic: testTopic, LeaderEpoch: 102, BaseOffset: 15, LastOffset: 15}), nil, ErrContradiction},
		{"more bytes than an object holds", data(6, 2, long), nil, ErrContradiction},
		{"producer without batches", data(6, 2, withProducer(segment.Producer{ID: 1})), nil, ErrContradiction},
		{"producer with six batches", data(6, 2, withProducer(segment.Producer{ID: 1, Batches: make([]segment.ProducerBatch, 6)})), nil, ErrContradiction},
		{"transactions", data(6, 2, withTxn), nil, segment.ErrUnsupported},
		{"seq again", data(5, 2), nil, ErrContradiction},
		{"epoch goes back", data(6, 1), nil, ErrContradiction},
		{"epoch beyond a leader epoch", fence(6, maxEpoch+1), nil, ErrContradiction},
		{"another journal", otherJournal, nil, ErrContradiction},
		{"fence with records", fenceWithRecords, nil, ErrContradiction},
		{"a floor", &segment.Footer{Header: header(segment.KindFloor, 6, 2)}, nil, ErrContradiction},
		{"opened twice", data(6, 2), entries(open(keyA, 15, 100)), ErrContradiction},
		{"opened twice in one object", data(6, 2), entries(open(Key{testTopic, 2}, 0, 0), open(Key{testTopic, 2}, 0, 0)), ErrContradiction},
		{"sealed opened again", data(6, 2), entries(open(keyB, 0, 0)), ErrContradiction},
		{"sealed twice", data(6, 2), entries(Seal{keyB}.Encode()), ErrContradiction},
		{"sealed twice in one object", data(6, 2), entries(Seal{keyA}.Encode(), Seal{keyA}.Encode()), ErrContradiction},
		{"sealed, never opened", data(6, 2), entries(Seal{Key{testTopic, 9}}.Encode()), ErrContradiction},
		{"deletes of a partition never opened", data(6, 2), entries(DeleteRecords{Key{testTopic, 9}, 0}.Encode()), ErrContradiction},
		{"deletes of a sealed partition", data(6, 2), entries(DeleteRecords{keyB, 0}.Encode()), ErrContradiction},
		{"deletes after the seal", data(6, 2), entries(Seal{keyA}.Encode(), DeleteRecords{keyA, 11}.Encode()), ErrContradiction},
		{"deletes records of its own object", data(6, 2, records(keyA, 102, 15, 19, 1)), entries(DeleteRecords{keyA, 16}.Encode()), ErrContradiction},
		{"unknown entry after good ones", data(6, 2, records(keyA, 102, 15, 15, 1)),
			entries(open(Key{testTopic, 2}, 0, 0), segment.Entry{Kind: 77}), segment.ErrUnsupported},
		{"damaged entry", data(6, 2), entries(segment.Entry{Kind: EntryOpen}), segment.ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := started(t)
			before := s.Hash()
			if err := s.Apply(tc.footer, tc.entries); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if s.Hash() != before || s.Head() != 5 {
				t.Error("the state has changed")
			}
			mustApply(t, s, data(6, 2, records(keyA, 102, 15, 15, 1)))
		})
	}
}

func TestSealTakesTheRecordsOfItsOwnObject(t *testing.T) {
	s := started(t)
	mustApply(t, s, data(6, 2, records(keyA, 102, 15, 19, 1)), Seal{keyA}.Encode())
	if v, _ := s.Lookup(keyA); v.End != 20 || !v.Sealed {
		t.Errorf("view %+v, want sealed at 20", v)
	}
	if extents, _, _, _ := s.Find(keyA, 12, 10); len(extents) != 2 {
		t.Errorf("a sealed partition has extents %v, want both", extents)
	}
}

func TestEpochEndFollowsOffsetForLeaderEpoch(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 5, records(keyA, 5, 10, 19, 1)), open(keyA, 10, 0))
	mustApply(t, s, fence(2, 6)) // wrote nothing
	mustApply(t, s, data(3, 8, records(keyA, 8, 20, 29, 1)))
	check := func(epoch, wantEpoch int32, wantEnd int64) {
		t.Helper()
		if e, end, ok := s.EpochEnd(keyA, epoch); !ok || e != wantEpoch || end != wantEnd {
			t.Errorf("epoch %d ends at (%d, %d), want (%d, %d)", epoch, e, end, wantEpoch, wantEnd)
		}
	}
	check(3, 3, 10)
	check(5, 5, 20)
	check(6, 5, 20)
	check(7, 5, 20)
	check(8, 8, 30)
	check(9, -1, -1)
	check(-1, -1, -1)

	mustApply(t, s, fence(4, 11))
	check(8, 8, 30)
	check(10, 8, 30)
	check(11, 11, 30)
	check(12, -1, -1)
	if _, _, ok := s.EpochEnd(keyB, 5); ok {
		t.Error("a partition that was never opened has epochs")
	}
}

func TestTimesAreFound(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 1, records(keyA, 1, 0, 9, 100)), open(keyA, 0, 0), open(keyB, 0, 0))
	mustApply(t, s, data(2, 1, records(keyA, 1, 10, 19, 300)))
	mustApply(t, s, data(3, 1, records(keyA, 1, 20, 29, 200), records(keyB, 1, 0, 0, -1)))
	mustApply(t, s, data(4, 1, records(keyA, 1, 30, 39, 300)))

	for ts, want := range map[int64]uint64{-1: 1, 100: 1, 101: 2, 300: 2} {
		if r, _, ok := s.FindTimeAfter(keyA, -1, ts); !ok || r.Object.Seq != want {
			t.Errorf("time %d: seq %d, %t, want %d", ts, r.Object.Seq, ok, want)
		}
	}
	if r, _, ok := s.FindTimeAfter(keyA, -1, 301); ok {
		t.Errorf("found %+v after the last timestamp", r)
	}
	r, _, _ := s.FindTimeAfter(keyA, -1, 150)
	var seqs []uint64
	for ok := true; ok; r, _, ok = s.FindTimeAfter(keyA, r.Last, 150) {
		seqs = append(seqs, r.Object.Seq)
	}
	if !slices.Equal(seqs, []uint64{2, 3, 4}) {
		t.Errorf("extents at or after 150: %v", seqs)
	}
	if r, _, ok := s.FindNewest(keyA, 0, math.MaxInt64); !ok || r.Object.Seq != 2 {
		t.Errorf("greatest timestamp in seq %d, want 2", r.Object.Seq)
	}
	if r, _, ok := s.FindNewest(keyB, 0, math.MaxInt64); ok {
		t.Errorf("found %+v where no record has a timestamp", r)
	}
}

// TestRefsWithoutATimeMayHaveAny: clients wrote -1 where records have times. Neither
// a restart nor paging makes it forgotten.
func TestRefsWithoutATimeMayHaveAny(t *testing.T) {
	l := newLeader()
	mustApply(t, l.State, data(1, 1, records(keyA, 1, 0, 9, 100)), open(keyA, 0, 0))
	mustApply(t, l.State, data(2, 1, records(keyA, 1, 10, 19, -1)))
	mustApply(t, l.State, data(3, 1, records(keyA, 1, 20, 29, 200)))
	for _, then := range []func(){func() { l.restart(t) }, func() { l.plan(0); l.paged() }, func() { l.restart(t) }, func() {}} {
		for ts, want := range map[int64][]uint64{100: {1, 2, 3}, 101: {2, 3}, 201: {2}, math.MaxInt64: {2}} {
			var seqs []uint64
			r, ok := l.findTime(t, keyA, -1, ts)
			for ; ok; r, ok = l.findTime(t, keyA, r.Last, ts) {
				seqs = append(seqs, r.Object.Seq)
			}
			if !slices.Equal(seqs, want) {
				t.Errorf("extents that may have %d: %v, want %v", ts, seqs, want)
			}
		}
		if r, ok := l.newest(t, keyA, 0); !ok || r.Object.Seq != 3 {
			t.Errorf("greatest timestamp in seq %d, want 3", r.Object.Seq)
		}
		then()
	}
}

func TestPartitionsComeInKeyOrder(t *testing.T) {
	s := New(testJournal)
	var want []Key
	var opens []segment.Entry
	for _, topic := range []segment.ID{{1}, {2}} {
		for i := range int32(5) {
			want = append(want, Key{topic, i})
			opens = append(opens, open(Key{topic, i}, int64(i), 0))
		}
	}
	slices.Reverse(opens)
	mustApply(t, s, data(1, 1), opens...)
	var got []Key
	s.Partitions(func(k Key, v View) {
		if v.Start != int64(k.Index) {
			t.Errorf("%v starts at %d", k, v.Start)
		}
		got = append(got, k)
	})
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestExpiryCountsFromTheLastSegmentThatChangedAProducer(t *testing.T) {
	s := New(testJournal)
	write := func(seq uint64, offset int64, producer int64, e ...segment.Entry) {
		r := records(keyA, 1, offset, offset, 1)
		r.Producers = []segment.Producer{{ID: producer, Batches: []segment.ProducerBatch{{BaseOffset: offset, LastOffset: offset}}}}
		mustApply(t, s, data(seq, 1, r), e...)
	}
	write(1, 0, 11, open(keyA, 0, 0)) // built at 1000 ms
	write(2, 1, 22)
	write(3, 2, 11)
	write(4, 3, 33, ExpireProducers{BeforeMs: 3000}.Encode(), ExpireProducers{BeforeMs: 1}.Encode())
	got := map[int64]int64{}
	s.parts[keyA].producers.Each(func(p segment.Producer, usedMs int64) { got[p.ID] = usedMs })
	if len(got) != 2 || got[11] != 3000 || got[33] != 4000 {
		t.Errorf("producers %v, want 11 used at 3000 and 33 at 4000", got)
	}
}

func TestRefStaysSmall(t *testing.T) {
	if size := unsafe.Sizeof(ref{}); size > 48 {
		t.Errorf("a ref takes %d bytes, at most 48 are planned for", size)
	}
}

func TestDeletedRecordsAreNotFound(t *testing.T) {
	s := started(t) // offsets 10 to 14 in seq 5
	mustApply(t, s, data(6, 2, records(keyA, 102, 15, 19, 40)))
	mustApply(t, s, fence(7, 3))
	mustApply(t, s, data(8, 3, records(keyA, 103, 20, 24, 30)), DeleteRecords{keyA, 17}.Encode(), DeleteRecords{keyA, 12}.Encode())
	if v, _ := s.Lookup(keyA); v.Start != 17 || v.End != 25 {
		t.Errorf("view %+v, want offsets 17 to 24", v)
	}
	if n, ok := s.Bytes(keyA); n != 100 || !ok {
		t.Errorf("%d bytes, want those of the extents from offset 15 on", n)
	}
	if extents, _, _, _ := s.Find(keyA, 16, 10); len(extents) != 0 {
		t.Errorf("a deleted record is in %v", extents)
	}
	if extents, _, _, _ := s.Find(keyA, 17, 10); len(extents) != 2 || extents[0].Object.Seq != 6 {
		t.Errorf("offset 17 is in %v", extents)
	}
	if r, _, ok := s.FindTimeAfter(keyA, -1, 0); !ok || r.Object.Seq != 6 {
		t.Errorf("the first record is in %+v", r)
	}
	if r, _, ok := s.FindNewest(keyA, 0, math.MaxInt64); !ok || r.Object.Seq != 6 {
		t.Errorf("the greatest timestamp is in %+v", r)
	}
	if epoch, end, _ := s.EpochEnd(keyA, 100); epoch != 100 || end != 17 {
		t.Errorf("an epoch before the log's ends at (%d, %d), want (100, 17)", epoch, end)
	}
	if epoch, end, _ := s.EpochEnd(keyA, 102); epoch != 102 || end != 20 {
		t.Errorf("the first epoch ends at (%d, %d), want (102, 20)", epoch, end)
	}
	if _, ok := s.EpochAt(keyA, 16); ok {
		t.Error("a deleted record has an epoch")
	}
	before := s.Hash()
	mustApply(t, s, data(9, 3), DeleteRecords{keyA, 25}.Encode())
	if v, _ := s.Lookup(keyA); v.Start != 25 || v.End != 25 || s.Hash() == before {
		t.Errorf("view %+v, want an empty log at 25", v)
	}
	mustApply(t, s, data(10, 3, records(keyA, 103, 25, 25, 20)))
	if r, _, ok := s.FindNewest(keyA, 0, math.MaxInt64); !ok || r.Object.Seq != 10 {
		t.Errorf("the greatest timestamp is in %+v", r)
	}
}

// TestRefsOfDeletedRecordsAreDropped also drops chunks that are planned to be paged.
func TestRefsOfDeletedRecordsAreDropped(t *testing.T) {
	l := long(t, 5*chunkRefs)
	l.plan(8)
	l.paged() // all five
	mustApply(t, l.State, data(10_000, 1, records(keyA, 1, 5*chunkRefs, 5*chunkRefs, 1)))
	l.plan(1)
	older, olderID := l.planned, l.object
	mustApply(t, l.State, data(10_001, 1), DeleteRecords{keyA, 3*chunkRefs + 7}.Encode())
	if n := len(l.parts[keyA].refs.pages); n != 2 {
		t.Errorf("%d pages are left, want 2", n)
	}
	l.Paged(older, olderID)
	if refs := l.parts[keyA].refs; len(refs.pages) != 3 || len(refs.chunks) != 0 {
		t.Errorf("%d pages and %d chunks, want 3 pages", len(refs.pages), len(refs.chunks))
	}
	l.restart(t)
	if got := l.find(t, keyA, 3*chunkRefs+7, 1000); int64(len(got)) != 2*chunkRefs-6 || got[0].Base != 3*chunkRefs+7 {
		t.Errorf("%d extents from %d on", len(got), got[0].Base)
	}

	mustApply(t, l.State, data(10_002, 1, records(keyA, 1, 5*chunkRefs+1, 5*chunkRefs+1, 1)))
	l.plan(1)
	mustApply(t, l.State, data(10_003, 1), DeleteRecords{keyA, 5*chunkRefs + 2}.Encode())
	l.paged()
	if refs := l.parts[keyA].refs; refs.len() != 0 {
		t.Errorf("%d chunks of nothing", refs.len())
	}
	before := l.Hash()
	l.restart(t)
	if l.Hash() != before {
		t.Error("a restart changes a partition without records")
	}
	mustApply(t, l.State, data(10_004, 1, records(keyA, 1, 5*chunkRefs+2, 5*chunkRefs+2, 1)))
	if got := l.find(t, keyA, 5*chunkRefs+2, 9); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}
