package partlog

import (
	"math"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// object is the input of Apply.
type object struct {
	footer  *segment.Footer
	entries []segment.Entry
}

// drawJournal makes up a journal that Apply must accept: up to n objects, some
// of them fences, with some of three partitions each.
func drawJournal(t *rapid.T, n int) []object {
	var (
		out    []object
		ends   = map[Key]int64{}
		sealed = map[Key]bool{}
		seq    uint64
		epoch  uint32 = 1
	)
	for range rapid.IntRange(1, n).Draw(t, "objects") {
		seq += rapid.Uint64Range(1, 3).Draw(t, "skip") // voids are skipped
		if rapid.IntRange(0, 4).Draw(t, "fence") == 0 {
			epoch += rapid.Uint32Range(1, 3).Draw(t, "raise")
			out = append(out, object{footer: fence(seq, epoch)})
			continue
		}
		o := object{footer: data(seq, epoch)}
		o.footer.Header.BuiltMs -= rapid.SampledFrom([]int64{0, 0, 0, 0, 2500, 6000}).Draw(t, "clock is back by")
		for i := range int32(3) {
			k := Key{testTopic, i}
			if sealed[k] {
				continue
			}
			if end, ok := ends[k]; ok && rapid.IntRange(0, 5).Draw(t, "delete") == 0 {
				kept := rapid.Int64Range(0, min(end, 25)).Draw(t, "kept")
				o.entries = append(o.entries, DeleteRecords{k, end - kept}.Encode())
			}
			if rapid.Bool().Draw(t, "absent") {
				continue
			}
			if _, ok := ends[k]; !ok {
				ends[k] = rapid.Int64Range(0, 50).Draw(t, "start")
				o.entries = append(o.entries, open(k, ends[k], i))
			}
			last := ends[k] + rapid.Int64Range(0, 9).Draw(t, "more")
			r := records(k, int32(epoch)+i, ends[k], last, rapid.Int64Range(-1, 30).Draw(t, "time"))
			r.Producers = []segment.Producer{{
				ID:      rapid.Int64Range(0, 9).Draw(t, "producer"),
				Batches: []segment.ProducerBatch{{BaseOffset: ends[k], LastOffset: last}},
			}}
			o.footer.Partitions = append(o.footer.Partitions, r)
			ends[k] = last + 1
			if rapid.IntRange(0, 30).Draw(t, "seal") == 0 {
				sealed[k] = true
				o.entries = append(o.entries, Seal{k}.Encode())
			}
		}
		if rapid.IntRange(0, 10).Draw(t, "expire") == 0 {
			o.entries = append(o.entries, ExpireProducers{BeforeMs: int64(seq) * rapid.SampledFrom([]int64{500, 800, 950}).Draw(t, "before")}.Encode())
		}
		out = append(out, o)
	}
	return out
}

func TestLiveStateEqualsReplayedState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		journal := drawJournal(t, 30)
		live := New(testJournal)
		hashes := make([][32]byte, len(journal))
		for i, o := range journal {
			if err := live.Apply(o.footer, o.entries); err != nil {
				t.Fatal(err)
			}
			hashes[i] = live.Hash()
			if i > 0 && hashes[i] == hashes[i-1] {
				t.Fatalf("object %d left the hash as it was", i)
			}
		}
		replayed := New(testJournal)
		for i, o := range journal {
			if err := replayed.Apply(o.footer, o.entries); err != nil {
				t.Fatal(err)
			}
			if replayed.Hash() != hashes[i] {
				t.Fatalf("states differ after object %d", i)
			}
		}
	})
}

// written is where the footers of a journal list records of a partition.
type written struct {
	seq uint64
	segment.Partition
}

func writtenTo(k Key, journal []object) (out []written) {
	for _, o := range journal {
		for _, p := range o.footer.Partitions {
			if keyOf(&p) == k {
				out = append(out, written{o.footer.Header.Seq, p})
			}
		}
	}
	return out
}

// TestLookupsMatchANaiveLog compares every look-up with a search through all
// footers from the first.
func TestLookupsMatchANaiveLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		journal := drawJournal(t, 40)
		s := New(testJournal)
		for _, o := range journal {
			if err := s.Apply(o.footer, o.entries); err != nil {
				t.Fatal(err)
			}
		}
		for i := range int32(3) {
			compareLookups(t, library{State: s}, Key{testTopic, i}, journal)
		}
	})
}

// startOf is where the entries of a journal let a partition start.
func startOf(k Key, journal []object) (start int64) {
	for _, o := range journal {
		for _, e := range o.entries {
			if open, err := DecodeOpen(e.Payload); e.Kind == EntryOpen && err == nil && open.Key == k {
				start = open.StartOffset
			}
			if del, err := DecodeDeleteRecords(e.Payload); e.Kind == EntryDeleteRecords && err == nil && del.Key == k {
				start = max(start, del.Before)
			}
		}
	}
	return start
}

func compareLookups(t *rapid.T, s library, k Key, journal []object) {
	parts := writtenTo(k, journal)
	view, ok := s.Lookup(k)
	if !ok {
		if len(parts) > 0 {
			t.Fatal("the partition is not known")
		}
		return
	}
	if start := startOf(k, journal); view.Start != start {
		t.Fatalf("the partition starts at %d, want %d", view.Start, start)
	}
	parts = slices.DeleteFunc(parts, func(p written) bool { return p.LastOffset < view.Start })
	compareOffsets(t, s, k, view, parts)
	compareTimes(t, s, k, view, parts)
	if len(parts) > 0 {
		parts[0].BaseOffset = max(parts[0].BaseOffset, view.Start)
	}
	compareEpochs(t, s, k, view, parts)
}

func compareOffsets(t *rapid.T, s library, k Key, view View, parts []written) {
	for offset := view.Start - 2; offset < view.End+2; offset++ {
		n := rapid.IntRange(1, 4).Draw(t, "n")
		var want, got []uint64
		for _, p := range parts {
			if offset >= view.Start && p.LastOffset >= offset && len(want) < n {
				want = append(want, p.seq)
			}
		}
		for _, r := range s.find(t, k, offset, n) {
			got = append(got, r.Object.Seq)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("offset %d is in %v, want %v", offset, got, want)
		}
	}
	for _, p := range parts {
		r := s.find(t, k, p.LastOffset, 1)[0]
		want := Extent{
			Object: segment.DataObject(testJournal, p.seq), Base: p.BaseOffset, Last: p.LastOffset, MaxTimestamp: p.MaxTimestamp,
			Position: uint32(p.Position), Length: uint32(p.Length), Epoch: p.LeaderEpoch, CRC: p.CRC,
		}
		if r != want {
			t.Fatalf("offset %d has extent %+v, want %+v", p.LastOffset, r, want)
		}
	}
}

func compareTimes(t *rapid.T, s library, k Key, view View, parts []written) {
	for _, from := range []int64{view.Start, rapid.Int64Range(view.Start, view.End).Draw(t, "from")} {
		newest, newestSeq := int64(-1), uint64(0)
		for _, p := range parts {
			if p.LastOffset >= from && p.MaxTimestamp > newest {
				newest, newestSeq = p.MaxTimestamp, p.seq
			}
		}
		if r, ok := s.newest(t, k, from); ok != (newest >= 0) || ok && r.Object.Seq != newestSeq {
			t.Fatalf("greatest timestamp from offset %d on is in %d, want %d", from, r.Object.Seq, newestSeq)
		}
	}
	for ts := int64(-1); ts < 32; ts++ {
		var want, got []uint64
		for _, p := range parts {
			if p.MaxTimestamp >= ts || p.MaxTimestamp < 0 {
				want = append(want, p.seq)
			}
		}
		for r, ok := s.findTime(t, k, -1, ts); ok; r, ok = s.findTime(t, k, r.Last, ts) {
			got = append(got, r.Object.Seq)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("time %d is in %v, want %v", ts, got, want)
		}
	}
}

func compareEpochs(t *rapid.T, s library, k Key, view View, parts []written) {
	for epoch := int32(0); epoch <= view.Epoch; epoch++ {
		wantEpoch, wantEnd := epoch, view.End
		for _, p := range parts {
			if p.LeaderEpoch <= epoch {
				wantEpoch = p.LeaderEpoch
			}
		}
		for _, p := range slices.Backward(parts) {
			if p.LeaderEpoch > epoch {
				wantEnd = p.BaseOffset
			}
		}
		if epoch == view.Epoch {
			wantEpoch = epoch
		}
		if e, end, _ := s.EpochEnd(k, epoch); e != wantEpoch || end != wantEnd {
			t.Fatalf("epoch %d ends at (%d, %d), want (%d, %d)", epoch, e, end, wantEpoch, wantEnd)
		}
	}
	for _, p := range parts {
		for _, offset := range []int64{p.BaseOffset, p.LastOffset} {
			if epoch, ok := s.EpochAt(k, offset); !ok || epoch != p.LeaderEpoch {
				t.Fatalf("offset %d is of epoch %d, want %d", offset, epoch, p.LeaderEpoch)
			}
		}
	}
	for _, offset := range []int64{view.Start - 1, view.End} {
		if epoch, ok := s.EpochAt(k, offset); ok {
			t.Fatalf("offset %d outside of the log is of epoch %d", offset, epoch)
		}
	}
}

func TestLookupsWorkAcrossChunks(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 1), open(keyA, 0, 0))
	const n = 3*chunkRefs + 7
	for i := range int64(n) {
		mustApply(t, s, data(uint64(i)+2, 1, records(keyA, 1, i, i, i)))
	}
	for i := range int64(n) {
		refs, _, _, _ := s.Find(keyA, i, 2*chunkRefs)
		if want := min(2*chunkRefs, n-i); int64(len(refs)) != want || refs[0].Base != i || refs[len(refs)-1].Base != i+want-1 {
			t.Fatalf("offset %d: %d refs from %d on", i, len(refs), refs[0].Base)
		}
		if r, _, ok := s.FindTimeAfter(keyA, -1, i); !ok || r.Base != i {
			t.Fatalf("time %d: %+v", i, r)
		}
	}
	if r, _, _ := s.FindNewest(keyA, 0, math.MaxInt64); r.Base != n-1 {
		t.Errorf("greatest timestamp in %+v", r)
	}
}

// TestReadersSeeWholeObjects reads while objects are applied. The race detector, and pairs
// of partitions that move together, show a torn state.
func TestReadersSeeWholeObjects(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, data(1, 1), open(keyA, 0, 0), open(keyB, 0, 0))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ends := map[Key]int64{}
				s.Partitions(func(k Key, v View) { ends[k] = v.End })
				if ends[keyA] != ends[keyB] {
					t.Errorf("saw half an object: %v", ends)
				}
				refs, _, view, _ := s.Find(keyA, 0, 1<<20)
				if len(refs) > 0 && refs[len(refs)-1].Last != view.End-1 {
					t.Errorf("refs end at %d, the view at %d", refs[len(refs)-1].Last, view.End)
				}
				s.FindTimeAfter(keyA, -1, 1)
				s.Hash()
				_, _, _ = s.Check(keyA, batch.Header{ProducerID: 1})
			}
		})
	}
	for i := range int64(300) {
		r := records(keyA, 1, i, i, i)
		r.Producers = []segment.Producer{{ID: i % 3, Batches: make([]segment.ProducerBatch, 1)}}
		mustApply(t, s, data(uint64(i)+2, 1, r, records(keyB, 1, i, i, i)))
	}
	close(stop)
	readers.Wait()
}
