package group

import (
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
)

func TestSnapshotsAreAsTheFormatPageSays(t *testing.T) {
	m := newMachine(t, testConfig())
	applyAll(t, m, sampleRecords()...)
	bytemap.Read(t, "../../tiering/segment/FORMAT.md").Check(t, map[string]bytemap.Structure{
		"Group state": bytemap.Of(m.Snapshot(), 5, map[string]any{"payload version": uint8(snapshotVersion), "groups": uint32(2)}),
	})
}
