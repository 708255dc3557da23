package merge

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// codecs counts the batches of a codec in the merged extents, and the others there.
func (w *world) codecs(codec batch.Codec) (same, other int) {
	w.t.Helper()
	for _, k := range w.keys() {
		for _, e := range w.extents(k) {
			if e.Object.Kind != segment.KindMerged {
				continue
			}
			b, _ := w.store.GetNow(e.Object.Key())
			_ = batch.Walk(b[e.Position:][:e.Length], func(_ int, h batch.Header) error {
				if h.Compression() == codec {
					same++
				} else {
					other++
				}
				return nil
			})
		}
	}
	return same, other
}

func TestBatchesAreCompressedAsTheTopicAsks(t *testing.T) {
	w := newWorld(t, 3, 1)
	for id, topic := range w.topics {
		topic.Recompress, topic.Codec, topic.Level = true, batch.Zstd, 3
		w.topics[id] = topic
	}
	w.lead()
	for range 20 {
		w.produce(1, 3, 200)
	}
	w.work()
	w.check()
	if same, other := w.codecs(batch.Zstd); same == 0 || other > 0 {
		t.Errorf("%d batches with zstd, %d without", same, other)
	}
	if s := w.merger.Stats(); s.RecompressedFrom == 0 || s.RecompressedTo == 0 {
		t.Errorf("%+v", s)
	}
}

func TestBatchesAreCopiedWhileMergingLagsBehind(t *testing.T) {
	w := newWorld(t, 3, 1)
	for id, topic := range w.topics {
		topic.Recompress, topic.Codec, topic.Level = true, batch.Zstd, 3
		w.topics[id] = topic
	}
	w.opt.CopyOnly = func() bool { return true }
	w.lead()
	for range 20 {
		w.produce(1, 3, 200)
	}
	w.work()
	w.check()
	if _, other := w.codecs(batch.Zstd); other == 0 {
		t.Error("batches were compressed again")
	}
}

// produceDense writes objects with batches of a few bytes, which are many when they are not
// compressed.
func (w *world) produceDense(objects int, keys ...partlog.Key) {
	w.t.Helper()
	for range objects {
		var parts []segment.Records
		for _, k := range keys {
			spec := batchtest.Spec{BaseOffset: w.ends[k], LeaderEpoch: int32(w.epoch), BaseTimestamp: w.now.UnixMilli(), Codec: batch.Zstd}
			for range 4 {
				spec.Records = append(spec.Records, batchtest.Record{Timestamp: spec.BaseTimestamp, Key: []byte("k"), Value: bytes.Repeat([]byte("x"), 5000)})
			}
			b := batchtest.Build(spec)
			w.truth[k] = append(w.truth[k], recordsOf(w.t, b)...)
			w.ends[k] += int64(len(spec.Records))
			parts = append(parts, segment.Records{Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: int32(w.epoch)}, Batches: [][]byte{b}})
		}
		w.object(segment.KindData, nil, parts)
	}
}

// askFor has all topics ask for a codec.
func (w *world) askFor(codec batch.Codec) {
	for id, topic := range w.topics {
		topic.Recompress, topic.Codec = true, codec
		w.topics[id] = topic
	}
}

// TestDenseBatchesDoNotFillTheDisk: a producer and the configuration of its topic must not
// stop the merging of all others.
func TestDenseBatchesDoNotFillTheDisk(t *testing.T) {
	w := newWorld(t, 20, 1)
	w.askFor(batch.None)
	w.lead()
	w.produceDense(40, w.keys()...) // 16 MB of records in a few KiB
	w.disk.room = 400 << 10
	w.now = w.now.Add(2 * time.Hour)
	w.work()
	if journal, merged := w.check(); journal > 0 || merged == 0 {
		t.Errorf("%d extents are not merged, %d are", journal, merged)
	}
	if same, other := w.codecs(batch.None); same == 0 || other == 0 {
		t.Errorf("%d batches are not compressed, %d are", same, other)
	}
}

// withoutOdd leaves out the second record of each batch.
type withoutOdd struct{}

func (withoutOdd) Untouched(*batch.Header) bool              { return false }
func (withoutOdd) Keep(r batch.Record) bool                  { return r.Offset%4 != 1 }
func (withoutOdd) Stays(offset int64, _ []byte, _ bool) bool { return offset%4 != 1 }

// TestACompactionThatGrowsHasSeveralObjects: an extent has more bytes in another codec than
// an object takes.
func TestACompactionThatGrowsHasSeveralObjects(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.opt.Config.OwnBytes = 4 << 10
	w.opt.Config.JobBytes = 1 << 20
	w.lead()
	k := w.keys()[0]
	w.produceDense(60, k)
	w.now = w.now.Add(2 * time.Hour)
	w.work()
	extents := w.extents(k)
	if len(extents) != 1 || !extents[0].Object.Own() {
		t.Fatalf("%d extents", len(extents))
	}
	w.askFor(batch.None)
	got, err := w.merger.Compact(t.Context(), &Compaction{Key: k, Extents: extents, Filter: withoutOdd{}})
	if err != nil || got.Removed != 60 || got.Undecodable > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	extents = w.extents(k)
	for i := range extents {
		if e := &extents[i]; int64(e.Length) > w.opt.ObjectBytes {
			t.Errorf("extent %d has %d bytes", i, e.Length)
		}
	}
	if len(extents) < 2 {
		t.Errorf("%d extents", len(extents))
	}
	w.truth[k] = slices.DeleteFunc(w.truth[k], func(text string) bool { return offsetOf(text)%4 == 1 })
	w.check()
}
