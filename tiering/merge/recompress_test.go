package merge

import (
	"testing"

	"github.com/varvelog/varve/tiering/batch"
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
