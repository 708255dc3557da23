package metadata

import (
	"bytes"
	"slices"
	"sort"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Placed is the part of journal 0, up to a seq, that a data journal has to
// follow. Open partitions accept records in the journal. Sealed ones no longer
// do: their topics are deleted. A partition may be in neither list, because a
// topic is purged only when all of its partitions are sealed.
type Placed struct {
	Seq          uint64 // of journal 0
	Open, Sealed []partlog.Key
	Bases        map[partlog.Key]int32 // the epoch bases for Open entries that are not zero
}

// Placed returns the partitions of a data journal whose topics were created, grew, were
// deleted or restored after seq since of journal 0. After a Restore all topics count as changed.
func (s *State) Placed(journal uint32, since uint64) Placed {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := Placed{Seq: s.head.Seq}
	for _, c := range s.placements.after(since) {
		t := s.img.topics[c.id]
		if s.placements.at[c.id] != c.seq {
			continue // it changed again, or is purged
		}
		for i, partition := range t.Partitions {
			if partition.Journal != journal {
				continue
			}
			k := partlog.Key{Topic: t.ID, Index: int32(i)}
			if t.Deleting {
				p.Sealed = append(p.Sealed, k)
			} else {
				p.Open = append(p.Open, k)
			}
			if partition.EpochBase != 0 {
				if p.Bases == nil {
					p.Bases = map[partlog.Key]int32{}
				}
				p.Bases[k] = partition.EpochBase
			}
		}
	}
	return p
}

// placements remembers at which seqs of journal 0 topics' partitions changed.
type placements struct {
	at       map[segment.ID]uint64 // the last change of each topic
	journals map[uint32]uint64     // the last change of each data journal
	changes  []placement           // ascending; the last one of each topic counts
}

type placement struct {
	seq uint64
	id  segment.ID
}

func newPlacements() placements {
	return placements{at: map[segment.ID]uint64{}, journals: map[uint32]uint64{}}
}

// follow notes the changes of the object at seq, which were made in the image.
func (p *placements) follow(seq uint64, changes []Change, m *image) {
	for _, c := range changes {
		switch c := c.(type) {
		case TopicCreated:
			p.change(seq, c.ID, m)
		case PartitionsAdded:
			p.change(seq, c.ID, m)
		case TopicDeleted:
			p.change(seq, c.ID, m)
		case TopicRestored:
			p.change(seq, c.ID, m)
		case TopicPurged:
			delete(p.at, c.ID)
		}
	}
	if len(p.changes) > 2*len(p.at)+64 {
		p.changes = slices.DeleteFunc(p.changes, func(c placement) bool { return p.at[c.id] != c.seq })
	}
}

func (p *placements) change(seq uint64, id segment.ID, m *image) {
	t := m.topics[id]
	if t == nil {
		return // it is purged by the same object
	}
	if p.at[id] != seq {
		p.at[id] = seq
		p.changes = append(p.changes, placement{seq, id})
	}
	for _, partition := range t.Partitions {
		p.journals[partition.Journal] = seq
	}
}

// after returns the changes after a seq.
func (p *placements) after(seq uint64) []placement {
	return p.changes[sort.Search(len(p.changes), func(i int) bool { return p.changes[i].seq > seq }):]
}

// restoredPlacements lets all topics of an image change at seq, in one order on
// every node.
func restoredPlacements(seq uint64, m *image) placements {
	p := newPlacements()
	ids := make([]segment.ID, 0, len(m.topics))
	for id := range m.topics {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b segment.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		p.change(seq, id, m)
	}
	return p
}

// deletion is a deleted topic, which is purged when its partitions are sealed and its
// grace is over.
type deletion struct {
	topic *Topic
	seq   uint64 // of journal 0, at which it was deleted
}

// final reports whether a deleted topic cannot be restored: it was deleted before
// LevelTiering.
func final(t *Topic) bool { return t.DeletedMs == 0 }

// going lists the deleted topics, those first that were deleted first, in one order on
// every node. The slice is shared: callers must not change it.
func (s *State) going() []*Topic {
	s.mu.RLock()
	none := len(s.img.deleted) == 0
	s.mu.RUnlock()
	if none {
		return nil // as in most clusters: the list of all topics is not made for it
	}
	return s.list().going
}

// deletion finds a deleted topic that is not purged.
func (s *State) deletion(id segment.ID) (deletion, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.img.deleted[id]
	return deletion{t, s.placements.at[id]}, t != nil
}

// placedAt returns the seq of journal 0 at which partitions of a data journal
// last changed.
func (s *State) placedAt(journal uint32) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.placements.journals[journal]
}
