package journal

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// ErrEnded: the leadership, or the reading, is over.
var ErrEnded = errors.New("journal is not led, or not followed, any more")

// FencedError is an ErrFenced of an object of another leadership.
type FencedError struct {
	Node    segment.ID // its leader
	Epoch   uint32
	Journal uint32
	Seq     uint64
	Own     uint32 // epoch of the leadership that is over; 0: it had none yet
}

// Error implements error.
func (e *FencedError) Error() string {
	s := fmt.Sprintf("%v: node %s holds seq %d of journal %d with epoch %d", ErrFenced, e.Node, e.Seq, e.Journal, e.Epoch)
	if e.Own > 0 {
		s += fmt.Sprintf(", ours was %d", e.Own)
	}
	return s
}

// Unwrap returns ErrFenced.
func (e *FencedError) Unwrap() error { return ErrFenced }

func fencedBy(h *segment.Header, own uint32) error {
	return &FencedError{Node: h.Node, Epoch: h.Epoch, Journal: h.Journal, Seq: h.Seq, Own: own}
}

// Object is an object of a journal as its readers need it: its index and its
// entries, checked.
type Object struct {
	Footer  *segment.Footer
	Entries []segment.Entry // those of the journal's state machine
	Floor   *FloorPlan      // nil if the object plans none
	End     *End            // nil if its leadership goes on
}

// Ref is the object's place and identity.
func (o *Object) Ref() segment.Ref {
	return segment.Ref{Seq: o.Footer.Header.Seq, Object: o.Footer.Header.Object}
}

// Event is something that happened, for Core.Step.
type Event interface{ isEvent() }

// PutDone: a Put ended. Err nil means that the store confirmed this very
// request; anything else leaves the outcome unknown.
type PutDone struct {
	Seq   uint64
	Token uint64
	Err   error
}

// GotObject: a Get ended, with the object, or with Absent, or with Err.
type GotObject struct {
	Token  uint64
	Object *Object
	Absent bool
	Err    error
}

// GotFloor: a GetFloor ended. Floor is 0 where none was ever set.
type GotFloor struct {
	Token uint64
	Floor uint64
	Err   error
}

// Beyond: a LookBeyond ended, with some of the objects that there are, or with Err.
type Beyond struct {
	Token   uint64
	Objects []*Object
	Err     error
}

// Skipped: a Skip ended, with the newest checkpoint, whose state the journal's state machine
// has then, or with Err.
type Skipped struct {
	Token   uint64
	Chain   Chain
	History History
	Err     error
}

// TimerFired: a Wait is over.
type TimerFired struct{ Token uint64 }

// Poke: something may have been committed; look.
type Poke struct{}

// Stand has a follower fence at the end of the log, and lead under an incarnation that was
// never used before. A patient one gives up at a fence that it reads on the way: that one
// may lead already, or is about to. So it stands at the end of the log, or gives up soon.
// One that is not patient fences again.
type Stand struct {
	Incarnation segment.ID
	Patient     bool
}

// Resign ends a leadership, or the way to it; Err is the reason, and may be nil.
type Resign struct{ Err error }

// HandOver has a leadership end with an entry that names the next leader, which is sent
// once all objects under way are confirmed. Nothing is proposed any more. When the entry is
// confirmed the leadership ends as one that was given up. It has no effect while no leader
// is, or while readers do not know the entry.
type HandOver struct{ End End }

// TakeBack has a leadership that is handed over go on. It has no effect once the entry was
// sent; see Core.Ends.
type TakeBack struct{}

// Prove asks for a proof of the head; see Proved.
type Prove struct{}

func (PutDone) isEvent()    {}
func (GotObject) isEvent()  {}
func (GotFloor) isEvent()   {}
func (Beyond) isEvent()     {}
func (Skipped) isEvent()    {}
func (TimerFired) isEvent() {}
func (Poke) isEvent()       {}
func (Stand) isEvent()      {}
func (Resign) isEvent()     {}
func (HandOver) isEvent()   {}
func (TakeBack) isEvent()   {}
func (Prove) isEvent()      {}

// Action is something to do, or to know, in the order given.
type Action interface{ isAction() }

// Put: create the object of Seq from Bytes, once; answer with PutDone. It holds a
// reference to the bytes until no transport reads them any more, which may be long after
// the answer.
type Put struct {
	Seq   uint64
	Token uint64
	Bytes segment.Encoded
}

// Body is the bytes for objstore.Store.Create, which gives the reference of the Put back.
// A Put that is not carried out must call its Done.
func (p Put) Body() objstore.Body {
	return objstore.Body{Bytes: p.Bytes.Memory.Bytes(), CRC: p.Bytes.CRC, CRCKnown: true, Release: p.Bytes.Memory.Release}
}

// Get: read index and entries of Seq by a request that begins now; answer with
// GotObject. Up to Ahead objects after it will be asked for next and may be
// fetched early, but an absence or an error found early must not be the answer.
// Short asks for an answer within the limit of a proof.
type Get struct {
	Seq   uint64
	Token uint64
	Ahead int
	Short bool
}

// GetFloor: read the journal's floor by requests that begin now; answer with GotFloor.
type GetFloor struct{ Token uint64 }

// LookBeyond: list objects with seqs above Seq and read the index of the first
// Max of them; answer with Beyond. Objects that the listing does not show are not
// missed: only objects that are there decide anything.
type LookBeyond struct {
	Seq   uint64
	Token uint64
	Max   int
}

// Wait: answer with TimerFired after For.
type Wait struct {
	Token uint64
	For   time.Duration
}

// Skip: objects from Next on may be deleted. Load the newest checkpoint, let the journal's
// state machine have its state if it is above Next, and answer with Skipped.
type Skip struct{ Token uint64 }

// Apply: Object is the next valid object of the journal: apply it to the state. Own
// means that this leadership proposed it: its waiters may be answered. Fences and
// fillers are applied too.
type Apply struct {
	Object *Object
	Own    bool
}

// AtHead: a follower has applied all there is. It reads on after a Poke.
type AtHead struct{}

// Led: fenced and settled. Propose may be called.
type Led struct{ Epoch uint32 }

// Deposed: the leadership, or the way to it, is over, because another one holds a place in
// the journal, or by Resign. Own objects under way have an unknown outcome. It reads on
// after a Poke.
type Deposed struct{ Err error }

// Stalled: the outcome of Seq has been unknown for long. Its waiters should get that
// answer. The Core goes on trying, and its records may still be committed.
type Stalled struct{ Seq uint64 }

// Trouble: Err kept the Core from going on; it tries again. For the log.
type Trouble struct{ Err error }

// Proved: the first Through Prove events are answered: whatever was committed
// before they happened has been applied.
type Proved struct{ Through uint64 }

// ProofFailed: the first Through Prove events not answered yet have failed.
type ProofFailed struct {
	Through uint64
	Err     error
}

// Ended: nothing more happens. Err says why.
type Ended struct{ Err error }

func (Put) isAction()         {}
func (Get) isAction()         {}
func (GetFloor) isAction()    {}
func (LookBeyond) isAction()  {}
func (Wait) isAction()        {}
func (Skip) isAction()        {}
func (Apply) isAction()       {}
func (AtHead) isAction()      {}
func (Led) isAction()         {}
func (Deposed) isAction()     {}
func (Stalled) isAction()     {}
func (Trouble) isAction()     {}
func (Proved) isAction()      {}
func (ProofFailed) isAction() {}
func (Ended) isAction()       {}
