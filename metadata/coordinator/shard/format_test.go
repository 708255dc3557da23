package shard

import (
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
)

func TestSnapshotsAreAsTheFormatPageSays(t *testing.T) {
	b := sampleSnapshots().Encode()
	bytemap.Read(t, "../../../tiering/segment/FORMAT.md").Check(t, map[string]bytemap.Structure{
		"Snapshots": bytemap.Of(b, snapshotsFixedSize, map[string]any{"payload version": uint16(snapshotsVersion), "snapshots": uint32(3)}),
		"Snapshot": bytemap.Of(b[snapshotsFixedSize:], snapshotFixedSize, map[string]any{"topic id": segment.ID{1}, "index": int32(2),
			"next offset": int64(8), "state length": uint32(3)}),
	})
}
