package partlog

import "github.com/varvelog/varve/tiering/segment"

// Survey is a partition as planners of merges, retention and releases see it: copies, of
// one moment.
type Survey struct {
	Key
	View View
	// Merged is M: below it merged segments answer, from it on journal objects. A first
	// merge begins at it, or, if Start is above it, at the base of the extent that has
	// Start.
	Merged          int64
	Freed           int64 // no extent below is kept
	Cleaned         int64
	CleanedMs       int64
	TombstonesBelow int64
	// Segments are the extents below Merged that are in memory, and Pages those that are
	// not, both in offset order. They may take turns.
	Segments []Extent
	Pages    []*Page
	// JournalBytes are the bytes of batches in journal objects from Merged and from Start on.
	// DeletedBytes are those of records that were deleted before they were merged, as far as
	// no Result has counted them. Both are estimates if extents from there on lie in pages.
	JournalBytes, DeletedBytes int64
	// Appended are the bytes of all batches that there ever were in journal objects.
	Appended int64
	// The journal range that has the first offset from Merged and from Start on, or the
	// page that has it. There is neither if the log ends there.
	First     *Extent
	FirstPage *Page
}

// OpenIntent is an intent that has not ended.
type OpenIntent struct {
	Job     segment.ID
	Objects []IntentObject
}

// IntentObject is an object of an intent. Placed says that a Result has put it in place.
type IntentObject struct {
	Name   segment.Name
	Placed bool
}

// Garbage is an object, or seqs of data objects, that may be deleted.
type Garbage struct {
	Name    segment.Name // the zero Name: it is Seqs
	Seqs    Seqs
	Class   Class
	SinceMs int64 // when it was listed, or deleted for the first time; Unix milliseconds
	// Ended says that it was listed because its intent ended.
	Ended bool
	// Deleted says that it was deleted once. An object is deleted once more.
	Deleted bool
}

// Unreleased is an object that no extent names any more and no Release has named yet.
type Unreleased struct {
	Name  segment.Name
	Bytes uint32
}

// SurveyOf surveys one partition; false if it was never opened here.
func (s *State) SurveyOf(k Key) (Survey, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return Survey{}, false
	}
	return s.surveyLocked(k, p), true
}

// Survey calls fn for every partition, in the order of their keys. All surveys are of one
// moment; fn runs without a lock.
func (s *State) Survey(fn func(*Survey)) {
	s.mu.RLock()
	keys := s.keysLocked()
	surveys := make([]Survey, len(keys))
	for i, k := range keys {
		surveys[i] = s.surveyLocked(k, s.parts[k])
	}
	s.mu.RUnlock()
	for i := range surveys {
		fn(&surveys[i])
	}
}

func (s *State) surveyLocked(k Key, p *part) Survey {
	in := s.home(k, p)
	out := Survey{
		Key: k, View: s.viewLocked(p), Merged: p.merged, Freed: p.freed,
		Cleaned: p.cleaned, CleanedMs: p.cleanedMs, TombstonesBelow: p.tombstonesBelow,
		Appended: p.bytes,
	}
	out.JournalBytes, out.DeletedBytes = p.unmerged()
	for i := range p.below.chunks {
		c := &p.below.chunks[i]
		if c.page != nil {
			out.Pages = append(out.Pages, c.export(in))
		}
		for i := range c.refs {
			out.Segments = append(out.Segments, c.refs[i].export(in))
		}
	}
	if from := max(p.start, p.merged); from < p.end {
		extents, page := p.refs.from(in, from, 1)
		out.FirstPage = page
		if len(extents) > 0 {
			out.First = &extents[0]
		}
	}
	return out
}

// Intents returns the intents that have not ended, in the order of their jobs.
func (s *State) Intents() []OpenIntent {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]OpenIntent, 0, len(s.tiering.intents))
	for _, job := range sortedIDs(s.tiering.intents) {
		in := OpenIntent{Job: job}
		objects := s.tiering.intents[job].objects
		for _, id := range sortedIDs(objects) {
			in.Objects = append(in.Objects, objects[id])
		}
		out = append(out, in)
	}
	return out
}

// Garbage returns the objects and the ranges of seqs that may be deleted.
func (s *State) Garbage() []Garbage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Garbage, 0, len(s.tiering.garbage)+len(s.tiering.seqs))
	for _, id := range sortedIDs(s.tiering.garbage) {
		out = append(out, s.tiering.garbage[id])
	}
	return append(out, s.tiering.seqs...)
}

// Unreleased returns the objects that no extent names any more and no Release has named.
// Those of an intent that has not ended cannot be released yet.
func (s *State) Unreleased() []Unreleased {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Unreleased, 0, len(s.tiering.unreleased))
	for _, id := range sortedIDs(s.tiering.unreleased) {
		out = append(out, s.tiering.unreleased[id])
	}
	return out
}

// Unmerged returns the seq up to which journal objects had records that were deleted before
// they were merged; 0: there are none that a Release may name.
func (s *State) Unmerged() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.tiering.used && s.deletedLocked() {
		return s.head
	}
	return s.tiering.unmerged
}

// Judged returns how far the journal's objects were judged. The seqs are those that damaged
// extents name, or have named and are not released yet. Only the latter, which are false,
// may be in a Release.
func (s *State) Judged() (Judged, map[uint64]bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	kept := make(map[uint64]bool, len(s.tiering.kept))
	for seq, extents := range s.tiering.kept {
		kept[seq] = extents > 0
	}
	return s.tiering.judged, kept
}
