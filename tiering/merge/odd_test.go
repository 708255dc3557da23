package merge

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// odd is a batch of two zstd frames, the second with a window that the decoder of the sums
// does not take after a small one.
func (w *world) odd(k partlog.Key) []byte {
	w.t.Helper()
	spec := batchtest.Spec{
		BaseOffset: w.ends[k], LeaderEpoch: int32(w.epoch), BaseTimestamp: w.now.UnixMilli(),
		Records: []batchtest.Record{{Key: []byte("key"), Value: make([]byte, 9<<20)}},
	}
	plain := batchtest.Build(spec)
	var payload bytes.Buffer
	for _, part := range []struct {
		b      []byte
		window int
	}{{plain[batch.HeaderSize:][:100], 1 << 10}, {plain[batch.HeaderSize:][100:], 128 << 20}} {
		enc, err := zstd.NewWriter(&payload, zstd.WithWindowSize(part.window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			w.t.Fatal(err)
		}
		for half := range 2 { // so that the frame does not announce its size
			if _, err := enc.Write(part.b[half*len(part.b)/2 : (half+1)*len(part.b)/2]); err != nil {
				w.t.Fatal(err)
			}
			if err := enc.Flush(); err != nil {
				w.t.Fatal(err)
			}
		}
		if err := enc.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	b := append(bytes.Clone(plain[:batch.HeaderSize]), payload.Bytes()...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint16(b[21:], uint16(batch.Zstd))
	b = batchtest.FixCRC(b)
	if err := batch.Records(b, 1<<30, func(batch.Record) bool { return true }); err != nil {
		w.t.Fatalf("the batch cannot be decoded at all: %v", err)
	}
	w.ends[k]++
	return b
}

// TestABatchThatTheReadBackCannotDecodeIsCopied: else no job with it would ever have a
// result, and one batch would keep the whole journal from being merged.
func TestABatchThatTheReadBackCannotDecodeIsCopied(t *testing.T) {
	w := newWorld(t, 1, 3)
	for id, topic := range w.topics {
		topic.Recompress, topic.Codec = true, batch.None
		w.topics[id] = topic
	}
	w.opt.JobBytes, w.opt.ObjectBytes, w.opt.DueBytes = 16*mib, 16*mib, 1
	w.lead()
	k := w.keys()[0]
	b := w.odd(k)
	w.object(segment.KindData, nil, []segment.Records{{
		Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: int32(w.epoch)}, Batches: [][]byte{b, w.batch(k, 100)},
	}})
	w.work()
	e := w.extents(k)[0]
	if e.Object.Kind != segment.KindMerged {
		t.Fatal("the batch was not merged")
	}
	stored, _ := w.store.GetNow(e.Object.Key())
	if !bytes.HasPrefix(stored[e.Position:], b) {
		t.Error("the batch was changed")
	}
	got, err := w.merger.Compact(t.Context(), &Compaction{Key: k, Extents: []partlog.Extent{e}, Filter: withoutFirst{}})
	if err != nil || got.Undecodable != 1 || got.Removed != 0 {
		t.Errorf("compacted: %+v, %v", got, err)
	}
	delete(w.topics, k.Topic)
	if got, err := w.merger.Compact(t.Context(), &Compaction{Key: k, Extents: []partlog.Extent{e}, Filter: withoutFirst{}}); err == nil {
		t.Errorf("compacted a topic that is not known: %+v", got)
	}
}

// withoutFirst is a Filter that leaves out the record at offset 0.
type withoutFirst struct{}

func (withoutFirst) Untouched(*batch.Header) bool              { return false }
func (withoutFirst) Keep(r batch.Record) bool                  { return r.Offset != 0 }
func (withoutFirst) Stays(offset int64, _ []byte, _ bool) bool { return offset != 0 }
