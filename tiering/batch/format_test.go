package batch_test

import (
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

func TestBatchesAreAsTheFormatPageSays(t *testing.T) {
	b := batchtest.Build(batchtest.Spec{BaseOffset: 1, LeaderEpoch: 2, ProducerID: 3, Epoch: 4, Sequence: 5, BaseTimestamp: 6,
		Transactional: true, Records: batchtest.Values(7, "a", "b", "c")})
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	bytemap.Read(t, "../segment/FORMAT.md").Check(t, map[string]bytemap.Structure{
		"Record batch": bytemap.Of(b, batch.HeaderSize, map[string]any{"base offset": int64(1), "batch length": int32(len(b) - 12),
			"partition leader epoch": int32(2), "batch magic": int8(2), "batch CRC": h.CRC, "attributes": int16(1 << 4),
			"last offset delta": int32(2), "base timestamp": int64(6), "max timestamp": int64(7), "producer id": int64(3),
			"producer epoch": int16(4), "base sequence": int32(5), "record count": int32(3)}),
	})
}
