package partlog

import (
	"cmp"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// tiered is the work of merges, retention and compaction on a partition.
type tiered struct {
	merged  int64 // below it the extents of below answer, from it on the refs; 0 at first
	below   mergedList
	freed   int64 // no extent that ends before it is kept
	sourced int64 // bytes of the journal ranges that were merged, or deleted before, for statistics
	dropped bool

	cleaned, cleanedMs int64
	tombstonesBelow    int64
}

// tiering has the intents and the garbage of a journal. An object that changes it changes
// a copy, which then takes its place.
type tiering struct {
	used       bool // an entry that is newer than checkpoints of version 3 was applied
	intents    map[segment.ID]*intent
	shared     map[segment.ID]sharedSegment // those that extents name
	unreleased map[segment.ID]Unreleased
	garbage    map[segment.ID]Garbage // objects
	seqs       []Garbage              // ranges of seqs, in their order
	kept       map[uint64]int         // how many extents below merged name a journal object, which was not released
	judged     Judged
	// Up to this seq, records were deleted before they were merged: these have no extents
	// that would make a Release name them as deleted. 0, or not below judged.
	unmerged uint64
}

// intent has the objects that a job may create, and which of them Results have put in
// place. It never changes.
type intent struct {
	objects map[segment.ID]IntentObject
}

type sharedSegment struct {
	object  *mergedObject
	extents int
}

func newTiering() tiering {
	return tiering{
		intents: map[segment.ID]*intent{}, shared: map[segment.ID]sharedSegment{}, unreleased: map[segment.ID]Unreleased{},
		garbage: map[segment.ID]Garbage{}, kept: map[uint64]int{},
	}
}

func (t *tiering) clone() tiering {
	out := *t
	out.intents, out.shared, out.unreleased = maps.Clone(t.intents), maps.Clone(t.shared), maps.Clone(t.unreleased)
	out.garbage, out.seqs, out.kept = maps.Clone(t.garbage), slices.Clone(t.seqs), maps.Clone(t.kept)
	return out
}

// underWay reports whether an object is one of an intent that has not ended.
func (t *tiering) underWay(id segment.ID) bool {
	for _, in := range t.intents {
		if _, ok := in.objects[id]; ok {
			return true
		}
	}
	return false
}

// knows reports whether an object id was used before, as far as the state remembers.
func (t *tiering) knows(id segment.ID) bool {
	_, shared := t.shared[id]
	_, unreleased := t.unreleased[id]
	_, garbage := t.garbage[id]
	return shared || unreleased || garbage || t.underWay(id)
}

// deletedLocked reports whether records were deleted in some partition. Before the first
// entry of tiering that is not noted otherwise.
func (s *State) deletedLocked() bool {
	for _, p := range s.parts {
		if p.start > 0 {
			return true
		}
	}
	return false
}

// noteUnmerged notes that records of a partition are deleted that are not merged, by the
// object at seq.
func (t *tiering) noteUnmerged(seq uint64) {
	if t.used { // checkpoints of version 3 do not have it
		t.unmerged = seq
	}
}

// end ends an intent. Those of its objects that no Result has put in place are garbage.
func (t *tiering) end(job segment.ID, nowMs int64) {
	for id, o := range t.intents[job].objects {
		if !o.Placed {
			t.garbage[id] = Garbage{Name: o.Name, Class: ClassMerge, SinceMs: nowMs, Ended: true}
		}
	}
	delete(t.intents, job)
}

// waiting counts the garbage that waits for its first deletion, without the objects of
// intents that ended.
func (t *tiering) waiting() int {
	n := len(t.seqs)
	for _, g := range t.garbage {
		if !g.Ended && !g.Deleted {
			n++
		}
	}
	return n
}

func sortedIDs[V any](m map[segment.ID]V) []segment.ID {
	return slices.SortedFunc(maps.Keys(m), compareIDs)
}

func compareSeqs(a, b Garbage) int { return cmp.Compare(a.Seqs.First, b.Seqs.First) }

// looseSeqs returns the seqs that extents have named and none names any more, in their
// order.
func (t *tiering) looseSeqs() (seqs []uint64) {
	for seq, extents := range t.kept {
		if extents == 0 {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}
