package segment_test

import (
	"reflect"
	"testing"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
)

func id(b byte) (id segment.ID) {
	for i := range id {
		id[i] = b
	}
	return id
}

func testHeader() segment.Header {
	return segment.Header{
		Kind: segment.KindData, Cluster: id(0xc1), Object: id(0x0b), Journal: 3, Epoch: 7, Seq: 1000,
		Prev: segment.Ref{Seq: 999, Object: id(0x0a)}, Confirmed: 998, Node: id(0x0d), Incarnation: id(0x1c),
		BuiltMs: 1_700_000_000_000, WAL: segment.WALRange{Incarnation: id(0x1c), From: 500, To: 510},
	}
}

// someBatch is a patched batch of n records of size bytes.
func someBatch(base int64, epoch int32, n, size int) []byte {
	records := make([]batchtest.Record, n)
	for i := range records {
		records[i] = batchtest.Record{Value: make([]byte, size), Timestamp: 1_700_000_000_000 + base + int64(i)}
	}
	return batchtest.Build(batchtest.Spec{Records: records, BaseOffset: base, LeaderEpoch: epoch})
}

// testObject has every kind of content.
func testObject() (segment.Header, []segment.Entry, []segment.Records) {
	entries := []segment.Entry{{Kind: 1, Payload: []byte("open")}, {Kind: 9, Payload: []byte{}}}
	parts := []segment.Records{{
		Partition: segment.Partition{
			Topic: id(0x70), Index: 2, LeaderEpoch: 4,
			Producers: []segment.Producer{
				{ID: 11, Epoch: 1, Batches: []segment.ProducerBatch{
					{FirstSequence: 5, LastSequence: 5, BaseOffset: 90, LastOffset: 90, Timestamp: 1},
					{FirstSequence: 6, LastSequence: 7, BaseOffset: 100, LastOffset: 101, Timestamp: 2},
				}},
				{ID: 12, Epoch: 0},
			},
			OpenTxns:    []segment.OpenTxn{{ProducerID: 11, ProducerEpoch: 1, FirstOffset: 90}},
			AbortedTxns: []segment.AbortedTxn{{ProducerID: 12, FirstOffset: 80, LastOffset: 102}},
		},
		Batches: [][]byte{someBatch(100, 4, 2, 10), someBatch(102, 4, 1, 10)},
	}, {
		Partition: segment.Partition{Topic: id(0x70), Index: 10, LeaderEpoch: 5, Producers: []segment.Producer{}},
		Batches:   [][]byte{someBatch(0, 5, 1, 40_000), someBatch(1, 5, 1, 40_000), someBatch(2, 5, 1, 40_000)},
	}}
	return testHeader(), entries, parts
}

func TestObjectDecodesToWhatWasBuilt(t *testing.T) {
	h, entries, parts := testObject()
	b, built, err := segment.Build(h, entries, parts)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != cap(b) {
		t.Errorf("buffer has %d bytes and room for %d, want no room left", len(b), cap(b))
	}
	o, err := segment.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(o.Footer, built) {
		t.Errorf("footer is\n%+v, built\n%+v", o.Footer, built)
	}
	if o.Footer.Header != h || !reflect.DeepEqual(o.Entries, entries) {
		t.Errorf("header %+v and entries %+v", o.Footer.Header, o.Entries)
	}
}
