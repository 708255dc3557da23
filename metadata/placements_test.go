package metadata

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func TestAJournalSeesTheChangesOfItsPartitionsOnly(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1}, JournalCreated{2}, topicNamed(topicA, "a"))
	apply(t, s, TopicCreated{ID: topicB, Name: "b", ReplicationFactor: 1, Journals: []uint32{1, 2}})
	apply(t, s, TopicConfigured{ID: topicA, Configs: map[string]string{"retention.ms": "5"}})
	p := s.Placed(1, 1)
	if p.Seq != 3 || fmt.Sprint(p.Open) != fmt.Sprint([]partlog.Key{{Topic: topicB}}) || len(p.Sealed) > 0 {
		t.Errorf("after seq 1: %+v", p)
	}
	if p := s.Placed(1, 2); p.Seq != 3 || len(p.Open)+len(p.Sealed) > 0 {
		t.Errorf("after seq 2: %+v", p)
	}
	apply(t, s, TopicDeleted{ID: topicB}, PartitionsAdded{ID: topicA, From: 3, Journals: []uint32{2}})
	p = s.Placed(2, 3)
	if fmt.Sprint(p.Open, p.Sealed) != fmt.Sprint([]partlog.Key{{Topic: topicA, Index: 3}}, []partlog.Key{{Topic: topicB, Index: 1}}) {
		t.Errorf("after seq 3: %+v", p)
	}
}

func TestAJournalSeesTheEpochBasesOfItsPartitions(t *testing.T) {
	s := NewUpTo(LevelCluster)
	apply(t, s, FeatureLevel{Level: LevelCluster}, JournalCreated{1}, JournalCreated{2},
		TopicCreated{ID: topicA, Name: "a", ReplicationFactor: 1, Journals: []uint32{1, 2, 1}, Bases: []int32{7, 8, 0}},
		topicNamed(topicB, "b"), TopicDeleted{ID: topicA, AtMs: 5})
	if p := s.Placed(1, 0); len(p.Open) != 3 || len(p.Sealed) != 2 || len(p.Bases) != 1 || p.Bases[partlog.Key{Topic: topicA}] != 7 {
		t.Errorf("journal 1 has to follow %+v", p)
	}
	if p := s.Placed(2, 0); p.Bases[partlog.Key{Topic: topicA, Index: 1}] != 8 {
		t.Errorf("journal 2 has to follow %+v", p)
	}
	topic, _ := s.TopicOrDeleted(topicA)
	if got := topic.created(); got.Bases[0] != 7 || got.Bases[1] != 8 || got.Bases[2] != 0 {
		t.Errorf("the topic has bases %v", got.Bases)
	}
}

// TestPlacedAddsUpToTheTopics: followers of each journal that look at changes only know
// the same partitions as the topics say, and of deleted topics whatever was there before
// the purge.
func TestPlacedAddsUpToTheTopics(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Log("seed", seed)
	r := rand.New(rand.NewSource(seed))
	const journals = 3
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1}, JournalCreated{2}, JournalCreated{3})
	type follower struct {
		seq  uint64
		open map[partlog.Key]bool
	}
	var followers [journals + 1]follower
	for j := range followers {
		followers[j].open = map[partlog.Key]bool{}
	}
	for step := range 2000 {
		if changes := randomChanges(r, s, journals); len(changes) > 0 {
			apply(t, s, changes...)
		}
		if r.Intn(100) == 0 {
			restored := New()
			if err := restored.Restore(s.Encode()); err != nil {
				t.Fatal(err)
			}
			s = restored
		}
		for j := 1; j <= journals; j++ {
			f := &followers[j]
			if r.Intn(3) > 0 { // it lags
				continue
			}
			p := s.Placed(uint32(j), f.seq)
			if twice := repeated(append(slices.Clone(p.Open), p.Sealed...)); twice != nil {
				t.Fatalf("step %d: %v is placed twice", step, *twice)
			}
			for _, k := range p.Open {
				f.open[k] = true
			}
			for _, k := range p.Sealed {
				f.open[k] = false
			}
			f.seq = p.Seq
			for k, open := range f.open { // a purge needs no action: all partitions are sealed before
				if _, known := s.img.topics[k.Topic]; !known && open {
					t.Fatalf("step %d: %v is open in journal %d, its topic is purged", step, k, j)
				} else if !known {
					delete(f.open, k)
				}
			}
			if want := placedInAll(s, uint32(j)); !maps.Equal(f.open, want) {
				t.Fatalf("step %d: journal %d has %v, want %v", step, j, f.open, want)
			}
		}
		purge(t, s, func(j uint32) uint64 { return followers[j].seq })
	}
	if n := len(s.placements.changes); n > 2*len(s.img.topics)+64 {
		t.Errorf("%d changes are kept of %d topics", n, len(s.img.topics))
	}
}

func repeated(keys []partlog.Key) *partlog.Key {
	seen := map[partlog.Key]bool{}
	for _, k := range keys {
		if seen[k] {
			return &k
		}
		seen[k] = true
	}
	return nil
}

// TestRestoredPlacementsHaveOneOrder: entries follow it, and a simulation replays exactly.
func TestRestoredPlacementsHaveOneOrder(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1})
	for i := range byte(20) {
		apply(t, s, topicNamed(segment.ID{i + 1}, fmt.Sprint("t", i)))
	}
	var orders [2]string
	for i := range orders {
		restored := New()
		if err := restored.Restore(s.Encode()); err != nil {
			t.Fatal(err)
		}
		orders[i] = fmt.Sprint(restored.Placed(1, 0))
	}
	if orders[0] != orders[1] {
		t.Errorf("%s\nand then\n%s", orders[0], orders[1])
	}
}

// randomChanges is one object.
func randomChanges(r *rand.Rand, s *State, journals int) []Change {
	place := func() []uint32 {
		placed := make([]uint32, 1+r.Intn(4))
		for i := range placed {
			placed[i] = uint32(1 + r.Intn(journals))
		}
		return placed
	}
	var changes []Change
	if live := s.Topics(); len(live) > 0 && r.Intn(2) == 0 {
		t := live[r.Intn(len(live))]
		if r.Intn(3) > 0 {
			changes = append(changes, PartitionsAdded{ID: t.ID, From: uint32(len(t.Partitions)), Journals: place()})
		}
		if r.Intn(2) == 0 {
			changes = append(changes, TopicDeleted{ID: t.ID})
		}
	}
	if len(s.Topics()) < 20 {
		var id segment.ID
		r.Read(id[:])
		changes = append(changes, TopicCreated{ID: id, Name: id.String(), ReplicationFactor: 1, Journals: place()})
		if r.Intn(5) == 0 {
			changes = append(changes, TopicDeleted{ID: id})
		}
	}
	return changes
}

// purge purges as the controller does once journals have followed the deletions.
func purge(t *testing.T, s *State, reached func(journal uint32) uint64) {
	t.Helper()
	for _, going := range s.going() {
		u, _ := s.deletion(going.ID)
		all := true
		for _, p := range u.topic.Partitions {
			all = all && reached(p.Journal) >= u.seq
		}
		if all {
			apply(t, s, TopicPurged{u.topic.ID})
		}
	}
}

func placedInAll(s *State, journal uint32) map[partlog.Key]bool {
	all := map[partlog.Key]bool{}
	for _, t := range s.img.topics {
		for i, p := range t.Partitions {
			if p.Journal == journal {
				all[partlog.Key{Topic: t.ID, Index: int32(i)}] = !t.Deleting
			}
		}
	}
	return all
}
