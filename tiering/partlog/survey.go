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
	// JournalBytes are the bytes of batches in journal objects from Merged on.
	JournalBytes int64
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
