package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The reference is the client that varve's other tests use. It prepares the
// work of a family and checks its results, so that a family that cannot do one
// thing can still be tested for another.

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func reference(t *testing.T, broker string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	r, err := kgo.NewClient(append(options, kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(0))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// createTopic makes the topic of a test and returns its name.
func createTopic(t *testing.T, c client, kind string, partitions int32) string {
	t.Helper()
	topic := c.named(kind)
	createNamed(t, c.broker, topic, partitions)
	return topic
}

func createNamed(t *testing.T, broker, topic string, partitions int32) {
	t.Helper()
	// Clients see three replicas on one broker, and must cope with that.
	if _, err := kadm.NewClient(reference(t, broker)).CreateTopic(deadline(t), partitions, 3, nil, topic); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
}

// begin is the timestamp of the first record; each later one is a second later.
const begin = 1_700_000_000_000

// events makes n records over the partitions of a topic, each unlike the others,
// that compress well. Their timestamps grow.
func events(partitions int32, from, n int) []event {
	made := make([]event, n)
	for i := range made {
		number := from + i
		made[i] = event{Partition: int32(number) % partitions, Key: fmt.Sprintf("key-%d", number%7),
			Value: fmt.Sprintf("%06d grüße %s", number, strings.Repeat("again and ", 30)), Timestamp: begin + int64(number)*1000,
			Headers: map[string]string{"source": "test", "number": fmt.Sprint(number)}}
	}
	return made
}

// lines returns records in the form that a program takes.
func lines(t *testing.T, records []event) []byte {
	t.Helper()
	var text bytes.Buffer
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	return text.Bytes()
}

// write writes records with the reference and sets their offsets.
func write(t *testing.T, broker, topic string, records []event) {
	t.Helper()
	var out []*kgo.Record
	for _, r := range records {
		one := &kgo.Record{Topic: topic, Partition: r.Partition, Key: []byte(r.Key), Value: []byte(r.Value), Timestamp: time.UnixMilli(r.Timestamp)}
		for key, value := range r.Headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
		out = append(out, one)
	}
	if err := reference(t, broker).ProduceSync(deadline(t), out...).FirstErr(); err != nil {
		t.Fatalf("write to %s: %v", topic, err)
	}
	for i, r := range out {
		records[i].Offset = r.Offset
	}
}

// readBack reads n records of a topic with the reference.
func readBack(t *testing.T, broker, topic string, n int) (records []*kgo.Record) {
	t.Helper()
	r, ctx := reference(t, broker, kgo.ConsumeTopics(topic)), deadline(t)
	for len(records) < n {
		fetches := r.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s, %d of %d records so far: %v", topic, len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// position is the position of a record in a topic.
type position struct {
	partition int32
	offset    int64
}

func at(e event) position { return position{e.Partition, e.Offset} }

// same compares the records read with those written, in any order. A record
// written without a timestamp has got one.
func same(t *testing.T, got, want []event) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	read := map[position]event{}
	for _, e := range got {
		if _, twice := read[at(e)]; twice {
			t.Errorf("read twice: %d/%d", e.Partition, e.Offset)
		}
		read[at(e)] = e
	}
	for _, w := range want {
		g, ok := read[at(w)]
		switch {
		case !ok:
			t.Fatalf("nothing read at %d/%d", w.Partition, w.Offset)
		case g.Key != w.Key || g.Value != w.Value || w.Timestamp != 0 && g.Timestamp != w.Timestamp || !maps.Equal(g.Headers, w.Headers):
			t.Fatalf("read at %d/%d:\n%.200v, want\n%.200v", w.Partition, w.Offset, g, w)
		}
	}
}

// seen converts a record of the reference to an event.
func seen(r *kgo.Record) event {
	e := event{Partition: r.Partition, Offset: r.Offset, Key: string(r.Key), Value: string(r.Value),
		Timestamp: r.Timestamp.UnixMilli(), Headers: map[string]string{}}
	for _, h := range r.Headers {
		e.Headers[h.Key] = string(h.Value)
	}
	return e
}
