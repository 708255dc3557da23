package integration

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAFullDiskMakesMergesSmaller: the data folder has room for the write-ahead log and for
// little else, and the folder of merging is removed once. Clients notice nothing.
func TestAFullDiskMakesMergesSmaller(t *testing.T) {
	full(t)
	t.Parallel()
	dataDir := filepath.Join(smallDisk(t, 48<<20), "data")
	node := minioBucket(t).start(t, append(slices.Clone(joinSoon), "--data-dir", dataDir, "--merge-bytes", "32MiB", "--unmerged-max-bytes", "1GiB")...)
	createTopic(t, node.Kafka, "events", 1)
	c := client(t, node.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression()))
	var all []*kgo.Record
	for range 2 {
		for range 100 {
			all = append(all, produce(t, c, big("events"))...)
		}
		awaitMerged(t, node)
		if err := os.RemoveAll(filepath.Join(dataDir, "merge")); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v jobs succeeded, %v failed", sum(t, node, "varve_merge_jobs_total"), sum(t, node, "varve_merge_failed_total"))
	awaitReadyz(t, node, 200, "ready")
	wantRecords(t, readAll(t, node.Kafka, "events")[0], all)
	node.Stop(t)
}
