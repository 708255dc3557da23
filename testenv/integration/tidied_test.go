package integration

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// tidySoon are settings with which a node merges a few kilobytes at once, and deletes
// everything at once that is not needed any more. Joins are left out: see joinSoon.
var tidySoon = []string{
	"--merge-bytes", "16KiB", "--merge-age", "1s", "--merge-own-bytes", "4KiB", "--merge-wait", "10ms", "--retention-check", "100ms", "--tiering-rate", "unlimited",
	"--checkpoint-objects", "8", "--replaced-grace", "0s", "--freed-grace", "0s", "--delete-grace", "0s", "--verify-rate", "0",
}

var joinSoon = append(tidySoon[:len(tidySoon):len(tidySoon)], "--merge-join-age", "1s", "--merge-join-count", "4", "--merge-join-own-bytes", "1KiB")

// tidied is a bucket most of whose journal is merged, released and deleted.
type tidied struct {
	bucket
	all  written
	node *testenv.Node // stopped
}

// wave writes a few objects, in which partition 0 has enough for a merged object of its own and
// the others do not.
func (w written) wave(t testing.TB, c *kgo.Client, number int) {
	t.Helper()
	for i := range 3 {
		var records []*kgo.Record
		for p := range int32(3) {
			value := fmt.Appendf(nil, "%d-%d-%d ", number, i, p)
			if p == 0 {
				value = append(value, bytes.Repeat([]byte{'x'}, 6000)...)
			}
			records = append(records, &kgo.Record{Topic: "events", Partition: p, Key: []byte("k"), Value: value})
		}
		for _, r := range produce(t, c, records...) {
			w[r.Partition] = append(w[r.Partition], r)
		}
	}
}

// age makes all objects of a file bucket older. A folder has no clock, so a node deletes by
// time only where it finds objects that were there before it.
func (b bucket) age(t testing.TB, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	for _, path := range b.objects(t) {
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
}

// journalUpTo counts the objects of the data journal up to a seq.
func (b bucket) journalUpTo(t testing.TB, last float64) (n int) {
	t.Helper()
	var keys []string
	if b.minio == nil {
		keys = b.objects(t)
	} else {
		for object := range b.minio.Client.ListObjects(deadline(t), b.minio.Bucket, minio.ListObjectsOptions{Prefix: "events/journals/1/0"}) {
			if object.Err != nil {
				t.Fatal(object.Err)
			}
			keys = append(keys, object.Key)
		}
	}
	for _, key := range keys {
		if seq, err := strconv.ParseFloat(path.Base(key), 64); err == nil && strings.HasSuffix(path.Dir(key), "journals/1") && seq <= last {
			n++
		}
	}
	return n
}

// tidy writes a history, merges it, and has all of its journal objects deleted but the newest.
func tidy(t *testing.T, b bucket) *tidied {
	t.Helper()
	node := b.start(t, tidySoon...)
	createTopic(t, node.Kafka, "events", 3)
	a := &tidied{bucket: b, all: written{}, node: node}
	c := client(t, node.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression()))
	jobs := 0.0
	for wave := range 150 {
		a.all.wave(t, c, wave)
		if wave%50 == 49 { // at least three shared segments, however much a job takes
			before := jobs // the debt may still be that of the last look, which is 0
			await(t, node, "a job", func() bool { jobs = sum(t, node, "varve_merge_jobs_total"); return jobs > before })
			awaitMerged(t, node)
		}
	}
	c.Close()
	node.Stop(t)
	b.age(t, 2*time.Hour)
	node = b.start(t, tidySoon...)
	c = client(t, node.Kafka)
	head, _ := metric(t, node, "varve_journal_head", `journal="1"`)
	await(t, node, "the journal objects are deleted", func() bool {
		for _, r := range produce(t, c, numbered("events", 2, "later", 1)...) {
			a.all[2] = append(a.all[2], r)
		}
		return b.journalUpTo(t, head) <= 8 // fences stay
	})
	node.Stop(t)
	node = b.start(t, "--roles", "ingest,fetch")
	c = client(t, node.Kafka)
	for wave := range 3 {
		a.all.wave(t, c, 2000+wave)
	}
	node.Stop(t)
	a.node = node
	return a
}
