package model

import "strings"

// Rules is a set of rules, or of parts of one, that the model can do without.
// The numbers are those of ../PROTOCOL.md.
type Rules uint32

// The rules that Config.Without can switch off.
const (
	// AckInOrder (rule 2): a seq is acknowledged only after every lower one.
	AckInOrder Rules = 1 << iota
	// WindowFromLowest (rule 2): a stored object above an unresolved one still
	// takes its place in the window.
	WindowFromLowest
	// SameBytes (rule 3): a re-send carries the same bytes as the first PUT.
	SameBytes
	// ReadBack (rule 4): at "exists" the key is read; it does not count as
	// success.
	ReadBack
	// AnswerOfObject (rule 4): a success counts for the object that was sent.
	// Without: for whatever the process has under way for the seq by then.
	AnswerOfObject
	// EpochFromLog (rule 5): a fence's epoch is one above those below it.
	// Without: epochs are handed out in the order in which processes start.
	EpochFromLog
	// FenceRebuilt (rule 5): after a lost race the fence is built again.
	// Without: the same epoch is tried at the next seq.
	FenceRebuilt
	// Settle (rule 6): the old leader's window is filled before data is sent.
	Settle
	// SettleFromWinner (rule 6): the window is counted from the fence that won,
	// not from the first that was tried.
	SettleFromWinner
	// FenceFloor (rule 7): the floor is read before a stored fence counts.
	FenceFloor
	// FenceFloorFresh (rule 7): that floor is read after the fence was stored.
	// Without: a floor read before fencing suffices.
	FenceFloorFresh
	// ReadFloorAtFence (rule 8): a reader reads the floor before it takes a fence.
	ReadFloorAtFence
	// ReadFloorAtVoid (rule 8): ... before it passes over a void.
	ReadFloorAtVoid
	// ReadFloorAtContradiction (rule 8): ... before it calls a journal broken.
	ReadFloorAtContradiction
	// ReadFloorFresh (rule 8): that floor is read after the object was.
	// Without: the last known floor suffices.
	ReadFloorFresh
	// ReadFloorAtGap (proof of the head): a reader that finds nothing at a seq
	// reads the floor before it takes that for the end of the log.
	ReadFloorAtGap
	// LeadFloorAtGap (proof of the head): so does a leader that finds its lowest
	// unconfirmed seq absent, having sent it.
	LeadFloorAtGap
	// FloorsOnce (rule 7): a floor object is created once. Without: an old
	// leader may overwrite the last one.
	FloorsOnce
	// FloorFirst (rule 9): nothing is deleted before a floor above it exists.
	FloorFirst
	// FloorBelowHead (rule 9): the floor is not above its leader's last
	// confirmed seq. Without: it may pass everything that is stored.
	FloorBelowHead
	// FencesKept (rule 9): fences are never deleted.
	FencesKept
	// FillersKept (rule 9): fillers are never deleted.
	FillersKept
	// VoidsKept (rule 9): voids are never deleted.
	VoidsKept

	endOfRules
)

// AllRules is every rule that can be switched off.
const AllRules = endOfRules - 1

var ruleNames = [...]string{
	"ack in order", "window from the lowest unresolved", "same bytes", "read back", "answer of the object",
	"epoch from the log", "fence rebuilt", "settle", "settle from the fence that won",
	"floor after the fence", "floor read begun after the fence",
	"reader: floor at a fence", "reader: floor at a void", "reader: floor at a contradiction",
	"reader: floor read begun after the object", "reader: floor at a gap", "leader: floor at a gap",
	"floors created once",
	"floor first", "floor below the head", "fences kept", "fillers kept", "voids kept",
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
