package metadata

import (
	"encoding/hex"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

var (
	nodeA  = segment.ID{0xaa, 15: 1}
	topicA = segment.ID{0x7a, 15: 1}
	topicB = segment.ID{0x7b, 15: 1}
)

func sampleChanges() []Change {
	return []Change{
		FeatureLevel{Level: 1},
		NodeRegistered{Node: nodeA, ID: 1},
		JournalCreated{1},
		TopicCreated{
			ID: topicA, Name: "a.b", ReplicationFactor: 3, CreatedMs: 0x0102030405,
			Configs: map[string]string{"retention.ms": "-1", "cleanup.policy": "compact"}, Journals: []uint32{1, 1},
		},
		TopicDeleted{ID: topicA},
		TopicPurged{topicA},
		ProducerIDs{From: 1, Count: 1000},
		PartitionsAdded{ID: topicA, From: 2, Journals: []uint32{2, 1}},
		TopicConfigured{ID: topicA, Configs: map[string]string{"retention.ms": "-1"}},
		TopicRestored{topicA},
		FeatureLevel{Level: 2, AtMs: 9},
		TopicDeleted{ID: topicA, AtMs: 9},
		TopicCreated{ID: topicA, Name: "a", ReplicationFactor: 1, CreatedMs: 7, Journals: []uint32{2, 1}, Bases: []int32{0, 5}},
		PartitionsAdded{ID: topicA, From: 2, Journals: []uint32{2}, Bases: []int32{1<<30 - 1}},
		NodeStarted{nodeA, runA},
		NodeSet{nodeA, StateDrained},
		NodeFenced{nodeA, FencedSilent},
		JournalAssigned{assignedA},
		NoOp{},
	}
}

var (
	startA = segment.ID{0x5a, 15: 1}
	runA   = Run{Start: startA, MinLevel: 2, MaxLevel: 3, Roles: RoleIngest | RoleFetch, Rack: "r1",
		Listeners: []Listener{{"client", "a.example", 9092}, {"peer", "10.0.0.1", 9093}}}
	assignedA = Assignment{Journal: 2, Number: 3, Node: nodeA, Home: segment.ID{0xab, 15: 1}, Why: WhyFenced, Moves: 4, Deaths: 1}
)

func TestEntryLayoutsArePinned(t *testing.T) {
	const topic, node = "7a000000000000000000000000000001", "aa000000000000000000000000000001"
	want := []string{
		"01" + "0001",
		"01" + node + "00000001",
		"01" + "00000001",
		"01" + topic + "0003" + "612e62" + "0003" + "0000000102030405" +
			"0002" + "000e" + hex.EncodeToString([]byte("cleanup.policy")) + "0007" + hex.EncodeToString([]byte("compact")) +
			"000c" + hex.EncodeToString([]byte("retention.ms")) + "0002" + "2d31" +
			"00000002" + "00000001" + "00000001",
		"01" + topic,
		"01" + topic,
		"01" + "0000000000000001" + "000003e8",
		"01" + topic + "00000002" + "00000002" + "00000002" + "00000001",
		"01" + topic + "0001" + "000c" + hex.EncodeToString([]byte("retention.ms")) + "0002" + "2d31",
		"01" + topic,
		"02" + "0002" + "0000000000000009",
		"02" + topic + "0000000000000009",
		"02" + topic + "0001" + "61" + "0001" + "0000000000000007" + "0000" + "00000002" + "0000000200000000" + "0000000100000005",
		"02" + topic + "00000002" + "00000001" + "00000002" + "3fffffff",
		"01" + node + "5a000000000000000000000000000001" + "0002" + "0003" + "03" + "0002" + "7231" + "0002" +
			"0006" + hex.EncodeToString([]byte("client")) + "0009" + hex.EncodeToString([]byte("a.example")) + "2384" +
			"0004" + hex.EncodeToString([]byte("peer")) + "0008" + hex.EncodeToString([]byte("10.0.0.1")) + "2385",
		"01" + node + "03",
		"01" + node + "03",
		"01" + "00000002" + "00000003" + node + "ab000000000000000000000000000001" + "02" + "0004" + "01",
		"01",
	}
	kinds := []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 5, 4, 8, 11, 12, 13, 14, 15}
	for i, c := range sampleChanges() {
		e, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != kinds[i] || hex.EncodeToString(e.Payload) != want[i] {
			t.Errorf("compatibility: %T is kind %d,\n%x, want kind %d,\n%s", c, e.Kind, e.Payload, kinds[i], want[i])
		}
		back, err := Decode(e)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%T comes back as %+v, %v", c, back, err)
		}
	}
}

func TestUnknownEntriesAreNotTakenForDamage(t *testing.T) {
	topic := mustEncode(t, sampleChanges()[3])
	unsorted := mustEncode(t, TopicCreated{
		ID: topicA, Name: "a", ReplicationFactor: 1, Configs: map[string]string{"x": "", "y": ""}, Journals: []uint32{1}})
	unsorted.Payload[strings.Index(string(unsorted.Payload), "x")] = 'z'
	long := append([]byte{1}, make([]byte, 16)...)
	for name, c := range map[string]struct {
		e    segment.Entry
		want error
	}{
		"kind 0":             {segment.Entry{Kind: 0, Payload: []byte{1}}, ErrTooOld},
		"kind 99":            {segment.Entry{Kind: 99, Payload: []byte{1}}, ErrTooOld},
		"version 2":          {segment.Entry{Kind: EntryJournalCreated, Payload: []byte{2, 0, 0}}, ErrTooOld},
		"version 0":          {segment.Entry{Kind: EntryJournalCreated, Payload: []byte{0, 0, 0, 0, 1}}, ErrCorrupt},
		"empty":              {segment.Entry{Kind: EntryJournalCreated}, ErrCorrupt},
		"cut":                {segment.Entry{Kind: EntryTopicCreated, Payload: topic.Payload[:len(topic.Payload)-1]}, ErrCorrupt},
		"longer":             {segment.Entry{Kind: EntryTopicCreated, Payload: append(topic.Payload[:len(topic.Payload):len(topic.Payload)], 0)}, ErrCorrupt},
		"unsorted configs":   {unsorted, ErrCorrupt},
		"journal 0":          {segment.Entry{Kind: EntryJournalCreated, Payload: []byte{1, 0, 0, 0, 0}}, ErrCorrupt},
		"more of zero topic": {segment.Entry{Kind: EntryPartitionsAdded, Payload: append(long[:17:17], 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)}, ErrCorrupt},
		"added to none":      {segment.Entry{Kind: EntryPartitionsAdded, Payload: append(topic.Payload[:17:17], 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1)}, ErrCorrupt},
		"none added":         {segment.Entry{Kind: EntryPartitionsAdded, Payload: append(topic.Payload[:17:17], 0, 0, 0, 1, 0, 0, 0, 0)}, ErrCorrupt},
		"added to too many":  {segment.Entry{Kind: EntryPartitionsAdded, Payload: append(topic.Payload[:17:17], 0, 0, 0x27, 0x10, 0, 0, 0, 1, 0, 0, 0, 1)}, ErrCorrupt},
		"configured zero":    {segment.Entry{Kind: EntryTopicConfigured, Payload: append(long[:17:17], 0, 0)}, ErrCorrupt},
		"zero topic":         {segment.Entry{Kind: EntryTopicDeleted, Payload: long}, ErrCorrupt},
		"zero level":         {segment.Entry{Kind: EntryFeatureLevel, Payload: []byte{1, 0, 0}}, ErrCorrupt},
		"time of level 1":    {segment.Entry{Kind: EntryFeatureLevel, Payload: []byte{2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9}}, ErrCorrupt},
		"zero time":          {segment.Entry{Kind: EntryFeatureLevel, Payload: []byte{2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}}, ErrCorrupt},
		"negative time":      {segment.Entry{Kind: EntryFeatureLevel, Payload: []byte{2, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255}}, ErrCorrupt},
		"level of version 3": {segment.Entry{Kind: EntryFeatureLevel, Payload: []byte{3, 0, 3}}, ErrTooOld},
		"zero restored":      {segment.Entry{Kind: EntryTopicRestored, Payload: long}, ErrCorrupt},
		"zero node":          {segment.Entry{Kind: EntryNodeRegistered, Payload: append(long[:17:17], 0, 0, 0, 1)}, ErrCorrupt},
		"no producer ids":    {segment.Entry{Kind: EntryProducerIDs, Payload: []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}}, ErrCorrupt},
		"producer overflow":  {segment.Entry{Kind: EntryProducerIDs, Payload: []byte{1, 127, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1}}, ErrCorrupt},
	} {
		if _, err := Decode(c.e); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestLimitsHoldWhenWritingAsWhenReading(t *testing.T) {
	base := sampleChanges()[3].(TopicCreated)
	many := map[string]string{}
	for i := range maxConfigs + 1 {
		many[strings.Repeat("n", i+1)] = ""
	}
	for name, change := range map[string]func(*TopicCreated){
		"partitions": func(c *TopicCreated) { c.Journals = make([]uint32, MaxPartitions+1) },
		"none":       func(c *TopicCreated) { c.Journals = nil },
		"name":       func(c *TopicCreated) { c.Name = strings.Repeat("n", MaxNameLen+1) },
		"path":       func(c *TopicCreated) { c.Name = "../x" },
		"rf":         func(c *TopicCreated) { c.ReplicationFactor = 4 },
		"configs":    func(c *TopicCreated) { c.Configs = many },
		"value":      func(c *TopicCreated) { c.Configs = map[string]string{"x": strings.Repeat("v", 2049)} },
		"zero id":    func(c *TopicCreated) { c.ID = segment.ID{} },
	} {
		c := base
		change(&c)
		if _, err := Encode(c); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	base.Journals = make([]uint32, MaxPartitions)
	if _, err := Decode(mustEncode(t, base)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range sampleChanges() {
		e, err := Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.Kind, e.Payload)
	}
	f.Add(uint16(99), []byte{1})
	f.Add(EntryTopicCreated, []byte{2})
	f.Fuzz(func(t *testing.T, kind uint16, payload []byte) {
		in := segment.Entry{Kind: kind, Payload: payload}
		c, err := Decode(in)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooOld) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		if again, err := Encode(c); err != nil || !reflect.DeepEqual(again, in) {
			t.Errorf("%+v decodes to %+v, which is %+v, %v", in, c, again, err)
		}
	})
}

func mustEncode(t interface{ Fatal(...any) }, c Change) segment.Entry {
	e, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEntriesKeepNothingOfTheirInput(t *testing.T) {
	e := mustEncode(t, sampleChanges()[3])
	c, err := Decode(e)
	if err != nil {
		t.Fatal(err)
	}
	clear(e.Payload)
	got := c.(TopicCreated)
	if got.Name != "a.b" || !maps.Equal(got.Configs, sampleChanges()[3].(TopicCreated).Configs) {
		t.Errorf("changed with its input: %+v", got)
	}
}
