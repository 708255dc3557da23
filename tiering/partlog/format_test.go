package partlog

import (
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

const formatPage = "../segment/FORMAT.md"

func TestEntriesAreAsTheFormatPageSays(t *testing.T) {
	k := Key{testTopic, 5}
	of := func(e segment.Entry, fields map[string]any) bytemap.Structure {
		fields["payload version"] = uint8(entryVersion)
		if e.Kind != EntryExpireProducers {
			fields["topic id"], fields["index"] = k.Topic, k.Index
		}
		return bytemap.Of(e.Payload, len(e.Payload), fields)
	}
	bytemap.Read(t, formatPage).Check(t, map[string]bytemap.Structure{
		"Open":             of(Open{k, 6, 7}.Encode(), map[string]any{"start offset": int64(6), "epoch base": int32(7)}),
		"Seal":             of(Seal{k}.Encode(), map[string]any{}),
		"Expire producers": of(ExpireProducers{8}.Encode(), map[string]any{"time": int64(8)}),
		"Delete records":   of(DeleteRecords{k, 9}.Encode(), map[string]any{"offset": int64(9)}),
	})
}

// formatState has another value in every field, and as many items in every list as in
// no other.
func formatState() (*State, *part) {
	p := &part{
		epochBase: 1, start: 2, bytes: 3, sealed: true, sealedEpoch: 4,
		epochs: []epochStart{{5, 6}, {}, {}},
		refs: refList{start: 7, hash: [32]byte{8, 31: 9},
			pages: []pagedChunk{
				{summary: summary{last: 10, max: 11}, object: &indexObject{id: segment.ID{12}, size: 13}, position: 14, length: 15, crc: 16},
				{object: &indexObject{id: segment.ID{17}}},
			},
			chunks: []refChunk{
				{refs: []ref{{Seq: 18, Last: 19, MaxTimestamp: 20, Position: 21, Length: 22, Epoch: 23, CRC: 24}, {}}},
				{refs: []ref{{}}}, {refs: []ref{{}}}, {refs: []ref{{}}},
			}},
	}
	p.producers.put(segment.Producer{ID: 25, Epoch: 26, Batches: []segment.ProducerBatch{{FirstSequence: 1}, {}, {}}}, 27)
	for id := range 4 {
		p.producers.put(segment.Producer{ID: int64(28 + id), Batches: make([]segment.ProducerBatch, 1)}, 0)
	}
	s := New(32)
	s.head, s.epoch = 33, 34
	s.producerPages = []*producerPage{{object: p.refs.pages[0].object, position: 37, length: 38, crc: 39, total: 40, beforeMs: 41, live: 1}}
	s.parts[Key{testTopic, 35}] = p
	return s, p
}

func TestCheckpointsAndPagesAreAsTheFormatPageSays(t *testing.T) {
	s, p := formatState()
	b := s.Encode(nil, segment.ID{}, nil)
	at := func(n int) []byte { return b[n:] }
	object := checkpointFixedSize
	producerPage := object + 2*indexObjectSize
	partition := producerPage + producerPageRefSize
	epoch := partition + partFixedSize
	page := epoch + 3*epochStartSize
	chunk := page + 2*pagedChunkSize
	ref := chunk + refChunkFixedSize
	producer := chunk + 4*refChunkFixedSize + 5*refSize
	var index wire.Writer
	appendPage(&index, Key{testTopic, 35}, 36, p.refs.chunks[0].refs)
	var producers wire.Writer
	s.appendProducerPage(&producers, []producersOf{{Key{testTopic, 35}, []int64{25, 28}}})
	bytemap.Read(t, formatPage).Check(t, map[string]bytemap.Structure{
		"Data state": bytemap.Of(b, checkpointFixedSize, map[string]any{"payload version": uint16(3), "journal": uint32(32),
			"seq": uint64(33), "epoch": uint32(34), "index objects": uint32(2), "partitions": uint32(1), "producer pages": uint32(1)}),
		"Producer page reference": bytemap.Of(at(producerPage), producerPageRefSize, map[string]any{"index object": uint32(0), "position": uint32(37),
			"length": uint32(38), "CRC": uint32(39), "producers": uint32(40), "expired before": int64(41)}),
		"Index object": bytemap.Of(at(object), indexObjectSize, map[string]any{"object id": segment.ID{12}, "payload length": uint32(13)}),
		"Partition state": bytemap.Of(at(partition), partFixedSize, map[string]any{"topic id": testTopic, "index": int32(35),
			"epoch base": int32(1), "start offset": int64(2), "first ref offset": int64(7), "bytes": int64(3), "hash": p.refs.hash,
			"sealed": uint8(1), "sealed epoch": int32(4), "leader epochs": uint32(3), "pages": uint32(2), "chunks": uint32(4),
			"producers": uint32(5)}),
		"Leader epoch": bytemap.Of(at(epoch), epochStartSize, map[string]any{"leader epoch": int32(5), "first offset": int64(6)}),
		"Page reference": bytemap.Of(at(page), pagedChunkSize, map[string]any{"index object": uint32(0), "position": uint32(14),
			"length": uint32(15), "CRC": uint32(16), "last offset": int64(10), "max timestamp": int64(11)}),
		"Chunk": bytemap.Of(at(chunk), refChunkFixedSize, map[string]any{"refs": uint32(2)}),
		"Ref": bytemap.Of(at(ref), refSize, map[string]any{"seq": uint64(18), "last offset": int64(19), "max timestamp": int64(20),
			"position": uint32(21), "length": uint32(22), "leader epoch": int32(23), "CRC": uint32(24)}),
		"Producer state": bytemap.Of(at(producer), producerFixedSize, map[string]any{"producer id": int64(25),
			"producer epoch": int16(26), "producer batches": uint8(3), "last used": int64(27)}),
		"Page": bytemap.Of(index.B, pageFixedSize, map[string]any{"payload version": uint16(1), "refs": uint16(2),
			"index": int32(35), "topic id": testTopic, "base offset": int64(36)}),
		"Producer page": bytemap.Of(producers.B, producerPageFixedSize, map[string]any{"payload version": uint16(1), "partitions": uint32(1)}),
		"Producers of a partition": bytemap.Of(producers.B[producerPageFixedSize:], producersOfPartSize, map[string]any{"topic id": testTopic,
			"index": int32(35), "producers": uint32(2)}),
	})
	if want := producer + 5*producerFixedSize + 7*producerBatchSize; len(b) != want {
		t.Errorf("the checkpoint has %d bytes, its parts %d", len(b), want)
	}
}
