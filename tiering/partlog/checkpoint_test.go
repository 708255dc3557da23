package partlog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

// golden has of everything: partition A with two pages in two objects, two chunks
// of refs, two epochs and two producers; partition B, sealed; partition 2 with
// nothing.
func golden(t testing.TB) *leader {
	t.Helper()
	l := newLeader()
	write := func(seq uint64, epoch uint32, base, last int64, e ...segment.Entry) {
		t.Helper()
		r := records(keyA, int32(epoch)+100, base, last, 1000-base)
		r.Producers = []segment.Producer{
			{ID: 7, Epoch: 2, Batches: []segment.ProducerBatch{{FirstSequence: int32(base), LastSequence: int32(last), BaseOffset: base, LastOffset: last, Timestamp: 1000 - base}}},
		}
		mustApply(t, l.State, data(seq, epoch, r), e...)
	}
	mustApply(t, l.State, fence(1, 2))
	write(5, 2, 10, 14, open(keyA, 10, 100), open(keyB, 7, 0), open(Key{testTopic, 2}, 0, 5), Seal{keyB}.Encode())
	write(6, 2, 15, 15)
	l.plan(1)
	l.paged()
	mustApply(t, l.State, fence(7, 3))
	write(11, 3, 16, 20)
	l.plan(1)
	l.paged()
	write(12, 3, 21, 21)
	l.PlanIndex(1) // closes the chunk
	r := records(keyA, 103, 22, 23, 5)
	r.Producers = []segment.Producer{{ID: 9, Epoch: 0, Batches: make([]segment.ProducerBatch, 5)}}
	mustApply(t, l.State, data(13, 3, r))
	return l
}

// goldenDeleted is golden with two more partitions: the first record of the second
// of two refs of one is deleted, and all records of the other.
func goldenDeleted(t testing.TB) *leader {
	t.Helper()
	l := golden(t)
	part, all := Key{testTopic, 3}, Key{testTopic, 4}
	mustApply(t, l.State, data(14, 3, records(part, 3, 0, 4, 9), records(all, 3, 0, 4, 8)), open(part, 0, 0), open(all, 0, 0))
	mustApply(t, l.State, fence(15, 4))
	mustApply(t, l.State, data(16, 4, records(part, 4, 5, 9, 7)))
	mustApply(t, l.State, data(17, 4), DeleteRecords{part, 6}.Encode(), DeleteRecords{all, 5}.Encode())
	return l
}

// goldenProducers is golden with two pages of producers, of one object. Some of the first
// have expired since, and one was used.
func goldenProducers(t testing.TB) *leader {
	t.Helper()
	l := golden(t)
	r := records(keyA, 103, 24, 27, 5)
	for id := range int64(4) {
		r.Producers = append(r.Producers, segment.Producer{ID: 20 + id, Epoch: 1, Batches: []segment.ProducerBatch{{FirstSequence: 3, LastSequence: 4, BaseOffset: 24 + id, LastOffset: 24 + id, Timestamp: 5}}})
	}
	mustApply(t, l.State, data(14, 3, r))
	l.planProducers(smallPages)
	l.pagedProducers()
	mustApply(t, l.State, data(15, 3), ExpireProducers{BeforeMs: 13_500}.Encode())
	r = records(keyA, 103, 28, 28, 6)
	r.Producers = []segment.Producer{{ID: 21, Epoch: 1, Batches: []segment.ProducerBatch{{FirstSequence: 5, LastSequence: 5, BaseOffset: 28, LastOffset: 28, Timestamp: 6}}}}
	mustApply(t, l.State, data(16, 3, r))
	return l
}

// snapshot returns the bytes of a file of hex digits.
func snapshot(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// COMPATIBILITY: buckets are full of objects that these versions wrote. If this test
// fails, the code is wrong, not the file; a new version gets a file of its own.
func TestCheckpointsAndPagesKeepTheirBytes(t *testing.T) {
	l := goldenDeleted(t)
	want := snapshot(t, "v2-checkpoint.hex")
	if got := l.Encode(nil, segment.ID{}, nil); !bytes.Equal(got, want) {
		t.Errorf("checkpoint\n%x, the file has\n%x", got, want)
	}
	s, err := Decode(testJournal, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Hash() != l.Hash() {
		t.Error("the checkpoint holds another state")
	}
	_, page, _, _ := s.Find(keyA, 10, 1)
	if got, want := l.objects[page.Object], snapshot(t, "v1-index.hex"); !bytes.Equal(got, want) {
		t.Errorf("index payload\n%x, the file has\n%x", got, want)
	}
}

// COMPATIBILITY: as above.
func TestCheckpointsWithPagesOfProducersKeepTheirBytes(t *testing.T) {
	l := goldenProducers(t)
	want := snapshot(t, "v3-checkpoint.hex")
	if got := l.Encode(nil, segment.ID{}, nil); !bytes.Equal(got, want) {
		t.Errorf("checkpoint\n%x, the file has\n%x", got, want)
	}
	read := func(pages []*ProducerPage) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for _, p := range pages {
				if !yield(snapshot(t, "v1-producers.hex")[p.Position:][:p.Length], nil) {
					return
				}
			}
		}
	}
	s, err := Decode(testJournal, want, read)
	if err != nil {
		t.Fatal(err)
	}
	if s.Hash() != l.Hash() {
		t.Error("the checkpoint holds another state")
	}
	if got, want := l.objects[l.ProducerPages()[0].Object], snapshot(t, "v1-producers.hex"); !bytes.Equal(got, want) {
		t.Errorf("index payload\n%x, the file has\n%x", got, want)
	}
}

func TestCheckpointsOfVersion1AreRead(t *testing.T) {
	s, err := Decode(testJournal, snapshot(t, "v1-checkpoint.hex"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := golden(t); s.Hash() != l.Hash() || !bytes.Equal(s.Encode(nil, segment.ID{}, nil), l.Encode(nil, segment.ID{}, nil)) {
		t.Error("the checkpoint holds another state")
	}
}

func TestCheckpointOfAnEmptyStateIsOne(t *testing.T) {
	s, err := Decode(testJournal, New(testJournal).Encode(nil, segment.ID{}, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, data(1, 1), open(keyA, 0, 0))
}

func TestRestoredStateKnowsItsProducers(t *testing.T) {
	l := golden(t)
	l.restart(t)
	var got []segment.Producer
	l.parts[keyA].producers.Each(func(p segment.Producer, usedMs int64) {
		if want := map[int64]int64{7: 12_000, 9: 13_000}[p.ID]; usedMs != want {
			t.Errorf("producer %d was used at %d, want %d", p.ID, usedMs, want)
		}
		got = append(got, p)
	})
	if len(got) != 2 || len(got[0].Batches) != 4 || got[0].Epoch != 2 || got[0].Batches[3].BaseOffset != 21 {
		t.Errorf("producers %+v", got)
	}
}

// Where the parts of v2-checkpoint.hex stand.
const (
	atObjects = checkpointFixedSizeV2
	atPartA   = atObjects + 2*indexObjectSize
	atEpochs  = atPartA + partFixedSize
	atPages   = atEpochs + 2*epochStartSize
	atChunks  = atPages + 2*pagedChunkSize
	atSecond  = atChunks + refChunkFixedSize + refSize
	atFirst   = atSecond + refChunkFixedSize + refSize // producer
	atNext    = atFirst + producerFixedSize + 4*producerBatchSize
	atPartB   = atNext + producerFixedSize + 5*producerBatchSize
	atPartC   = atPartB + 2*partFixedSize // and partition 2
	atEpochsC = atPartC + partFixedSize
	atPartD   = atEpochsC + epochStartSize + refChunkFixedSize + 2*refSize
)

func TestDamagedCheckpointsAreRefused(t *testing.T) {
	good := snapshot(t, "v2-checkpoint.hex")
	u32 := func(at int, v uint32) func([]byte) { return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) } }
	u64 := func(at int, v uint64) func([]byte) { return func(b []byte) { binary.BigEndian.PutUint64(b[at:], v) } }
	u8 := func(at int, v byte) func([]byte) { return func(b []byte) { b[at] = v } }
	swap := func(a, b, n int) func([]byte) {
		return func(p []byte) {
			first := bytes.Clone(p[a:][:n])
			copy(p[a:][:n], p[b:][:n])
			copy(p[b:], first)
		}
	}
	for name, damage := range map[string]func([]byte){
		"another journal":                     u32(4, 4),
		"head before a ref":                   u64(8, 15),
		"no head":                             u64(8, 0),
		"epoch before a leader epoch":         u32(16, 3),
		"no epoch":                            u32(16, 0),
		"epoch too great":                     u32(16, maxEpoch+1),
		"reserved bytes":                      u8(2, 1),
		"more objects":                        u32(20, 3),
		"many objects":                        u32(20, 1<<31),
		"fewer objects":                       u32(20, 1),
		"more partitions":                     u32(24, 6),
		"many partitions":                     u32(24, 1<<31),
		"fewer partitions":                    u32(24, 4),
		"no object id":                        func(b []byte) { clear(b[atObjects:][:16]) },
		"object too large":                    u32(atObjects+16, MaxIndexPayload+1),
		"object shorter than a page":          u32(atObjects+16, 100),
		"no topic":                            func(b []byte) { clear(b[atPartA:][:16]) },
		"negative partition":                  u32(atPartA+16, 1<<31),
		"partitions out of order":             u32(atPartA+16, 1),
		"epoch base changed":                  u32(atPartA+20, 102),
		"epoch base too great":                u32(atPartB+20, maxEpoch+1),
		"negative start":                      u64(atPartB+24, 1<<63),
		"another start":                       u64(atPartA+24, 9),
		"negative bytes":                      u64(atPartA+40, 1<<63),
		"fewer bytes than refs":               u64(atPartA+40, 31),
		"bytes without refs":                  u64(atPartB+40, 1),
		"refs without a hash":                 func(b []byte) { clear(b[atPartA+48:][:32]) },
		"hash without refs":                   u8(atPartB+48, 1),
		"sealed twice over":                   u8(atPartB+80, 2),
		"reserved bytes of a partition":       u8(atPartA+81, 1),
		"not sealed, in an epoch":             u8(atPartB+80, 0),
		"sealed in no epoch":                  u32(atPartB+84, 0),
		"sealed in a later epoch":             u32(atPartB+84, 5),
		"many epochs":                         u32(atPartA+88, 1<<31),
		"no epochs":                           u32(atPartA+88, 0),
		"many pages":                          u32(atPartA+92, 1<<31),
		"many chunks":                         u32(atPartA+96, 1<<31),
		"many producers":                      u32(atPartA+100, 1<<31),
		"more reserved bytes":                 u8(atPartA+104, 1),
		"first epoch not above the base":      u32(atEpochs, 100),
		"epochs in the wrong order":           u32(atEpochs, 103),
		"first epoch after the start":         u64(atEpochs+4, 11),
		"epoch begins with the one before":    u64(atEpochs+16, 10),
		"epoch begins within a ref":           u64(atEpochs+16, 23),
		"epoch begins in another ref":         u64(atEpochs+16, 22),
		"epoch begins after the end":          u64(atEpochs+16, 24),
		"object not named yet":                u32(atPages, 1),
		"no such object":                      u32(atPages+32, 2),
		"object without a page":               u32(atPages+32, 0),
		"page outside of its object":          u32(atPages+4, 1),
		"page far outside of its object":      u32(atPages+4, 0xffffffff),
		"page of half a ref":                  u32(atPages+8, pageFixedSize+refSize/2),
		"page without refs":                   u32(atPages+8, pageFixedSize),
		"page smaller than any":               u32(atPages+8, 0),
		"page of too many refs":               u32(atPages+8, pageFixedSize+(chunkRefs+1)*refSize),
		"page ends before it starts":          u64(atPages+16, 9),
		"page of fewer offsets than refs":     u64(atPages+16, 10),
		"page at the end of time":             u64(atPages+24, 1<<63),
		"page at the last of offsets":         u64(atPages+16, 1<<63-1),
		"chunk without refs":                  u32(atChunks, 0),
		"chunk of too many refs":              u32(atChunks, chunkRefs+1),
		"chunk of more refs than there are":   u32(atChunks, chunkRefs),
		"seq zero":                            u64(atChunks+4, 0),
		"seq goes back from chunk to chunk":   u64(atSecond+4, 12),
		"ref ends before it starts":           u64(atSecond+12, 21),
		"ref of another epoch":                u32(atChunks+36, 102),
		"negative producer":                   u64(atFirst, 1<<63),
		"producer without batches":            u8(atFirst+10, 0),
		"producer with too many batches":      u8(atNext+10, 6),
		"reserved byte of a producer":         u8(atFirst+11, 1),
		"producers out of order":              u64(atFirst, 9),
		"chunks of refs in the wrong order":   swap(atChunks, atSecond, refChunkFixedSize+refSize),
		"pages and their objects are swapped": swap(atPages, atPages+pagedChunkSize, pagedChunkSize),
	} {
		b := bytes.Clone(good)
		damage(b)
		if _, err := Decode(testJournal, b, nil); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestDeletedRecordsMustFitTheRest(t *testing.T) {
	good := snapshot(t, "v2-checkpoint.hex")
	for name, field := range map[string]struct {
		at    int
		value uint64
	}{
		"refs start after the log":          {atPartA + 32, 11},
		"refs start before the first":       {atPartA + 32, 1 << 63},
		"refs of deleted records only":      {atPartC + 24, 10},
		"log starts after its refs":         {atPartC + 24, 11},
		"log without refs starts elsewhere": {atPartD + 24, 6},
		"refs without records start before": {atPartD + 32, 4},
		"epochs of deleted records":         {atEpochsC + 4, 5},
	} {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint64(b[field.at:], field.value)
		if _, err := Decode(testJournal, b, nil); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestCheckpointsOfAnotherLengthOrVersionAreRefused(t *testing.T) {
	good := snapshot(t, "v2-checkpoint.hex")
	for n := range good {
		if _, err := Decode(testJournal, good[:n], nil); !errors.Is(err, segment.ErrCorrupt) {
			t.Fatalf("cut to %d bytes: error %v", n, err)
		}
	}
	if _, err := Decode(testJournal, append(bytes.Clone(good), 0), nil); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("a byte too many: error %v", err)
	}
	for _, version := range []byte{0, 5} {
		b := bytes.Clone(good)
		b[1] = version
		if _, err := Decode(testJournal, b, nil); !errors.Is(err, segment.ErrUnsupported) {
			t.Errorf("version %d: error %v", version, err)
		}
	}
}

// bounded fails if a decoder allocates more than a small multiple of its input. Errors and
// the fuzzing engine may allocate more.
func bounded(t *testing.T, b []byte, decode func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decode()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8*uint64(len(b))+1<<20 {
		t.Errorf("%d bytes of input made it allocate %d", len(b), n)
	}
}

// checkDecode checks the rules that hold for any input.
func checkDecode(t *testing.T, b []byte) {
	t.Helper()
	var s *State
	var err error
	bounded(t, b, func() {
		var d *decoder
		if d, err = decode(testJournal, b); err == nil {
			s = d.s
			for _, p := range s.producerPages {
				p.live = 1 // as if the page were read
			}
		}
	})
	if err != nil {
		if !errors.Is(err, segment.ErrCorrupt) && !errors.Is(err, segment.ErrUnsupported) {
			t.Fatalf("error %v", err)
		}
		return
	}
	again := s.Encode(nil, segment.ID{}, nil)
	if old := b[1] == 1; !old && !bytes.Equal(again, b) {
		t.Fatalf("%x was accepted and encodes as %x", b, again)
	} else if old {
		if same, err := Decode(testJournal, again, nil); err != nil || same.Hash() != s.Hash() {
			t.Fatalf("%x was accepted and encodes as another state: %v", b, err)
		}
	}
	s.Partitions(func(k Key, v View) {
		if v.Start < 0 || v.End < v.Start || v.Epoch < 1 {
			t.Fatalf("accepted %+v", v)
		}
		for _, offset := range []int64{v.Start, v.End - 1} {
			refs, page, _, _ := s.Find(k, offset, 1)
			if v.End > v.Start && len(refs) == 0 && page == nil {
				t.Fatalf("offset %d is nowhere", offset)
			}
		}
		s.FindTimeAfter(k, -1, 0)
		s.FindNewest(k, v.Start, math.MaxInt64)
		s.parts[k].producers.Each(func(segment.Producer, int64) {})
	})
	s.Hash()
}

func TestRandomDamageToCheckpointsIsHarmless(t *testing.T) {
	good := [][]byte{snapshot(t, "v2-checkpoint.hex"), snapshot(t, "v3-checkpoint.hex"), snapshot(t, "v4-checkpoint.hex")}
	seed := seeded.Seed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 6000 {
		b := bytes.Clone(good[i%3])
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] = byte(random.IntN(256))
		}
		checkDecode(t, b)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(snapshot(f, "v1-checkpoint.hex"))
	f.Add(snapshot(f, "v2-checkpoint.hex"))
	f.Add(snapshot(f, "v3-checkpoint.hex"))
	f.Add(snapshot(f, "v4-checkpoint.hex"))
	f.Add(New(testJournal).Encode(nil, segment.ID{}, nil))
	f.Add(long(f, 300).Encode(nil, segment.ID{}, nil))
	f.Add([]byte{})
	f.Fuzz(checkDecode)
}

// FuzzDecodePage takes any bytes for a page, with a state that says what they say
// of themselves.
func FuzzDecodePage(f *testing.F) {
	f.Add(snapshot(f, "v1-index.hex"), int64(15), int64(990))
	f.Add([]byte{}, int64(0), int64(-1))
	f.Add(snapshot(f, "v2-index.hex")[pageFixedSize+4*refSize:], int64(19), int64(190))
	f.Fuzz(func(t *testing.T, b []byte, last, newest int64) {
		p := &Page{Length: uint32(len(b)), CRC: checksum(b), Last: last, MaxTimestamp: newest, last: last}
		if len(b) >= pageFixedSize {
			p.Merged = b[1] == mergedPageVersion
			p.Key = Key{segment.ID(b[8:24]), int32(binary.BigEndian.Uint32(b[4:]))}
			p.Base = int64(binary.BigEndian.Uint64(b[24:]))
			p.base = p.Base
		}
		var read *PageExtents
		var err error
		bounded(t, b, func() { read, err = DecodePage(p, b) })
		if err != nil {
			if !errors.Is(err, segment.ErrCorrupt) && !errors.Is(err, segment.ErrUnsupported) {
				t.Fatalf("error %v", err)
			}
			return
		}
		extents := read.From(p.Base, chunkRefs)
		if p.Merged {
			if again := mergedPageOf(p.Key, extents); !bytes.Equal(again, b) {
				t.Fatalf("%x was accepted and encodes as %x", b, again)
			}
			return
		}
		if again, err := EncodePage(p, extents); err != nil || !bytes.Equal(again, b) || extents[len(extents)-1].Last != last {
			t.Fatalf("%x was accepted and encodes as %x: %v", b, again, err)
		}
	})
}
