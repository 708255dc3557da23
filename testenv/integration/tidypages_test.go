package integration

import (
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/segment"
)

// indexObjects are the keys of the index objects of the data journal, with their copies.
func (b bucket) indexObjects(t testing.TB) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	for object := range b.minio.Client.ListObjects(deadline(t), b.minio.Bucket, minio.ListObjectsOptions{Prefix: "events/" + segment.IndexPrefix(1)}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		keys[object.Key] = true
	}
	return keys
}

// TestIndexObjectsThatNoFloorKeepsAreRemoved deletes the records that index pages are of, until
// the pages are gone from the bucket. The bucket alone is then enough for a node.
func TestIndexObjectsThatNoFloorKeepsAreRemoved(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	node, all := b.start(t, tidySoon...), written{}
	createTopic(t, node.Kafka, "events", 3)
	var first map[string]bool
	all.until(t, node, "merged extents are in pages", func() bool {
		first = b.indexObjects(t)
		return len(first) >= 2
	})
	begin := map[int32]int64{0: int64(len(all[0])), 1: int64(len(all[1])), 2: int64(len(all[2]))}
	for p, before := range begin {
		if low, err := deleteBefore(t, node.Kafka, "events", p, before); err != nil || low != before {
			t.Fatalf("partition %d starts at %d, %v", p, low, err)
		}
	}
	all.until(t, node, "index objects are removed", func() bool {
		now := b.indexObjects(t)
		for key := range first {
			if now[key] {
				return false
			}
		}
		return true
	})
	all.checkFrom(t, node.Kafka, begin)
	node.Kill(t)
	node = b.startFresh(t, node, tidySoon...)
	all.checkFrom(t, node.Kafka, begin)
	node.Stop(t)
	b.verified(t)
}
