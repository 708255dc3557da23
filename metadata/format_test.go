package metadata

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
)

// formatState has another value in every field.
func formatState(level uint16) *State {
	s := New()
	s.head = segment.Header{Seq: 2, Epoch: 3}
	s.img.level, s.img.nextProducer, s.img.journals = level, 5, 6
	if level >= LevelTiering {
		s.img.tieredMs = 4
	}
	s.img.nodes[nodeA] = &Node{Node: nodeA, ID: 1}
	for i, c := range []TopicCreated{
		{ID: topicB, Name: "b", ReplicationFactor: 2, CreatedMs: 7, Journals: []uint32{6}},
		{ID: topicA, Name: "a.b", ReplicationFactor: 3, CreatedMs: 8, Configs: map[string]string{"retention.ms": "-1"}, Journals: []uint32{1, 2}},
	} {
		topic, err := c.topic()
		if err != nil {
			panic(err)
		}
		if topic.Deleting = i == 0; topic.Deleting && level >= LevelTiering {
			topic.DeletedMs = 9
		}
		s.img.put(topic)
	}
	return s
}

var otherNode = segment.ID{0xbb, 15: 2}

func TestFormatPageAgreesWithTheCode(t *testing.T) {
	of := func(c Change, fields map[string]any) bytemap.Structure {
		fields["payload version"] = c.version()
		payload := mustEncode(t, c).Payload
		return bytemap.Of(payload, len(payload), fields)
	}
	b, old := formatState(LevelTiering).Encode(), formatState(1).Encode()
	based := mustEncode(t, PartitionsAdded{ID: topicA, From: 7, Journals: []uint32{9}, Bases: []int32{20}}).Payload
	bytemap.Read(t, "../tiering/segment/FORMAT.md").Check(t, map[string]bytemap.Structure{
		"Feature level":   of(FeatureLevel{Level: 9}, map[string]any{"level": uint16(9)}),
		"Level raised":    of(FeatureLevel{Level: 9, AtMs: 14}, map[string]any{"level": uint16(9), "at": int64(14)}),
		"Topic deleted":   of(TopicDeleted{ID: topicA, AtMs: 15}, map[string]any{"topic id": topicA, "at": int64(15)}),
		"Node registered": of(NodeRegistered{nodeA, 10}, map[string]any{"node": nodeA, "broker id": int32(10)}),
		"Journal created": of(JournalCreated{11}, map[string]any{"journal": uint32(11)}),
		"Topic named":     of(TopicDeleted{ID: topicA}, map[string]any{"topic id": topicA}),
		"Producer ids":    of(ProducerIDs{12, 13}, map[string]any{"first producer id": int64(12), "producer id count": uint32(13)}),
		"Node set":        of(NodeSet{nodeA, StateDrained}, map[string]any{"node": nodeA, "state": uint8(StateDrained)}),
		"Node fenced":     of(NodeFenced{nodeA, FencedSilent}, map[string]any{"node": nodeA, "fence": uint8(FencedSilent)}),
		"Journal assigned": of(JournalAssigned{Assignment{Journal: 16, Number: 17, Node: nodeA, Home: otherNode, Why: WhyShare, Moves: 18, Deaths: 19}}, map[string]any{
			"journal": uint32(16), "assignment": uint32(17), "node": nodeA, "home": otherNode, "why": uint8(WhyShare), "moves": uint16(18), "deaths": uint8(19)}),
		"No-op":           of(NoOp{}, map[string]any{}),
		"Based partition": bytemap.Of(based[len(based)-8:], 8, map[string]any{"journal": uint32(9), "epoch base": int32(20)}),
		"Metadata state": bytemap.Of(b, 35, map[string]any{"payload version": uint8(tieredCheckpoint), "seq": uint64(2), "epoch": uint32(3),
			"level": uint16(2), "tiered": int64(4), "next producer id": int64(5), "data journals": uint32(6)}),
		"Metadata state before level 2": bytemap.Of(old, 27, map[string]any{"payload version": uint8(checkpointVersion), "seq": uint64(2), "epoch": uint32(3),
			"level": uint16(1), "next producer id": int64(5), "data journals": uint32(6)}),
		"Node": bytemap.Of(b[39:], 20, map[string]any{"node": nodeA, "broker id": int32(1)}),
	})
}

// TestCheckpointBytes pins the formats: checkpoints in buckets have them.
func TestCheckpointBytes(t *testing.T) {
	const topicA = "7a000000000000000000000000000001" + "0003" + "612e62" + "0003" + "0000000000000008" +
		"0001" + "000c" + "726574656e74696f6e2e6d73" + "0002" + "2d31" + "00000002" + "00000001" + "00000002"
	const topicB = "7b000000000000000000000000000001" + "0001" + "62" + "0002" + "0000000000000007" +
		"0000" + "00000001" + "00000006"
	const counts = "0000000000000005" + "00000006" + "00000001" + "aa000000000000000000000000000001" + "00000001" + "00000002"
	for level, want := range map[uint16]string{
		1: "01" + "0000000000000002" + "00000003" + "0001" + counts + "00" + topicA + "01" + topicB,
		2: "02" + "0000000000000002" + "00000003" + "0002" + "0000000000000004" + counts +
			"00" + "0000000000000000" + topicA + "01" + "0000000000000009" + topicB,
	} {
		b := formatState(level).Encode()
		if got := hex.EncodeToString(b); got != want {
			t.Errorf("compatibility: level %d: got\n%s, want\n%s", level, got, want)
		}
		again := New()
		if err := again.Restore(b); err != nil || !bytes.Equal(again.Encode(), b) {
			t.Errorf("restored and encoded again: %x, %v", again.Encode(), err)
		}
		b[0] = 3 - b[0]
		if err := New().Restore(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("level %d with the version of the other: %v", level, err)
		}
	}
}

func TestEntriesOfNoFixedSizeAreAsTheFormatPageSays(t *testing.T) {
	page := bytemap.Read(t, "../tiering/segment/FORMAT.md")
	version, id := bytemap.Field{Name: "payload version", Value: payloadVersion}, bytemap.Field{Name: "topic id", Value: topicA}
	configs := []bytemap.Field{{Name: "configs", Value: uint16(1)}, {Name: "config name", Value: []byte("name")}, {Name: "config value", Value: []byte("value")}}
	journals := []bytemap.Field{{Name: "partitions", Value: uint32(1)}, {Name: "journal", Value: uint32(9)}}
	check := func(name string, c Change, fields ...[]bytemap.Field) {
		page.CheckSequence(t, name, mustEncode(t, c).Payload, slices.Concat(fields...)...)
	}
	set := map[string]string{"name": "value"}
	check("Topic created", TopicCreated{ID: topicA, Name: "topic", ReplicationFactor: 3, CreatedMs: 8, Configs: set, Journals: []uint32{9}},
		[]bytemap.Field{version, id, {Name: "name", Value: []byte("topic")}, {Name: "replication factor", Value: int16(3)}, {Name: "created", Value: int64(8)}},
		configs, journals)
	check("Partitions added", PartitionsAdded{ID: topicA, From: 7, Journals: []uint32{9}},
		[]bytemap.Field{version, id, {Name: "first new index", Value: uint32(7)}}, journals)
	run := Run{Start: otherNode, MinLevel: 2, MaxLevel: 3, Roles: 5, Rack: "rack", Listeners: []Listener{{Name: "plain", Host: "host", Port: 9092}}}
	check("Node started", NodeStarted{nodeA, run},
		[]bytemap.Field{version, {Name: "node", Value: nodeA}, {Name: "start", Value: otherNode}, {Name: "lowest level", Value: uint16(2)}, {Name: "highest level", Value: uint16(3)},
			{Name: "roles", Value: uint8(5)}, {Name: "rack", Value: []byte("rack")}, {Name: "listeners", Value: uint16(1)}},
		[]bytemap.Field{{Name: "listener name", Value: []byte("plain")}, {Name: "host", Value: []byte("host")}, {Name: "port", Value: uint16(9092)}})
	check("Topic configured", TopicConfigured{ID: topicA, Configs: set}, []bytemap.Field{version, id}, configs)
}
