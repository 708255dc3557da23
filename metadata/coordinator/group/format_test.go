package group

import (
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/wire"
)

func TestSnapshotsAreAsTheFormatPageSays(t *testing.T) {
	m := newMachine(t, testConfig())
	applyAll(t, m, sampleRecords()...)
	bytemap.Read(t, "../../../tiering/segment/FORMAT.md").Check(t, map[string]bytemap.Structure{
		"Group state": bytemap.Of(m.Snapshot(), 5, map[string]any{"payload version": uint8(snapshotVersion), "groups": uint32(2)}),
	})
}

// formatMetadata and formatOffset have another value in every field.
func formatMetadata() *metadata {
	return &metadata{protocolType: "type", generation: 1, protocol: ptr("protocol"), leader: ptr("leader"), sinceMs: 2,
		members: []keptMember{{id: "member", instance: ptr("instance"), clientID: "client", clientHost: "host",
			rebalanceMs: 3, sessionMs: 4, subscription: []byte{5}, assignment: []byte{6, 7}}}}
}

func formatOffset(expireMs int64) Offset {
	return Offset{TopicID: [16]byte{8}, Offset: 9, LeaderEpoch: 10, Metadata: "metadata", CommitMs: 11, ExpireMs: expireMs}
}

func optional(s string) []byte { return append([]byte{1, 0, byte(len(s))}, s...) }

// fields are pairs of a name and a value.
func fields(pairs ...any) (list []bytemap.Field) {
	for i := 0; i < len(pairs); i += 2 {
		value := pairs[i+1]
		if s, ok := value.(string); ok {
			value = []byte(s)
		}
		list = append(list, bytemap.Field{Name: pairs[i].(string), Value: value})
	}
	return list
}

func TestRecordsAreAsTheFormatPageSays(t *testing.T) {
	page, events := bytemap.Read(t, "../../../tiering/segment/FORMAT.md"), partition{"events", 12}
	offset, expiring, meta := offsetRecord("g", events, formatOffset(-1)), offsetRecord("g", events, formatOffset(13)), metadataRecord("g", formatMetadata())
	check := func(name string, b []byte, pairs ...any) { page.CheckSequence(t, name, b, fields(pairs...)...) }
	check("Key of a committed offset", offset.Key, "key version", int16(1), "group", "g", "topic", "events", "partition", int32(12))
	check("Key of a group's metadata", meta.Key, "key version", int16(2), "group", "g")
	check("Value of a committed offset", offset.Value, "value version", int16(4), "committed offset", int64(9), "leader epoch", int32(10),
		"metadata", "\x09metadata", "time of the commit", int64(11), "tagged fields", uint8(1), "tag", uint8(0), "tag length", uint8(16),
		"topic id", [16]byte{8})
	check("Value of an offset that expires", expiring.Value, "value version", int16(1), "committed offset", int64(9), "metadata", "metadata",
		"time of the commit", int64(11), "time it expires", int64(13))
	check("Value of a group's metadata", meta.Value, "value version", int16(3), "protocol type", "type", "generation", int32(1),
		"protocol", "protocol", "leader", "leader", "time of the state", int64(2), "members", uint32(1), "member id", "member",
		"instance id", "instance", "client id", "client", "client host", "host", "rebalance time-out", int32(3), "session time-out", int32(4),
		"subscription", []byte{5}, "assignment", []byte{6, 7})
}

func TestGroupsOfSnapshotsAreAsTheFormatPageSays(t *testing.T) {
	var w wire.Writer
	(&kept{meta: formatMetadata(), offsets: map[partition]Offset{{"events", 12}: formatOffset(13)}}).encode(&w, "g")
	bytemap.Read(t, "../../../tiering/segment/FORMAT.md").CheckSequence(t, "Group", w.B, fields("group", "g", "has metadata", uint8(1),
		"protocol type", "type", "generation", int32(1), "protocol", optional("protocol"), "leader", optional("leader"),
		"time of the state", int64(2), "members", uint32(1), "member id", "member", "instance id", optional("instance"),
		"client id", "client", "client host", "host", "rebalance time-out", int32(3), "session time-out", int32(4),
		"subscription", []byte{5}, "assignment", []byte{6, 7}, "offsets", uint32(1), "topic", "events", "partition", int32(12),
		"topic id", [16]byte{8}, "committed offset", int64(9), "leader epoch", int32(10), "metadata", "metadata",
		"time of the commit", int64(11), "time it expires", int64(13))...)
}
