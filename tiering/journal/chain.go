package journal

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
)

// Errors that end the reading of a journal, or a leadership.
var (
	// ErrBroken: the objects of the journal contradict each other, or one that
	// was committed is missing. Nothing is skipped: an operator must look.
	ErrBroken = errors.New("journal is broken")
	// ErrDamaged: an object that has to be read is no object of this journal, or not
	// as it was written, also when it is read again. It never becomes right by itself.
	ErrDamaged = errors.New("object is damaged or foreign")
	// ErrForeign: the bucket lacks an object that this node saw committed in it, or holds
	// something else in its place: a restored, rolled-back or other bucket.
	ErrForeign = errors.New("bucket does not hold an object that this node saw committed")
	// ErrBelowFloor: the position lies below the journal's floor, where objects
	// may be gone. Start again from the checkpoint that the floor names.
	ErrBelowFloor = errors.New("position lies below the journal's floor")
	// ErrFenced: a higher epoch holds a place in the journal; see FencedError.
	ErrFenced = errors.New("another node has taken over the journal")
	// ErrUnsettled: a place that settling had resolved holds an older epoch.
	ErrUnsettled = errors.New("an older leadership wrote after it was settled")
	// ErrTwin: two processes write under one leadership.
	ErrTwin = errors.New("two processes share one leadership")
)

// Verdict is the meaning of an object to readers of the journal in order.
type Verdict uint8

// Void objects say nothing; valid ones are applied.
const (
	Void  Verdict = 1
	Valid Verdict = 2
)

// Chain holds the facts that reading a journal in order has established so far. Every
// rule about which object may follow which stands here and nowhere else (PROTOCOL.md,
// rules 5, 6 and 8). It is a value: a copy is a snapshot.
type Chain struct {
	Cluster segment.ID
	Journal uint32
	Window  uint64

	Next   uint64      // the seq to be read next; all below are resolved
	Epoch  uint32      // highest epoch of the objects below Next
	Fence  segment.Ref // the object that opened Epoch
	Tail   segment.Ref // the next data segment of Epoch names it: its last data segment, or Fence
	Last   segment.Ref // the next fence names it: the last valid object of any kind
	Leader segment.ID  // node that wrote Fence

	// Spared is the floor in force if Next was taken from the floor before it, as the
	// checkpoint of the former is lost: the objects in between are not deleted.
	Spared uint64
}

// NewChain stands before the first object of a journal.
func NewChain(cluster segment.ID, journal uint32, window int) Chain {
	return Chain{Cluster: cluster, Journal: journal, Window: uint64(window), Next: 1}
}

// Check says what h means at Next, without moving. The error is ErrBroken with
// the reason.
func (c *Chain) Check(h *segment.Header) (Verdict, error) {
	switch {
	case h.Cluster != c.Cluster:
		return 0, c.broken("belongs to cluster %s", h.Cluster.Base64())
	case h.Journal != c.Journal || h.Seq != c.Next:
		return 0, c.broken("says it is seq %d of journal %d", h.Seq, h.Journal)
	case h.Confirmed >= h.Seq:
		return 0, c.broken("says that seq %d is confirmed", h.Confirmed)
	case h.Epoch == 0:
		return 0, c.broken("has no epoch")
	case h.Epoch < c.Epoch && h.Confirmed >= c.Fence.Seq:
		return 0, c.broken("is of epoch %d, whose leader had confirmed seq %d, but the fence of epoch %d is at seq %d",
			h.Epoch, h.Confirmed, c.Epoch, c.Fence.Seq)
	case h.Epoch < c.Epoch:
		return Void, nil
	case h.Epoch > c.Epoch:
		return Valid, c.checkFence(h)
	}
	return Valid, c.checkFollower(h)
}

// checkFence judges an object that opens a new epoch.
func (c *Chain) checkFence(h *segment.Header) error {
	switch {
	case h.Kind != segment.KindFence:
		return c.broken("has epoch %d, which no fence has opened", h.Epoch)
	case h.Epoch != c.Epoch+1:
		return c.broken("opens epoch %d after epoch %d", h.Epoch, c.Epoch)
	case h.Prev != c.Last:
		return c.broken("follows %v, but the last valid object is %v", h.Prev, c.Last)
	}
	return nil
}

// checkFollower judges an object of the epoch in force.
func (c *Chain) checkFollower(h *segment.Header) error {
	settled := h.Seq >= c.Fence.Seq+c.Window
	switch {
	case h.Kind == segment.KindFiller && settled:
		return c.broken("is a filler beyond the window of its fence at %d", c.Fence.Seq)
	case h.Kind == segment.KindFiller && h.Prev != c.Fence:
		return c.broken("is a filler of fence %v, but the fence is %v", h.Prev, c.Fence)
	case h.Kind == segment.KindFiller:
		return nil
	case h.Kind != segment.KindData:
		return c.broken("is a second fence of epoch %d", h.Epoch)
	case !settled:
		return c.broken("holds data before epoch %d was settled", h.Epoch)
	case h.Prev != c.Tail:
		return c.broken("follows %v, but the segment before it is %v", h.Prev, c.Tail)
	}
	return nil
}

// Advance moves past h, for which Check gave v.
func (c *Chain) Advance(h *segment.Header, v Verdict) {
	c.Next++
	if v != Valid {
		return
	}
	ref := segment.Ref{Seq: h.Seq, Object: h.Object}
	c.Last = ref
	switch h.Kind {
	case segment.KindFence:
		c.Epoch, c.Fence, c.Tail, c.Leader = h.Epoch, ref, ref, h.Node
	case segment.KindData:
		c.Tail = ref
	}
}

// Surprising reports whether h is anything but the next object of the epoch in
// force that names its predecessor. Only such an object can be a late write to
// a key whose rightful object was deleted. So only after such an object the
// floor must be read again before the object counts (PROTOCOL.md, rule 8).
func (c *Chain) Surprising(h *segment.Header) bool {
	v, err := c.Check(h)
	return err != nil || v == Void || h.Kind == segment.KindFence
}

// CheckGap judges that there is no object at Next: ErrForeign if this node saw
// one committed there, or beyond: witness is the highest that it ever saw. Objects that
// were read decide nothing here: all of them know only of lower seqs.
func (c *Chain) CheckGap(witness segment.Ref) error {
	if c.Next <= witness.Seq {
		return fmt.Errorf("%w: journal %d has nothing at seq %d, but this node saw seq %d (%s)",
			ErrForeign, c.Journal, c.Next, witness.Seq, witness.Object)
	}
	return nil
}

// CheckBeyond judges an object above Next, where there is none: ErrBroken if it
// can only be there because Next was resolved.
func (c *Chain) CheckBeyond(h *segment.Header) error {
	switch {
	case h.Cluster != c.Cluster || h.Journal != c.Journal:
		return c.broken("is absent, but there is seq %d, which is of journal %d of cluster %s", h.Seq, h.Journal, h.Cluster.Base64())
	case h.Seq <= c.Next:
		return nil
	case h.Confirmed >= c.Next:
		return c.broken("is missing: the object at seq %d knows seq %d to be confirmed", h.Seq, h.Confirmed)
	case h.Seq >= c.Next+c.Window:
		return c.broken("is missing, but seq %d, which is sent only after it, is there", h.Seq)
	}
	return nil
}

// CheckWitness compares h at Next with the object that this node saw committed there.
func (c *Chain) CheckWitness(h *segment.Header, witness segment.Ref) error {
	if h.Seq != witness.Seq || h.Object == witness.Object {
		return nil
	}
	return fmt.Errorf("%w: journal %d has object %s at seq %d, but this node saw %s",
		ErrForeign, c.Journal, h.Object, h.Seq, witness.Object)
}

func (c *Chain) broken(format string, args ...any) error {
	return fmt.Errorf("%w: the object at seq %d of journal %d %s", ErrBroken, c.Next, c.Journal, fmt.Sprintf(format, args...))
}
