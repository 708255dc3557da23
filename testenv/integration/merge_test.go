package integration

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// mergeSoon are settings with which a node merges a few kilobytes, and soon again.
var mergeSoon = []string{
	"--merge-bytes", "16KiB", "--merge-age", "1s", "--merge-own-bytes", "16KiB", "--merge-join-age", "1s", "--merge-join-count", "4", "--merge-join-own-bytes", "1KiB",
	"--merge-wait", "50ms",
}

// written are records that were acknowledged, by partition.
type written map[int32][]*kgo.Record

// add produces some records of random bytes to each partition.
func (w written) add(t testing.TB, c *kgo.Client, topic string, partitions, most, size int) {
	t.Helper()
	var records []*kgo.Record
	for p := range partitions {
		for range 1 + rand.IntN(most) {
			value := make([]byte, rand.IntN(size))
			for i := range value {
				value[i] = byte(rand.Uint32())
			}
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(p), Key: fmt.Appendf(nil, "%d", rand.IntN(99)), Value: value})
		}
	}
	for _, r := range produce(t, c, records...) {
		w[r.Partition] = append(w[r.Partition], r)
	}
}

func (w written) check(t testing.TB, address, topic string) {
	t.Helper()
	got := readAll(t, address, topic)
	for p, want := range w {
		wantRecords(t, got[p], want)
	}
}

// awaitMerged waits until a node has nothing left to merge. A job must have succeeded since the
// node started: before its first look the debt is 0, too.
func awaitMerged(t testing.TB, node *testenv.Node) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		jobs, _ := metric(t, node, "varve_merge_jobs_total")
		debt, _ := metric(t, node, "varve_merge_debt_bytes")
		if jobs > 0 && debt == 0 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%v bytes are not merged after %v jobs\n%s", debt, jobs, node.Log())
		}
	}
}

// TestMergingAtAllLevelsSurvivesKills: clients read the same records all the while.
func TestMergingAtAllLevelsSurvivesKills(t *testing.T) {
	full(t)
	onStores(t, func(t *testing.T, b bucket) {
		const partitions = 48
		node := b.start(t, mergeSoon...)
		createTopic(t, node.Kafka, "events", partitions)
		all, jobs := written{}, map[string]float64{}
		began := time.Now()
		for round := 0; jobs["1"] == 0 || jobs["2"] == 0 || jobs["3"] == 0 || round < 5; round++ {
			if time.Since(began) > 2*time.Minute {
				t.Fatalf("jobs by level after %d rounds: %v", round, jobs)
			}
			c := client(t, node.Kafka)
			for range 12 {
				all.add(t, c, "events", partitions, 1, 100)
				time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond)
			}
			c.Close()
			for level := range 3 {
				label := fmt.Sprintf(`level="%d"`, level+1)
				n, _ := metric(t, node, "varve_merge_jobs_total", label)
				jobs[fmt.Sprint(level+1)] += n
			}
			if n, _ := metric(t, node, "varve_merge_mismatches_total"); n > 0 {
				t.Fatalf("merged records differ from their sources\n%s", node.Log())
			}
			all.check(t, node.Kafka, "events")
			node.Kill(t)
			node.Restart(t)
		}
		c := client(t, node.Kafka) // the last kill may have left nothing to merge
		for sum(t, node, "varve_merge_jobs_total") == 0 {
			all.add(t, c, "events", partitions, 1, 100)
		}
		awaitMerged(t, node)
		all.check(t, node.Kafka, "events")
		node.Stop(t)
		if out := (testenv.Varve{Args: []string{"bucket", "verify", "--bucket", b.url, "--records"}, Env: b.env}).Run(t, patience); out.Code != 0 {
			t.Errorf("verify: %s", out.Stderr)
		}
	})
}

// TestReplaysOfMergedRecordsTakeFewRequests: one partition of many, in many flushes.
func TestReplaysOfMergedRecordsTakeFewRequests(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	const partitions = 50
	node := b.start(t, "--roles", "ingest,fetch")
	createTopic(t, node.Kafka, "events", partitions)
	all, c := written{}, client(t, node.Kafka)
	for range 60 {
		all.add(t, c, "events", partitions, 1, 300)
	}
	before := replayGets(t, b, node, all, "--roles", "ingest,fetch")
	merging := b.start(t, append(mergeSoon, "--merge-bytes", "1MiB", "--merge-own-bytes", "64KiB")...)
	awaitMerged(t, merging)
	after := replayGets(t, b, merging, all, "--roles", "ingest,fetch")
	if before < 60 || after > before/8 {
		t.Errorf("%v GETs to read all partitions before the merge, %v after it", before, after)
	}
}

// replayGets stops a node, and counts the GETs of another one with flags that reads all.
func replayGets(t *testing.T, b bucket, node *testenv.Node, all written, flags ...string) float64 {
	t.Helper()
	node.Stop(t)
	cold := b.start(t, flags...)
	defer cold.Stop(t)
	gets := func() float64 {
		whole, _ := metric(t, cold, "varve_store_requests_total", `op="get"`)
		ranges, _ := metric(t, cold, "varve_store_requests_total", `op="get_range"`)
		return whole + ranges
	}
	start := gets()
	all.check(t, cold.Kafka, "events")
	return gets() - start
}
