package metadata

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// footer is that of a data object of journal 0.
func footer(seq uint64, epoch uint32) *segment.Footer {
	return &segment.Footer{Header: segment.Header{Kind: segment.KindData, Seq: seq, Epoch: epoch}}
}

func apply(t interface {
	Helper()
	Fatal(...any)
}, s *State, changes ...Change) {
	t.Helper()
	if err := tryApply(t, s, changes...); err != nil {
		t.Fatal(err)
	}
}

func tryApply(t interface{ Fatal(...any) }, s *State, changes ...Change) error {
	entries := make([]segment.Entry, len(changes))
	for i, c := range changes {
		entries[i] = mustEncode(t, c)
	}
	return s.Apply(footer(s.Head()+1, 1), entries)
}

func topicNamed(id segment.ID, name string) TopicCreated {
	return TopicCreated{ID: id, Name: name, ReplicationFactor: 1, CreatedMs: 5, Journals: []uint32{1, 1, 1}}
}

func TestTopicLivesFromCreateToPurge(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1}, topicNamed(topicB, "b"), topicNamed(topicA, "a"))
	a, ok := s.Topic("a")
	if !ok || a.ID != topicA || len(a.Partitions) != 3 || a.Partitions[2].Journal != 1 || a.Values.RetentionMs != -1 {
		t.Fatalf("topic a: %+v, %v", a, ok)
	}
	if names := namesOf(s.Topics()); names != "a b " {
		t.Errorf("topics %s", names)
	}

	apply(t, s, TopicDeleted{ID: topicA})
	if _, ok := s.Topic("a"); ok {
		t.Error("deleted topic found by name")
	}
	if _, ok := s.TopicByID(topicA); ok {
		t.Error("deleted topic found by id")
	}
	if a.Deleting {
		t.Error("published value changed")
	}
	if !s.TopicGone("", topicA) || !s.TopicGone("a", segment.ID{}) || s.TopicGone("", topicB) || s.TopicGone("b", segment.ID{}) {
		t.Error("a deleted topic must be gone by id and by name, and the other one there")
	}
	if d := s.Deleting(); len(d) != 1 || d[0].ID != topicA || !d[0].Deleting || namesOf(s.Topics()) != "b " {
		t.Errorf("deleting %v, topics %s", d, namesOf(s.Topics()))
	}
	if err := tryApply(t, s, topicNamed(segment.ID{1}, "a")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("name reused before the purge: %v", err)
	}

	apply(t, s, TopicPurged{topicA}, topicNamed(segment.ID{1}, "a"))
	if a, ok := s.Topic("a"); !ok || a.ID != (segment.ID{1}) || len(s.Deleting()) != 0 {
		t.Errorf("after the purge: %+v, %v", a, ok)
	}
	if !s.TopicGone("a", topicA) || s.TopicGone("a", segment.ID{}) {
		t.Error("the purged topic must be gone by id, and its name must be in use")
	}
}

func TestTopicsGrowAndAreConfiguredWithoutChangingWhatWasPublished(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1}, JournalCreated{2}, topicNamed(topicA, "a"))
	before, _ := s.Topic("a")
	apply(t, s, PartitionsAdded{ID: topicA, From: 3, Journals: []uint32{2, 1}}, TopicConfigured{topicA, map[string]string{"max.message.bytes": "7"}})
	a, _ := s.Topic("a")
	if len(a.Partitions) != 5 || a.Partitions[3].Journal != 2 || a.Values.MaxMessageBytes != 7 || a.Configs["max.message.bytes"] != "7" {
		t.Errorf("topic %+v", a)
	}
	if len(before.Partitions) != 3 || before.Values.MaxMessageBytes == 7 || len(before.Configs) != 0 {
		t.Errorf("published value changed: %+v", before)
	}
	if byID, ok := s.TopicByID(topicA); !ok || byID != a || s.Topics()[0] != a {
		t.Error("other look-ups find another topic")
	}
	restored := New()
	if err := restored.Restore(s.Encode()); err != nil || restored.hash() != s.hash() {
		t.Errorf("a checkpoint holds another state: %v", err)
	}
	apply(t, s, TopicConfigured{topicA, nil})
	if a, _ := s.Topic("a"); len(a.Configs) != 0 || a.Values.MaxMessageBytes != before.Values.MaxMessageBytes {
		t.Errorf("configs that were taken away: %+v", a)
	}
}

func namesOf(topics []*Topic) (names string) {
	for _, t := range topics {
		names += t.Name + " "
	}
	return names
}

func TestNodesAndJournalsAreNumberedFromOne(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, NodeRegistered{nodeA, 1}, NodeRegistered{segment.ID{2}, 2}, JournalCreated{1}, JournalCreated{2})
	if id, ok := s.node(segment.ID{2}); !ok || id != 2 {
		t.Errorf("node is %d, %v", id, ok)
	}
	if _, ok := s.node(segment.ID{3}); ok {
		t.Error("found a node that never registered")
	}
	if n := s.nodes(); len(n) != 2 || n[0].Node != nodeA || n[0].ID != 1 || n[1].ID != 2 {
		t.Errorf("nodes %v", n)
	}
	if j := s.Journals(); len(j) != 2 || j[0] != 1 || j[1] != 2 {
		t.Errorf("journals %v", j)
	}
}

// ready is a cluster with a bit of everything.
func ready(t *testing.T) *State {
	t.Helper()
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1}, NodeRegistered{nodeA, 1}, ProducerIDs{1, 1000},
		topicNamed(topicA, "a"), topicNamed(topicB, "b.b"), TopicDeleted{ID: topicB})
	return s
}

func TestContradictionsChangeNothing(t *testing.T) {
	fresh := segment.ID{0x55}
	for name, bad := range map[string]Change{
		"level again":           FeatureLevel{Level: 1},
		"node again":            NodeRegistered{nodeA, 2},
		"node id skipped":       NodeRegistered{fresh, 3},
		"node id reused":        NodeRegistered{fresh, 1},
		"journal skipped":       JournalCreated{3},
		"journal again":         JournalCreated{1},
		"topic id again":        topicNamed(topicA, "c"),
		"topic name again":      topicNamed(fresh, "a"),
		"topic name deleting":   topicNamed(fresh, "b.b"),
		"topic name collides":   topicNamed(fresh, "b_b"),
		"journal unknown":       TopicCreated{ID: fresh, Name: "c", ReplicationFactor: 1, Journals: []uint32{1, 2}},
		"journal zero":          TopicCreated{ID: fresh, Name: "c", ReplicationFactor: 1, Journals: []uint32{0}},
		"config unreadable":     TopicCreated{ID: fresh, Name: "c", ReplicationFactor: 1, Journals: []uint32{1}, Configs: map[string]string{"retention.ms": "x"}},
		"delete unknown":        TopicDeleted{ID: fresh},
		"delete again":          TopicDeleted{ID: topicB},
		"purge unknown":         TopicPurged{fresh},
		"purge live":            TopicPurged{topicA},
		"added to unknown":      PartitionsAdded{ID: fresh, From: 3, Journals: []uint32{1}},
		"added to deleting":     PartitionsAdded{ID: topicB, From: 3, Journals: []uint32{1}},
		"added again":           PartitionsAdded{ID: topicA, From: 2, Journals: []uint32{1}},
		"added with a gap":      PartitionsAdded{ID: topicA, From: 4, Journals: []uint32{1}},
		"added to no journal":   PartitionsAdded{ID: topicA, From: 3, Journals: []uint32{1, 2}},
		"configured unknown":    TopicConfigured{fresh, nil},
		"configured deleting":   TopicConfigured{topicB, nil},
		"configured unreadably": TopicConfigured{topicA, map[string]string{"retention.ms": "x"}},
		"producer ids again":    ProducerIDs{1, 1000},
		"producer ids skipped":  ProducerIDs{1002, 1000},
		"producer ids overflow": ProducerIDs{1 << 62, 1000},
	} {
		s := ready(t)
		before, topics := s.hash(), s.Topics()
		if err := tryApply(t, s, bad); !errors.Is(err, ErrCorrupt) || s.hash() != before || s.Head() != 1 {
			t.Errorf("%s: %v, head %d", name, err, s.Head())
		}
		if len(s.Topics()) != len(topics) || s.Topics()[0].ID != topicA || len(s.Deleting()) != 1 {
			t.Errorf("%s: topics changed", name)
		}
	}
}

func TestObjectIsTakenWhollyOrNotAtAll(t *testing.T) {
	good := []Change{
		JournalCreated{2}, NodeRegistered{segment.ID{2}, 2}, ProducerIDs{1001, 10}, ProducerIDs{1011, 10},
		PartitionsAdded{ID: topicA, From: 3, Journals: []uint32{2}}, PartitionsAdded{ID: topicA, From: 4, Journals: []uint32{2}}, TopicConfigured{topicA, map[string]string{"retention.ms": "5"}},
		TopicPurged{topicB}, topicNamed(topicB, "b_b"), TopicDeleted{ID: topicA}, TopicPurged{topicA},
	}
	s := ready(t)
	before := s.hash()
	if err := tryApply(t, s, append(good, FeatureLevel{Level: 1})...); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("object with a contradiction at its end: %v", err)
	}
	if a, ok := s.Topic("a"); !ok || s.hash() != before || s.Head() != 1 || len(a.Partitions) != 3 || a.Values.RetentionMs != -1 {
		t.Error("something of the object stayed")
	}
	if _, ok := s.Topic("b_b"); ok {
		t.Error("a topic of the object is visible")
	}
	apply(t, s, good...)
	if _, ok := s.Topic("b_b"); !ok || s.hash() == before {
		t.Error("the same changes alone were not applied")
	}
}

func TestReadersSeeWholeObjectsOnly(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				if n := len(s.Topics()); n%2 != 0 {
					t.Errorf("%d topics, every object makes two", n)
				}
				s.hash()
				s.Topic("topic-1")
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range byte(100) {
		apply(t, s, topicNamed(segment.ID{1, i}, fmt.Sprintf("topic-%d", i)), topicNamed(segment.ID{2, i}, fmt.Sprintf("more-%d", i)))
		// Half an object that is taken back is not seen either.
		if err := tryApply(t, s, topicNamed(segment.ID{3, i}, "half"), FeatureLevel{Level: 1}); err == nil {
			t.Error("contradiction applied")
		}
	}
	close(stop)
	readers.Wait()
}

func TestNodeThatIsTooOldStops(t *testing.T) {
	s := New()
	if err := tryApply(t, s, FeatureLevel{Level: SupportedLevel + 1}); !errors.Is(err, ErrTooOld) {
		t.Errorf("higher level: %v", err)
	}
	apply(t, s, FeatureLevel{Level: 1})
	before := s.hash()
	err := s.Apply(footer(2, 1), []segment.Entry{mustEncode(t, JournalCreated{1}), {Kind: 4711, Payload: []byte{1}}})
	if !errors.Is(err, ErrTooOld) || s.hash() != before {
		t.Errorf("unknown entry: %v", err)
	}
}

func TestNothingIsAppliedBeforeAFeatureLevel(t *testing.T) {
	for _, c := range sampleChanges()[1:] {
		if _, is := c.(FeatureLevel); is {
			continue
		}
		if err := tryApply(t, New(), c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%T: %v", c, err)
		}
	}
}

func TestObjectsThatCannotComeNextAreRefused(t *testing.T) {
	entry := mustEncode(t, JournalCreated{2})
	for name, c := range map[string]struct {
		change  func(*segment.Footer)
		entries []segment.Entry
	}{
		"seq again":          {func(f *segment.Footer) { f.Header.Seq = 5 }, nil},
		"epoch back":         {func(f *segment.Footer) { f.Header.Epoch = 1 }, nil},
		"other journal":      {func(f *segment.Footer) { f.Header.Journal = 1 }, nil},
		"records":            {func(f *segment.Footer) { f.Partitions = make([]segment.Partition, 1) }, nil},
		"fence with entry":   {func(f *segment.Footer) { f.Header.Kind = segment.KindFence }, []segment.Entry{entry}},
		"filler with entry":  {func(f *segment.Footer) { f.Header.Kind = segment.KindFiller }, []segment.Entry{entry}},
		"not of the journal": {func(f *segment.Footer) { f.Header.Kind = segment.KindFloor }, nil},
	} {
		s := New()
		if err := s.Apply(footer(5, 2), []segment.Entry{mustEncode(t, FeatureLevel{Level: 1}), mustEncode(t, JournalCreated{1})}); err != nil {
			t.Fatal(err)
		}
		before := s.hash()
		f := footer(6, 2)
		c.change(f)
		if err := s.Apply(f, c.entries); !errors.Is(err, ErrCorrupt) || s.hash() != before || s.Head() != 5 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFencesMoveTheHeadOnly(t *testing.T) {
	s := ready(t)
	wake := make(chan struct{}, 1)
	defer s.Watch(wake)()
	before := s.hash()
	f := footer(9, 2) // voids were left out
	f.Header.Kind = segment.KindFence
	if err := s.Apply(f, nil); err != nil || s.Head() != 9 || s.hash() == before {
		t.Errorf("fence: %v, head %d", err, s.Head())
	}
	if len(wake) != 1 {
		t.Error("a watcher that waits for the head is not woken")
	}
}

func TestWatchersAreWokenWithoutBeingWaitedFor(t *testing.T) {
	s := New()
	wake, deaf := make(chan struct{}, 1), make(chan struct{})
	cancel := s.Watch(wake)
	defer s.Watch(deaf)()
	apply(t, s, FeatureLevel{Level: 1})
	apply(t, s, JournalCreated{1})
	if len(wake) != 1 {
		t.Fatal("not woken")
	}
	<-wake
	cancel()
	cancel()
	apply(t, s, JournalCreated{2})
	if len(wake) != 0 {
		t.Error("woken after cancel")
	}
}

func TestTenThousandTopics(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1})
	for i := range 10_000 {
		apply(t, s, topicNamed(segment.ID{1, byte(i >> 8), byte(i)}, fmt.Sprintf("topic-%05d", i)))
	}
	l := s.Topics()
	if len(l) != 10_000 || l[9999].Name != "topic-09999" {
		t.Fatalf("%d topics", len(l))
	}
	if &s.Topics()[0] != &l[0] {
		t.Error("list is built at every call")
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := s.Topic("topic-01234"); !ok {
			t.Error("not found")
		}
	}); n > 0 {
		t.Errorf("looking a topic up allocates %v times", n)
	}
}

func BenchmarkCreateAndApplyOfOneInTenThousand(b *testing.B) {
	s := New()
	apply(b, s, FeatureLevel{Level: 1}, JournalCreated{1})
	for i := range 10_000 {
		apply(b, s, topicNamed(segment.ID{1, byte(i >> 8), byte(i)}, fmt.Sprintf("topic-%05d", i)))
	}
	c := NewController(s, Defaults{Partitions: 1, ReplicationFactor: 1})
	n := byte(0)
	for b.Loop() {
		n++
		entries, res := c.CreateTopics(1, []NewTopic{{Name: "new", Partitions: 12, ReplicationFactor: -1}}, false, func() segment.ID { return segment.ID{9, n} })
		more, _ := c.DeleteTopics(6, []segment.ID{res[0].Topic.ID})
		last, errs := c.Purge([]segment.ID{res[0].Topic.ID})
		if errs[0] != nil {
			b.Fatal(errs)
		}
		entries = append(append(entries, more...), last...)
		if err := s.Apply(footer(s.Head()+1, 1), entries); err != nil {
			b.Fatal(err)
		}
	}
}
