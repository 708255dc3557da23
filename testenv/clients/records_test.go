package clients

import (
	"testing"
)

// codecs are the numbers of compressions in a batch's attributes.
var codecs = map[string]uint8{"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

// produce lets the family write records. It returns them with the offsets that
// the client got.
func (c client) produce(t *testing.T, s spec, records []event) []event {
	t.Helper()
	sent := run[event](t, c, "produce", s, lines(t, records))
	if len(sent) != len(records) {
		t.Fatalf("%d records were acknowledged, %d sent", len(sent), len(records))
	}
	for i, s := range sent {
		if s.Partition != records[i].Partition {
			t.Fatalf("record %d was sent to partition %d, want %d", i, s.Partition, records[i].Partition)
		}
		records[i].Offset = s.Offset
		if c.family.plain {
			records[i].Timestamp, records[i].Headers = 0, nil
		}
	}
	return records
}

// compression is the test of one: records that the family compresses are stored
// as they were sent, and both the reference and the family itself read them
// back.
func compression(codec string) func(*testing.T, client) {
	return func(t *testing.T, c client) {
		topic := createTopic(t, c, codec, 3)
		want := c.produce(t, spec{Topic: topic, Compression: codec}, events(3, 0, 300))
		var got []event
		for _, r := range readBack(t, c.broker, topic, len(want)) {
			if used := r.Attrs.CompressionType(); used != codecs[codec] {
				t.Fatalf("the batch at %d/%d is compressed as %d, want %d (%s)", r.Partition, r.Offset, used, codecs[codec], codec)
			}
			got = append(got, seen(r))
		}
		same(t, got, want)
		same(t, run[event](t, c, "consume", spec{Topic: topic, Partitions: 3, Since: -1, Count: len(want)}, nil), want)
	}
}

// idempotent is the test of a producer that is idempotent, by its library's
// default or by a setting. Many batches, several in flight, must arrive in
// order and once each.
func idempotent(t *testing.T, c client) {
	topic := createTopic(t, c, "idempotent", 2)
	want := c.produce(t, spec{Topic: topic, Compression: "none", Idempotent: true}, events(2, 0, 3000))
	var got []event
	for _, r := range readBack(t, c.broker, topic, len(want)) {
		if r.ProducerID < 0 {
			t.Fatalf("the batch at %d/%d has no producer id", r.Partition, r.Offset)
		}
		got = append(got, seen(r))
	}
	same(t, got, want)
	var next [2]int64
	for _, e := range want {
		if e.Offset != next[e.Partition] {
			t.Fatalf("the record after %d/%d went to offset %d", e.Partition, next[e.Partition]-1, e.Offset)
		}
		next[e.Partition]++
	}
}

// seekTime is the test of a reader that begins at a time.
func seekTime(t *testing.T, c client) {
	topic := createTopic(t, c, "seek", 2)
	want := events(2, 0, 200)
	write(t, c.broker, topic, want)
	since := want[120].Timestamp - 500 // between two records, and in the middle of a batch
	same(t, run[event](t, c, "consume", spec{Topic: topic, Partitions: 2, Since: since, Count: 80}, nil), want[120:])
}
