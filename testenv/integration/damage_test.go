package integration

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/segment"
)

// copied is a copy of a file bucket, to be damaged.
func (b bucket) copied(t testing.TB) bucket {
	t.Helper()
	c := fileBucket(t)
	if err := os.CopyFS(c.folder, os.DirFS(b.folder)); err != nil {
		t.Fatal(err)
	}
	return c
}

// objects returns the paths in a file bucket, sorted.
func (b bucket) objects(t testing.TB) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(b.folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// alter replaces an object, which the store has made read-only.
func alter(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	object, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = os.WriteFile(path, change(object), 0o444)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// archive is a file bucket with a topic of which each object of the data journal
// holds ten records, and its data folder.
func archive(t *testing.T, objects int) (b bucket, dataDir string) {
	t.Helper()
	b = fileBucket(t)
	node := b.start(t)
	createTopic(t, node.Kafka, "events", 1)
	for i := range objects {
		produce(t, client(t, node.Kafka), numbered("events", 0, "d", 10*(i+1))[10*i:]...)
	}
	node.Stop(t)
	return b, node.DataDir
}

// journal returns the seqs of the data journal's objects with records, in
// order.
func (b bucket) journal(t testing.TB) (withRecords []uint64) {
	t.Helper()
	for seq := uint64(1); ; seq++ {
		content, err := os.ReadFile(filepath.Join(b.folder, segment.JournalKey(1, seq)))
		if err != nil {
			return withRecords
		}
		object, err := segment.Decode(content)
		if err != nil {
			t.Fatal(err)
		}
		if len(object.Footer.Partitions) > 0 {
			withRecords = append(withRecords, seq)
		}
	}
}

func TestADamagedSegmentNeverGivesWrongRecords(t *testing.T) {
	t.Parallel()
	const objects = 5
	whole, _ := archive(t, objects)
	seqs := whole.journal(t)
	if len(seqs) != objects {
		t.Fatalf("%d objects hold records, want %d", len(seqs), objects)
	}
	const hurt, none = 2, -1 // of the objects, from 0
	flip := func(at func(size int) int) func([]byte) []byte {
		return func(b []byte) []byte { b[at(len(b))] ^= 0x10; return b }
	}
	for name, test := range map[string]struct {
		change func([]byte) []byte
		starts bool
		hurt   int // the object whose records are not served
	}{
		"flipped in the records": {flip(func(int) int { return segment.HeaderSize + 4 + 61 + 20 }), true, hurt},
		"flipped in the header":  {flip(func(int) int { return 60 }), true, none}, // the footer repeats it
		"flipped in the footer":  {flip(func(size int) int { return size - segment.TrailerSize - 50 }), false, hurt},
		"flipped in the trailer": {flip(func(size int) int { return size - 10 }), false, hurt},
		"cut by a byte":          {func(b []byte) []byte { return b[:len(b)-1] }, false, hurt},
		"cut in the records":     {func(b []byte) []byte { return b[:300] }, false, hurt},
		"empty":                  {func([]byte) []byte { return nil }, false, hurt},
	} {
		t.Run(name, func(t *testing.T) {
			for _, roles := range []string{"ingest,fetch,tiering", "fetch"} {
				b := whole.copied(t)
				alter(t, filepath.Join(b.folder, segment.JournalKey(1, seqs[hurt])), test.change)
				if !test.starts {
					wantRefusal(t, b.varve(as(roles)...), permanent, "journal 1")
					continue
				}
				node := b.start(t, as(roles)...)
				wantAllBut(t, node, test.hurt, objects)
				node.Stop(t)
			}
		})
	}
}

func TestALostSegmentIsNotTakenForTheEnd(t *testing.T) {
	t.Parallel()
	const objects = 5
	whole, dataDir := archive(t, objects)
	seqs := whole.journal(t)
	for name, lost := range map[string]uint64{"the last": seqs[objects-1], "one in the middle": seqs[2]} {
		t.Run(name, func(t *testing.T) {
			b, folder := whole.copied(t), t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(dataDir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(b.folder, segment.JournalKey(1, lost))); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, b.varve("--data-dir", folder), permanent, "journal 1", strconv.FormatUint(lost, 10))
			wantRefusal(t, b.varve("--data-dir", folder, "--roles", "fetch", "--archive"), permanent, "journal 1", strconv.FormatUint(lost, 10))
		})
	}
}

// wantAllBut wants the records of all objects but one, and a storage error there.
func wantAllBut(t *testing.T, node *testenv.Node, hurt, objects int) {
	t.Helper()
	want := numbered("events", 0, "d", 10*objects)
	for i := range objects {
		code, records := fetchRaw(t, node.Kafka, "events", 0, int64(10*i))
		if i == hurt {
			if code != kerr.KafkaStorageError.Code || len(records) > 0 {
				t.Errorf("object %d: %v and %d bytes of records, want %v", i, kerr.ErrorForCode(code), len(records), kerr.KafkaStorageError)
			}
			continue
		}
		if code != 0 {
			t.Errorf("object %d: %v", i, kerr.ErrorForCode(code))
			continue
		}
		values := rawValues(t, records)
		if len(values) == 0 || values[0] != string(want[10*i].Value) {
			t.Errorf("object %d: values %.100q, want the first to be %q", i, values, want[10*i].Value)
		}
		if end := 10*i + len(values); hurt >= 0 && i < hurt && end > 10*hurt {
			t.Errorf("object %d: records to offset %d, beyond the damage", i, end)
		}
	}
}

// fetchRaw reads a partition from an offset with one Fetch request.
func fetchRaw(t *testing.T, address, topic string, partition int32, offset int64) (code int16, records []byte) {
	t.Helper()
	return fetchWithin(t, time.Second, address, topic, partition, offset)
}

// fetchWithin is fetchRaw for an answer that waits for so long if there are no records.
func fetchWithin(t *testing.T, wait time.Duration, address, topic string, partition int32, offset int64) (code int16, records []byte) {
	t.Helper()
	request := kmsg.NewPtrFetchRequest()
	request.ReplicaID, request.MaxWaitMillis, request.MinBytes, request.MaxBytes = -1, int32(wait.Milliseconds()), 1, 10<<20
	ofTopic := kmsg.NewFetchRequestTopic()
	ofPartition := kmsg.NewFetchRequestTopicPartition()
	ofTopic.Topic, ofPartition.Partition, ofPartition.FetchOffset, ofPartition.PartitionMaxBytes = topic, partition, offset, 10<<20
	ofPartition.CurrentLeaderEpoch = -1
	ofTopic.Partitions = append(ofTopic.Partitions, ofPartition)
	request.Topics = append(request.Topics, ofTopic)
	answer := dial(t, address).ask(t, request, 11).(*kmsg.FetchResponse)
	if answer.ErrorCode != 0 {
		return answer.ErrorCode, nil
	}
	got := answer.Topics[0].Partitions[0]
	return got.ErrorCode, got.RecordBatches
}

// TestDamageIsReportedOnceAndAskedForRarely has a consumer stand at a damaged object:
// the store is left alone, other partitions are served, and so is the object once it
// is restored.
func TestDamageIsReportedOnceAndAskedForRarely(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t)
	createTopic(t, node.Kafka, "events", 2)
	for i := range 3 {
		produce(t, client(t, node.Kafka), numbered("events", 0, "d", 10*(i+1))[10*i:]...)
	}
	node.Stop(t)
	path := filepath.Join(b.folder, segment.JournalKey(1, b.journal(t)[1]))
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	alter(t, path, func(object []byte) []byte { object[segment.HeaderSize+4+61+20] ^= 0x10; return object })

	node = b.startFresh(t, node)
	consumer := client(t, node.Kafka, kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	poll := func(limit time.Duration, want int, partition int32) (got int) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		for got < want && ctx.Err() == nil {
			consumer.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				if r.Partition == partition {
					got++
				}
			})
		}
		return got
	}
	if got := poll(patience, 10, 0); got != 10 {
		t.Fatalf("%d records before the damage, want 10", got)
	}
	gets := func() (sum float64) {
		for _, op := range []string{"get", "get_range", "get_tail"} {
			n, _ := metric(t, node, "varve_store_requests_total", `op="`+op+`"`)
			sum += n
		}
		return sum
	}
	before := gets()
	spent, _ := metric(t, node, "process_cpu_seconds_total")
	if got := poll(5*time.Second, 1, 0); got != 0 {
		t.Errorf("%d records over the damage", got)
	}
	if n := gets() - before; n > 40 {
		t.Errorf("%v GETs in 5 s for records that are damaged", n)
	} else {
		cpu, _ := metric(t, node, "process_cpu_seconds_total")
		t.Logf("%v GETs and %.2f CPU seconds in 5 s", n, cpu-spent)
	}
	if n, _ := metric(t, node, "varve_trouble", `kind="damage"`); n != 1 {
		t.Errorf("varve_trouble says %v, want 1", n)
	}
	produce(t, client(t, node.Kafka), numbered("events", 1, "other", 10)...)
	if got := poll(patience, 10, 1); got != 10 {
		t.Errorf("%d records of the other partition, want 10", got)
	}
	alter(t, path, func([]byte) []byte { return sound })
	if got := poll(patience, 20, 0); got != 20 {
		t.Errorf("%d records of the restored object and after, want 20", got)
	}
	if n, _ := metric(t, node, "varve_trouble", `kind="damage"`); n != 0 {
		t.Errorf("varve_trouble says %v after the object was restored", n)
	}
	node.Stop(t)
	if n := strings.Count(node.Log(), "offsets 10 to 19 of events/0 cannot be read"); n != 1 {
		t.Errorf("the log reports the damage %d times:\n%s", n, node.Log())
	}
}
