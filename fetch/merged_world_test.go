package fetch

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// merging is a range of offsets that a merge puts into one extent. The range is whole
// batches.
type merging struct {
	key      partlog.Key
	from, to int64
}

// entry applies an object without records.
func (w *world) entry(entries ...segment.Entry) {
	w.tb.Helper()
	w.apply(&segment.Footer{Header: w.header(segment.KindData)}, entries)
}

// batchesIn returns the batches of a partition that begin in a range.
func (w *world) batchesIn(m merging) (out [][]byte) {
	for _, b := range w.log[m.key] {
		if h, _ := batch.Parse(b); h.BaseOffset >= m.from && h.BaseOffset < m.to {
			out = append(out, b)
		}
	}
	return out
}

// merge writes the batches of some ranges to one merged segment, puts it into their place,
// and returns the name of the object. A segment of one range may be an own one.
func (w *world) merge(own bool, parts ...merging) segment.Name {
	w.tb.Helper()
	slices.SortFunc(parts, func(a, b merging) int { return a.key.Compare(b.key) })
	object := segment.ID{9, byte(w.seq >> 8), byte(w.seq)}
	name := segment.SharedSegment(testJournal, object)
	if own {
		name = segment.OwnSegment(parts[0].key.Topic, parts[0].key.Index, parts[0].from, object)
	}
	var b bytes.Buffer
	out, err := segment.NewMergedWriter(&b, segment.MergedHeader{
		Name: name, Journal: testJournal, Cluster: testCluster, Job: segment.ID{7},
		Node: segment.ID{4}, Incarnation: segment.ID{5}, BuiltMs: int64(w.seq),
	})
	must := func(err error) {
		w.tb.Helper()
		if err != nil {
			w.tb.Fatal(err)
		}
	}
	must(err)
	for _, m := range parts {
		must(out.Begin(segment.MergedPart{Topic: m.key.Topic, Index: m.key.Index, TopicName: "topic", From: m.from, To: m.to, SourceMs: 1}))
		for _, batch := range w.batchesIn(m) {
			must(out.Append(batch, nil))
		}
		_, err := out.End()
		must(err)
	}
	merged, err := out.Close()
	must(err)
	w.put(name.Key(), b.Bytes())
	w.place(name, merged)
	return name
}

// put stores an object that is not in the journal.
func (w *world) put(key string, b []byte) {
	w.store.PutNow(key, b)
	w.others[key] = b
}

// place commits the intent and the result of an object that was written.
func (w *world) place(name segment.Name, m segment.Merged) {
	w.tb.Helper()
	job := segment.ID{7, byte(w.seq >> 8), byte(w.seq)}
	w.entry(partlog.Intent{Job: job, Objects: []segment.Name{name}}.Encode())
	result := partlog.Result{Job: job, Last: true}
	for _, p := range m.Partitions {
		k := partlog.Key{Topic: p.Topic, Index: p.Index}
		part := partlog.ResultPart{Key: k, From: p.From, To: p.To, Replaced: w.ownIn(k, p.From, p.To)}
		part.Extents = []partlog.Extent{{
			Object: name, Base: p.From, Last: p.To - 1, MaxTimestamp: p.MaxTimestamp,
			Position: p.Position, Length: p.Length, CRC: p.CRC, IndexLength: p.IndexLength,
			Records: uint32(p.Records), Size: uint32(m.Size), SHA256: sha256.Sum256(w.others[name.Key()]), BuiltMs: 1, SourceMs: p.SourceMs,
		}}
		result.Parts = append(result.Parts, part)
	}
	w.entry(result.Encode())
}

// ownIn lists the extents in own segments in a range of offsets that is merged already.
func (w *world) ownIn(k partlog.Key, from, to int64) (out []partlog.Extent) {
	w.tb.Helper()
	if merged, _ := w.leader().Compacted(k); from >= merged {
		return nil
	}
	view, _ := w.leader().Lookup(k)
	for _, e := range w.extentsIn(k, max(from, view.Start), to) {
		if e.Object.Own() {
			out = append(out, e)
		}
	}
	return out
}

// extentsIn lists the extents of a range as the leader's state has them.
func (w *world) extentsIn(k partlog.Key, from, to int64) (out []partlog.Extent) {
	w.tb.Helper()
	for from < to {
		extents, page, _, _ := w.leader().Find(k, from, 1)
		if page != nil {
			all, err := w.reader.page(w.tb.Context(), journal{id: testJournal, JournalView: &w.view}, page)
			if err != nil {
				w.tb.Fatal(err)
			}
			extents = all.From(from, 1)
		}
		if len(extents) == 0 {
			return out
		}
		out = append(out, extents[0])
		from = extents[0].Last + 1
	}
	return out
}

// compact removes records of the batches that begin in a range, each with a chance, but
// never the last record of the log. Batches without records go.
func (w *world) compact(m merging, rng *rand.Rand, chance float64) {
	w.tb.Helper()
	var log [][]byte
	for i, b := range w.log[m.key] {
		h, _ := batch.Parse(b)
		if h.BaseOffset < m.from || h.BaseOffset >= m.to {
			log = append(log, b)
			continue
		}
		last := i == len(w.log[m.key])-1
		if b = without(w.tb.Fatal, b, func(offset int64) bool {
			return (!last || offset < h.LastOffset()) && rng.Float64() < chance
		}); b != nil {
			log = append(log, b)
		}
	}
	w.log[m.key] = log
}

// without returns a batch without some of its records; nil if none are left.
func without(fatal func(...any), b []byte, gone func(offset int64) bool) []byte {
	h, _ := batch.Parse(b)
	s := batchtest.Spec{
		Codec: h.Compression(), BaseOffset: h.BaseOffset, LeaderEpoch: h.LeaderEpoch, BaseTimestamp: h.BaseTimestamp,
	}
	err := batch.Records(b, 8<<20, func(r batch.Record) bool {
		if !gone(r.Offset) {
			s.Records = append(s.Records, batchtest.Record{Value: bytes.Clone(r.Value), Timestamp: r.Timestamp})
			s.Deltas = append(s.Deltas, int32(r.Offset-h.BaseOffset))
		}
		return true
	})
	if err != nil {
		fatal(err)
	}
	if len(s.Records) == 0 {
		return nil
	}
	s.Deltas = append(s.Deltas, h.LastOffsetDelta)
	return batchtest.Build(s)
}

// objects lists the objects that the leader's state names for a partition.
func (w *world) named(keys ...partlog.Key) map[segment.Name]bool {
	out := map[segment.Name]bool{}
	for _, k := range keys {
		view, _ := w.leader().Lookup(k)
		for _, e := range w.extentsIn(k, view.Start, view.End) {
			out[e.Object] = true
		}
	}
	return out
}

// deleteUnnamed deletes the objects that the leader's state names no more, as with no grace.
func (w *world) deleteUnnamed() {
	w.tb.Helper()
	named := w.named(slices.Collect(maps.Keys(w.opened))...)
	for seq := range w.objects {
		if n := segment.DataObject(testJournal, seq); !named[n] {
			w.store.DeleteNow(n.Key())
		}
	}
	for key := range w.others {
		if n, ok := segment.ParseMergedKey(key); ok && !named[n] {
			w.store.DeleteNow(key)
			delete(w.others, key)
		}
	}
}
