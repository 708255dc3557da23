package journal

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// EntryEnd is the kind of the entry that ends a leadership.
const EntryEnd uint16 = 0xff01

// End is the entry by which a leader hands its journal over (PROTOCOL.md, rule 32). It
// decides nothing: any node may fence, and it says which one is to.
type End struct {
	To         segment.ID // the node that is to lead next
	Assignment uint32     // number of the assignment that this carries out; 0 for journal 0
}

// endVersion is the only version of the payload.
const endVersion = 1

// Entry is the entry in a data segment, at most once:
//
//	 0  1  version, 1
//	 1 16  data folder of the node that is to lead next
//	17  4  number of the assignment
func (e End) Entry() segment.Entry {
	w := wire.Writer{B: make([]byte, 0, 21)}
	w.U8(endVersion)
	w.ID(e.To)
	w.U32(e.Assignment)
	return segment.Entry{Kind: EntryEnd, Payload: w.B}
}

func decodeEnd(payload []byte) (End, error) {
	r := wire.NewReader(payload)
	if v := r.U8(); r.Err() == nil && v != endVersion {
		return End{}, fmt.Errorf("%w: end entry of version %d, this program reads %d", segment.ErrUnsupported, v, endVersion)
	}
	e := End{To: r.ID(), Assignment: r.U32()}
	err := r.Close()
	if err == nil && e.To.IsZero() {
		err = fmt.Errorf("it names no successor")
	}
	if err != nil {
		return End{}, fmt.Errorf("%w: end entry: %w", segment.ErrCorrupt, err)
	}
	return e, nil
}

// This part of Core hands a journal over: it stops, sends the end entry, and gives the
// leadership up when that is confirmed.

// MayEnd reports whether all readers of the journal know end entries.
func (c *Core) MayEnd() bool { return c.cfg.Ends != nil && c.cfg.Ends() }

// handOver has nothing more proposed. The end entry follows all that was.
func (c *Core) handOver(e End) {
	if c.phase == leading && c.ending == nil && c.MayEnd() {
		c.ending = &e
		c.sendEnd()
	}
}

// sendEnd sends the end entry once everything before it is confirmed. From then on the
// leadership can only end.
func (c *Core) sendEnd() {
	if c.ending == nil || c.endSent || len(c.slots) > 0 {
		return
	}
	h := c.Header()
	c.endSent = true
	c.sendOwn(h, c.ending.Entry())
}

// takeBack has the leadership go on, unless the end entry was sent. A success of that may
// come at any time.
func (c *Core) takeBack() {
	if !c.endSent {
		c.ending = nil
	}
}

// Ends reports whether the end entry was sent: nothing takes it back.
func (c *Core) Ends() bool { return c.endSent }
