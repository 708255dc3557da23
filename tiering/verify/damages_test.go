package verify_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// position is where a partition's batches begin in an object of journal 1.
func position(t *testing.T, b []byte, part int) int {
	o, err := segment.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return int(o.Footer.Partitions[part].Position)
}

// flip damages the byte that where returns.
func flip(seq uint64, where func(t *testing.T, b []byte) int) func(*testing.T, *mem.Store) {
	return func(t *testing.T, store *mem.Store) {
		edit(t, store, at(seq), func(b []byte) []byte {
			b[where(t, b)] ^= 0x40
			return b
		})
	}
}

func fixed(pos int) func(*testing.T, []byte) int { return func(*testing.T, []byte) int { return pos } }

func fromEnd(pos int) func(*testing.T, []byte) int {
	return func(_ *testing.T, b []byte) int { return len(b) - pos }
}

func inBatch(part, pos int) func(*testing.T, []byte) int {
	return func(t *testing.T, b []byte) int { return position(t, b, part) + pos }
}

func truncate(seq uint64, n int) func(*testing.T, *mem.Store) {
	return func(t *testing.T, store *mem.Store) {
		edit(t, store, at(seq), func(b []byte) []byte { return b[:n] })
	}
}

func remove(seqs ...uint64) func(*testing.T, *mem.Store) {
	return func(t *testing.T, store *mem.Store) {
		for _, seq := range seqs {
			if !store.DeleteNow(at(seq)) {
				t.Fatalf("no seq %d", seq)
			}
		}
	}
}

const (
	all7 = "events-0:6..8 clicks-0:0..2"
	all8 = "events-0:9..14"
)

// In segment 7 clicks is the first partition, in the order of topic ids, and
// events the second; a batch header has 61 bytes.
var damages = map[string]struct {
	damage func(t *testing.T, store *mem.Store)
	want   []expected
}{
	"header, magic":             {flip(7, fixed(0)), []expected{{"error", "corrupt", at(7), ""}}},
	"header, version":           {flip(7, fixed(5)), []expected{{"error", "corrupt", at(7), ""}}},
	"header, epoch":             {flip(7, fixed(47)), []expected{{"error", "corrupt", at(7), ""}}},
	"entries":                   {flip(5, fixed(segment.HeaderSize+13)), []expected{{"error", "corrupt", at(5), ""}}},
	"entries count, without":    {flip(7, fixed(segment.HeaderSize+3)), []expected{{"error", "corrupt", at(7), ""}}},
	"records":                   {flip(7, inBatch(0, 70)), []expected{{"error", "corrupt", at(7), "clicks-0:0..2"}}},
	"second batch's records":    {flip(8, inBatch(0, 165)), []expected{{"error", "corrupt", at(8), "events-0:12..14"}}},
	"batch header, base offset": {flip(7, inBatch(1, 7)), []expected{{"error", "corrupt", at(7), "events-0:6..8"}}},
	"batch header, length":      {flip(8, inBatch(0, 11)), []expected{{"error", "corrupt", at(8), "events-0:9..14"}}},
	"batch header, magic":       {flip(8, inBatch(0, 16)), []expected{{"error", "corrupt", at(8), "events-0:9..14"}}},
	"footer":                    {flip(7, fromEnd(100)), []expected{{"error", "corrupt", at(7), "events-0:6..8 clicks-0:0..2"}}},
	"trailer":                   {flip(7, fromEnd(20)), []expected{{"error", "corrupt", at(7), "events-0:6..8 clicks-0:0..2"}}},
	"trailer, magic":            {flip(7, fromEnd(1)), []expected{{"error", "corrupt", at(7), "events-0:6..8 clicks-0:0..2"}}},
	"last segment's footer":     {flip(20, fromEnd(100)), []expected{{"error", "corrupt", at(20), ""}}},
	"records of a void":         {flip(10, inBatch(0, 70)), []expected{{"warning", "corrupt", at(10), ""}}},
	"truncated by a byte":       {truncate(7, 600), []expected{{"error", "corrupt", at(7), all7}}},
	"truncated to the header":   {truncate(7, segment.HeaderSize), []expected{{"error", "corrupt", at(7), all7}}},
	"truncated in the header":   {truncate(7, 100), []expected{{"error", "corrupt", at(7), all7}}},
	"empty":                     {truncate(7, 0), []expected{{"error", "corrupt", at(7), all7}}},
	"fence cut to nothing":      {truncate(15, 1), []expected{{"error", "corrupt", at(15), ""}}},
	"data missing":              {remove(7), []expected{{"error", "missing", at(7), all7}}},
	"first missing":             {remove(1), []expected{{"error", "missing", at(1), ""}}},
	"opens missing":             {remove(5), []expected{{"error", "missing", at(5), ""}}},
	"three in a row missing":    {remove(7, 8, 9), []expected{{"error", "missing", at(7), "events-0:6..14 clicks-0:0..2"}}},
	"fence missing":             {remove(9), []expected{{"error", "missing", at(9), ""}}},
	"fence and window missing":  {remove(9, 10, 11, 12), []expected{{"error", "missing", at(9), ""}}},
	"filler missing":            {remove(17), []expected{{"error", "missing", at(17), ""}}},
	"void missing":              {remove(10), []expected{{"error", "missing", at(10), ""}}},
	"two apart missing": {remove(7, 14), []expected{
		{"error", "missing", at(7), "events-0:6..8 clicks-0:0..2 events-1:3..5"}, // the latter in one of both
		{"error", "missing", at(14), "clicks-0:0..2 events-1:3..5"},
	}},
	"swapped": {
		func(t *testing.T, store *mem.Store) {
			a, _ := store.GetNow(at(7))
			b, _ := store.GetNow(at(8))
			store.PutNow(at(7), b)
			store.PutNow(at(8), a)
		},
		[]expected{
			{"error", "misplaced", at(7), "events-0:6..14 clicks-0:0..2"},
			{"error", "misplaced", at(8), "events-0:6..14 clicks-0:0..2"},
		},
	},
	"of another cluster": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 8, func(h *segment.Header, _ []segment.Records) { h.Cluster = segment.ID{2} })
		},
		[]expected{{"error", "misplaced", at(8), all8}},
	},
	"replaced": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 7, func(h *segment.Header, _ []segment.Records) { h.Object = segment.ID{55} })
		},
		[]expected{{"error", "chain", at(8), ""}},
	},
	"epoch without a fence": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 20, func(h *segment.Header, _ []segment.Records) { h.Epoch = 4 })
		},
		[]expected{{"error", "chain", at(20), ""}, {"error", "epoch", at(20), "events-0:21..23"}},
	},
	"bad batch CRC under a right section": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 8, func(_ *segment.Header, parts []segment.Records) { parts[0].Batches[1][70] ^= 1 })
		},
		[]expected{{"error", "batch", at(8), "events-0:12..14"}},
	},
	"gap between segments": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 20, func(_ *segment.Header, parts []segment.Records) { shift(parts, 100, 0) })
		},
		[]expected{{"error", "offsets", at(20), "events-0:21..120"}},
	},
	"offsets twice between segments": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 20, func(_ *segment.Header, parts []segment.Records) { shift(parts, -2, 0) })
		},
		[]expected{{"error", "offsets", at(20), "events-0:19..20"}},
	},
	"gap within a segment": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 8, func(_ *segment.Header, parts []segment.Records) {
				batch.Patch(parts[0].Batches[0], 8, parts[0].LeaderEpoch)
			})
		},
		[]expected{{"error", "offsets", at(8), "events-0:11..11"}, {"error", "offsets", at(8), "events-0:8..8"}},
	},
	"wrong leader epoch throughout": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 8, func(_ *segment.Header, parts []segment.Records) { shift(parts, 0, 1) })
		},
		[]expected{{"error", "epoch", at(8), all8}},
	},
	"wrong leader epoch in a batch": {
		func(t *testing.T, store *mem.Store) {
			edit(t, store, at(8), func(b []byte) []byte {
				b[position(t, b, 0)+15] ^= 1
				return resumSection(t, b)
			})
		},
		[]expected{{"error", "epoch", at(8), "events-0:9..11"}},
	},
	"footer counts one record less": {
		func(t *testing.T, store *mem.Store) {
			edit(t, store, at(8), func(b []byte) []byte {
				b[footer(b)+224+44+3]--
				resum(b)
				return b
			})
		},
		[]expected{{"error", "batch", at(8), all8}},
	},
	"footer forgets a producer's batch": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 8, func(_ *segment.Header, parts []segment.Records) { parts[0].Producers[0].Batches[0].FirstSequence++ })
		},
		[]expected{{"error", "producers", at(8), all8}},
	},
	"a retry stored twice": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 20, func(_ *segment.Header, parts []segment.Records) { resequence(parts, -3) })
		},
		[]expected{{"error", "producers", at(20), "events-0:21..23"}},
	},
	"a producer's batch left out": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 20, func(_ *segment.Header, parts []segment.Records) { resequence(parts, 3) })
		},
		[]expected{{"warning", "producers", at(20), "events-0:21..23"}},
	},
	"partition never opened": {
		func(t *testing.T, store *mem.Store) {
			rewrite(t, store, 20, func(_ *segment.Header, parts []segment.Records) { parts[0].Index = 5 })
		},
		[]expected{{"error", "state", at(20), "events-5:21..23"}},
	},
	"future version": {
		func(t *testing.T, store *mem.Store) {
			edit(t, store, at(8), func(b []byte) []byte {
				b[5], b[len(b)-7] = 2, 2
				return b
			})
		},
		[]expected{{"error", "unsupported", at(8), all8}},
	},
	"cluster object missing": {
		func(_ *testing.T, store *mem.Store) { store.DeleteNow("cluster") },
		[]expected{{"error", "cluster", "cluster", ""}},
	},
	"cluster object damaged": {
		func(t *testing.T, store *mem.Store) {
			edit(t, store, "cluster", func(b []byte) []byte { b[20] ^= 1; return b })
		},
		[]expected{{"error", "cluster", "cluster", ""}},
	},
	"unknown keys": {
		func(_ *testing.T, store *mem.Store) {
			store.PutNow("readme.txt", nil)
			store.PutNow("journals/1/7", nil)
			store.PutNow("journals/01/"+strings.Repeat("0", 20), nil)
			store.PutNow("probe/left-over", nil)
		},
		[]expected{
			{"warning", "unknown-key", "journals/01/00000000000000000000", ""},
			{"warning", "unknown-key", "journals/1/7", ""},
			{"warning", "unknown-key", "readme.txt", ""},
		},
	},
	"a journal that the metadata does not name": {
		func(_ *testing.T, store *mem.Store) {
			b, _ := store.GetNow(at(1))
			store.PutNow(segment.JournalKey(4, 1), b)
		},
		[]expected{{"error", "unnamed", "journals/4/", ""}, {"error", "misplaced", segment.JournalKey(4, 1), ""}},
	},
}

func footer(b []byte) int {
	return int(binary.BigEndian.Uint64(b[len(b)-segment.TrailerSize:]))
}

// resumSection makes the checksum of the first partition's batches right again.
func resumSection(t *testing.T, b []byte) []byte {
	p := footer(b) + 224
	from, length := binary.BigEndian.Uint64(b[p+24:]), binary.BigEndian.Uint64(b[p+32:])
	binary.BigEndian.PutUint32(b[p+40:], checksum(b[from:from+length]))
	resum(b)
	return b
}

// shift moves offsets and leader epochs of partitions.
func shift(parts []segment.Records, offsets int64, epochs int32) {
	for i := range parts {
		p := &parts[i]
		p.LeaderEpoch += epochs
		for _, b := range p.Batches {
			h, _ := batch.Parse(b)
			batch.Patch(b, h.BaseOffset+offsets, p.LeaderEpoch)
		}
		for j := range p.Producers {
			for k := range p.Producers[j].Batches {
				p.Producers[j].Batches[k].BaseOffset += offsets
				p.Producers[j].Batches[k].LastOffset += offsets
			}
		}
	}
}

// resequence moves the sequence numbers of a segment of one batch.
func resequence(parts []segment.Records, by int32) {
	b := parts[0].Batches[0]
	binary.BigEndian.PutUint32(b[53:], uint32(int32(binary.BigEndian.Uint32(b[53:]))+by))
	batchtest.FixCRC(b)
	parts[0].Producers[0].Batches[0].FirstSequence += by
	parts[0].Producers[0].Batches[0].LastSequence += by
}

func TestEachDamageIsFoundOnceWhereItIs(t *testing.T) {
	for name, d := range damages {
		t.Run(name, func(t *testing.T) {
			store, _ := history(t)
			d.damage(t, store)
			r := run(t, store, verify.Options{})
			var got []expected
			for _, f := range r.Findings {
				got = append(got, brief(f))
				if f.What == "" || f.Hint == "" || strings.Contains(f.What, "%!") {
					t.Errorf("finding without words: %+v", f)
				}
			}
			if !slices.Equal(got, d.want) {
				for _, f := range r.Findings {
					t.Logf("%+v", f)
				}
				t.Fatalf("got  %v\nwant %v", got, d.want)
			}
			if name != "cluster object missing" && name != "cluster object damaged" && r.Journals[1].Head != 20 {
				t.Errorf("walked to seq %d only", r.Journals[1].Head)
			}
		})
	}
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	store, _ := history(t)
	for _, seq := range []uint64{5, 8, 10, 15, 16} {
		pristine, _ := store.GetNow(at(seq))
		for i := range pristine {
			damaged := slices.Clone(pristine)
			damaged[i] ^= 1
			store.PutNow(at(seq), damaged)
			r := run(t, store, verify.Options{})
			if len(r.Findings) != 1 || r.Findings[0].Key != at(seq) {
				t.Fatalf("seq %d, byte %d: %+v", seq, i, r.Findings)
			}
		}
		store.PutNow(at(seq), pristine)
	}
}
