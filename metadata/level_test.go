package metadata

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// atLevel is a cluster that began with a feature level of an older binary, or of this one.
func atLevel(t *testing.T, level uint16) (*Controller, *State) {
	t.Helper()
	s := New()
	apply(t, s, FeatureLevel{Level: level}, JournalCreated{1})
	return NewController(s, Defaults{Partitions: 1, ReplicationFactor: 1}), s
}

func commit(t *testing.T, s *State, entries []segment.Entry) {
	t.Helper()
	if err := s.Apply(footer(s.Head()+1, 1), entries); err != nil {
		t.Fatal(err)
	}
}

func TestLevelIsRaisedOnceAndRemembersWhen(t *testing.T) {
	c, s := atLevel(t, 1)
	if entries, err := c.Raise(7, SupportedLevel, true); err != nil || entries != nil || c.img.level != 1 {
		t.Errorf("a check plans %v, %v", entries, err)
	}
	if _, err := c.Raise(7, SupportedLevel+1, false); !errors.Is(err, ErrUnknownLevel) {
		t.Errorf("raised to an unknown level: %v", err)
	}
	entries, err := c.Raise(7, SupportedLevel, false)
	if err != nil {
		t.Fatal(err)
	}
	if commit(t, s, entries); s.Level() != SupportedLevel || s.TieredMs() != 7 {
		t.Errorf("level %d since %d", s.Level(), s.TieredMs())
	}
	if again, err := c.Raise(9, SupportedLevel, false); err != nil || again != nil {
		t.Errorf("raised again: %v, %v", again, err)
	}
	if _, err := c.Raise(9, 1, false); !errors.Is(err, ErrLowerLevel) {
		t.Errorf("lowered: %v", err)
	}
	restored := New()
	if err := restored.Restore(s.Encode()); err != nil || restored.TieredMs() != 7 || restored.Level() != SupportedLevel {
		t.Errorf("restored: level %d since %d, %v", restored.Level(), restored.TieredMs(), err)
	}
}

func TestNewClusterBeginsWithTheHighestLevel(t *testing.T) {
	if _, s := newCluster(t); s.Level() != SupportedLevel || s.TieredMs() != 0 {
		t.Errorf("level %d since %d", s.Level(), s.TieredMs())
	}
}

// TestABinaryBelowALevelRefusesIt: it would lead a journal that is assigned to another node.
func TestABinaryBelowALevelRefusesIt(t *testing.T) {
	c, s := newClusterUpTo(t, LevelTiering)
	if s.Level() != LevelTiering {
		t.Errorf("a new cluster has level %d", s.Level())
	}
	for _, validateOnly := range []bool{true, false} {
		if entries, err := c.Raise(7, LevelCluster, validateOnly); !errors.Is(err, ErrUnknownLevel) || len(entries) > 0 {
			t.Errorf("raised to the level of several nodes: %v, %v", entries, err)
		}
	}
	if err := tryApply(t, s, FeatureLevel{Level: LevelCluster, AtMs: 7}); !errors.Is(err, ErrTooOld) {
		t.Errorf("a journal of that level: %v", err)
	}
	if err := NewUpTo(LevelTiering).Restore(threeNodes(t).Encode()); !errors.Is(err, ErrTooOld) {
		t.Errorf("a checkpoint of that level: %v", err)
	}
}

// TestNothingNewIsWrittenBelowItsLevel: an older binary may read the journal again.
func TestNothingNewIsWrittenBelowItsLevel(t *testing.T) {
	c, s := atLevel(t, 1)
	entries, created := c.CreateTopics(1, []NewTopic{{"a", 1, 1, nil}}, false, idSource())
	id := []segment.ID{created[0].Topic.ID}
	more, _ := c.DeleteTopics(6, id)
	for _, e := range append(entries, more...) {
		if e.Kind > EntryTopicConfigured || e.Payload[0] != payloadVersion {
			t.Errorf("entry kind %d of version %d", e.Kind, e.Payload[0])
		}
	}
	if _, errs := c.RestoreTopics(id); !errors.Is(errs[0], ErrUnknownLevel) {
		t.Errorf("restored: %v", errs[0])
	}
	if _, again := c.CreateTopics(1, []NewTopic{{"a", 1, 1, nil}}, false, idSource()); !errors.Is(again[0].Err, ErrTopicExists) {
		t.Errorf("the name of a deleted topic is free: %v", again[0].Err)
	}
	commit(t, s, append(entries, more...))
	if b := s.Encode(); b[0] != checkpointVersion {
		t.Errorf("checkpoint of version %d", b[0])
	}
	for name, bad := range map[string]Change{
		"restored":            TopicRestored{id[0]},
		"deleted with a time": TopicDeleted{ID: topicB, AtMs: 6},
		"name in use":         topicNamed(segment.ID{5}, "a"),
	} {
		apply(t, s, TopicPurged{id[0]}, topicNamed(topicB, "b"), topicNamed(id[0], "a"), TopicDeleted{ID: id[0]})
		if err := tryApply(t, s, bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		apply(t, s, TopicDeleted{ID: topicB}, TopicPurged{topicB})
	}
}

func TestDeletedTopicIsRestoredUnlessItsNameIsTaken(t *testing.T) {
	c, s := atLevel(t, LevelTiering)
	ids := idSource()
	entries, created := c.CreateTopics(1, []NewTopic{{"a.b", 1, 1, map[string]string{"retention.ms": "7"}}}, false, ids)
	first := created[0].Topic.ID
	if _, errs := c.RestoreTopics([]segment.ID{first, {0x99}}); !errors.Is(errs[0], ErrTopicExists) || !errors.Is(errs[1], ErrUnknownTopic) {
		t.Errorf("restored a topic that is not deleted: %v", errs)
	}
	more, _ := c.DeleteTopics(6, []segment.ID{first})
	entries = append(entries, more...)
	more, created = c.CreateTopics(1, []NewTopic{{"a_b", 1, 1, nil}}, false, ids)
	if created[0].Err != nil {
		t.Fatalf("the name of a deleted topic is not free: %v", created[0].Err)
	}
	second := created[0].Topic.ID
	entries = append(entries, more...)
	if _, errs := c.RestoreTopics([]segment.ID{first}); !errors.Is(errs[0], ErrInvalidName) {
		t.Errorf("restored next to a topic whose name collides: %v", errs)
	}
	commit(t, s, entries)
	if err := tryApply(t, s, TopicRestored{first}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the state takes it: %v", err)
	}
	restored := New()
	if err := restored.Restore(s.Encode()); err != nil || restored.hash() != s.hash() {
		t.Fatalf("a state with a deleted topic whose name is in use: %v", err)
	}
	if d := restored.Deleting(); len(d) != 1 || d[0].ID != first || d[0].DeletedMs != 6 {
		t.Errorf("deleted: %+v", d)
	}

	more, _ = c.DeleteTopics(8, []segment.ID{second})
	commit(t, s, more)
	more, errs := c.RestoreTopics([]segment.ID{first, second})
	if errs[0] != nil || errs[1] == nil {
		t.Errorf("two topics of names that collide: %v", errs)
	}
	commit(t, s, more)
	topic, ok := s.Topic("a.b")
	if !ok || topic.ID != first || topic.Deleting || topic.DeletedMs != 0 || topic.Configs["retention.ms"] != "7" || len(s.Deleting()) != 1 {
		t.Errorf("%+v, deleted %v", topic, s.Deleting())
	}
	if p := s.Placed(1, s.Head()-1); len(p.Open) != 1 || p.Open[0].Topic != first || len(p.Sealed) != 0 {
		t.Errorf("the journal has to follow %+v", p)
	}
}

// TestUndoneRestoreLeavesTheNames: an object is applied wholly or not at all.
func TestUndoneRestoreLeavesTheNames(t *testing.T) {
	_, s := atLevel(t, LevelTiering)
	apply(t, s, topicNamed(topicA, "a"), topicNamed(topicB, "b"), TopicDeleted{ID: topicA, AtMs: 6})
	before := s.hash()
	for _, changes := range [][]Change{
		{TopicRestored{topicA}, FeatureLevel{Level: 1}},
		{topicNamed(segment.ID{5}, "a"), FeatureLevel{Level: 1}},
		{TopicDeleted{ID: topicB, AtMs: 7}, topicNamed(segment.ID{5}, "b"), FeatureLevel{Level: 1}},
		{TopicPurged{topicA}, topicNamed(topicA, "a"), TopicDeleted{ID: topicA, AtMs: 9}, FeatureLevel{Level: 1}},
	} {
		if err := tryApply(t, s, changes...); !errors.Is(err, ErrCorrupt) || s.hash() != before {
			t.Errorf("%v: %v", changes, err)
		}
		if _, ok := s.Topic("a"); ok {
			t.Errorf("%v: the deleted topic is visible", changes)
		}
		if b, ok := s.Topic("b"); !ok || b.ID != topicB {
			t.Errorf("%v: topic b is %+v", changes, b)
		}
	}
}
