package tieringmodel

import "strings"

// Rules is a set of rules, or of parts of one, that the models can do without.
// The numbers are those of ../PROTOCOL.md.
type Rules uint64

// The rules that can be switched off.
const (
	// IntentFirst (rule 16): the intent is committed before the first byte is
	// uploaded.
	IntentFirst Rules = 1 << iota
	// FenceEndsIntents (rule 17): a fence ends the intents of older leaderships.
	FenceEndsIntents
	// PlacedStays (rule 17): of an intent that ends only those ids are garbage
	// that no Result has put in place.
	PlacedStays
	// AbandonLists (rule 17): so it is with an intent that is abandoned.
	AbandonLists
	// OpenNotGarbage (rule 17): until its intent ends, an object is neither
	// garbage nor released.
	OpenNotGarbage
	// FencedTwice (rule 17): ids of intents that a fence ended are deleted again
	// when no PUT can land any more.
	FencedTwice
	// AllTwice (rule 17): so are those of abandoned intents, of clipped Results,
	// and the released ones.
	AllTwice
	// NewID (rule 18): an output made again has a new id. Without: it is named
	// after its range.
	NewID
	// CreateIfAbsent (rule 18): an upload never replaces an object.
	CreateIfAbsent
	// ReadBackFirst (rule 18): outputs are read back before the Result. Without:
	// before a Release.
	ReadBackFirst
	// ReadBack (rule 18): outputs are read back at all.
	ReadBack
	// SameBytes (rule 18): the bytes found are compared at the read-back.
	SameBytes
	// OrderWithin (rule 19): an object's entries are applied in a fixed order.
	// Without: backwards.
	OrderWithin
	// Clip (rule 19): Apply leaves out outputs below the start. Without: they
	// are a contradiction.
	Clip
	// ClipHolds (rule 19): a start is never put back. Without: Apply takes a
	// Result as it is.
	ClipHolds
	// ClipOfTheGone (rule 19): Apply leaves out outputs of a partition that has
	// left the state, too.
	ClipOfTheGone
	// ClipByObject (rule 19): a clipped output makes its object garbage only if no
	// other output of it is in place.
	ClipByObject
	// KeepUntilReleased (rule 20): an object that no extent names any more stays in
	// the state until a Release names it. Without: only shared ones do.
	KeepUntilReleased
	// LeaveLast (rule 25): a partition leaves the state only when its objects are
	// released.
	LeaveLast
	// DataOnly (rule 20): a Release names data objects. Without: it is a range of
	// seqs.
	DataOnly
	// Judge (rule 20): a leader reads headers of objects that no job has to read.
	// Without: it releases only objects that its own jobs have read.
	Judge
	// Count (rule 20): shared segments are counted by extent.
	Count
	// ReleaseApplied (rule 20): a Release is built on the applied state. Without:
	// also on entries under way.
	ReleaseApplied
	// LimitUnderWay (rule 20): the limit of the list counts Releases under way.
	LimitUnderWay
	// LimitSparesEnded (rule 20): ids of ended intents do not count against the
	// limit of the list.
	LimitSparesEnded
	// DeleteApplied (rule 21): only a leader that has applied a Release deletes.
	DeleteApplied
	// FloorButOne (rule 22): journal objects are deleted below the last floor but
	// one. Without: below the last.
	FloorButOne
	// BelowFloor (rule 22): they are deleted below a floor at all.
	BelowFloor
	// FloorReadGood (rule 22): the checkpoint of that floor was read, and found
	// good.
	FloorReadGood
	// PagesOfTwoFloors (rule 23): a page stays while a checkpoint of the last two
	// floors names it. Without: of the last.
	PagesOfTwoFloors
	// PagesOfGoodFloors (rule 23): these two are floors whose checkpoints were
	// read. Without: a checkpoint that cannot be read names nothing.
	PagesOfGoodFloors
	// PagesYoung (rule 23): a page stays while the seq of its key is not below the
	// last floor but one.
	PagesYoung
	// FloorOfKeptPages (rule 23): a floor is planned only at a checkpoint whose
	// pages are all kept.
	FloorOfKeptPages
	// PagesAgain (rule 23): a checkpoint writes those pages again that are not kept.
	PagesAgain
	// PageReload (rule 23): a node that finds a page gone takes the page list of
	// the newest floor's checkpoint.
	PageReload
	// Look (rule 24): a reader that gets 404 looks again at all.
	Look
	// LookOn (rule 24): it looks again as often as the head names another object.
	// Without: once.
	LookOn
	// CleanedLast (rule 28): cleaned moves only when a pass is complete.
	CleanedLast
	// PassToTheStart (rule 28): a pass applies its map to everything below its end.
	// Without: only to offsets from cleaned on.
	PassToTheStart
	// TombstonesOfBefore (rule 28): a pass removes only tombstones below the old
	// cleaned. Without: all that it sees.
	TombstonesOfBefore
	// TombstonesWait (rule 28): and only those whose cleaned was set so long ago
	// that readers of that time have passed.
	TombstonesWait
	// TombstonesNamed (rule 30): the state names the offset below which tombstones
	// go, before the first one goes. Without: when the pass is complete.
	TombstonesNamed
	// SnapshotDiscarded (rule 30): a snapshot below that offset is discarded.
	SnapshotDiscarded
	// AroundDamage (rule 31): merge goes around a damaged source, which stays.
	AroundDamage

	endOfRules
)

// AllRules is every rule that can be switched off.
const AllRules = endOfRules - 1

var ruleNames = [...]string{
	"intent first", "fence ends intents", "placed stays", "abandon lists", "open is not garbage", "fenced twice", "all twice",
	"new id", "create if absent", "read back first", "read back", "same bytes",
	"order within", "clip", "clip holds", "clip of the gone", "clip by object",
	"keep until released", "leave last", "data only", "judge", "count", "release applied", "limit counts those under way", "limit spares ended ones",
	"delete applied", "floor but one", "below a floor", "floor read good",
	"pages of two floors", "pages of good floors", "pages young", "floor of kept pages", "pages again", "page reload",
	"look", "look on", "cleaned last", "pass to the start", "tombstones of before", "tombstones wait", "tombstones named", "snapshot discarded",
	"around damage",
}

// String names the rules in r.
func (r Rules) String() string {
	var names []string
	for i, name := range ruleNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
