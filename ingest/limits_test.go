package ingest

import (
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/segment"
)

// TestTheLargestBatchFitsEverywhere: a batch that a topic may allow must fit
// into the write-ahead log and into an object of the journal, with all
// overhead.
func TestTheLargestBatchFitsEverywhere(t *testing.T) {
	const around = 32 << 10
	for name, limit := range map[string]int{"record of the write-ahead log": wal.MaxRecord, "object": segment.MaxObjectSize} {
		if largest := topicconfig.MaxMessageBytesCap + around; limit < largest {
			t.Errorf("a %s takes %d bytes, a batch %d", name, limit, largest)
		}
	}
}
