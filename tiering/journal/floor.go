package journal

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Kinds of entries from ownEntries on are the journal's own: no state machine gets
// to see them. Those below belong to the journal's state machine.
const ownEntries uint16 = 0xff00

// EntryFloor is the kind of the entry that plans a floor.
const EntryFloor uint16 = 0xff00

// FloorPlan is the entry that comes before a floor (PROTOCOL.md, rule 9): which
// checkpoint the floor object of this number will name. With the checkpoint's
// bytes, of which there is one string only, it fixes the floor object's bytes, so
// that the next leader can store the same.
type FloorPlan struct {
	N      uint64      // number of the floor object
	At     segment.Ref // of the checkpoint; the floor is the seq after it
	Object segment.ID  // of the floor object
}

// floorPlanVersion is the only version of the payload.
const floorPlanVersion = 1

// Floor is the seq that the floor will be.
func (p FloorPlan) Floor() uint64 { return p.At.Seq + 1 }

// Entry is the entry in a data segment, at most once:
//
//	 0  1  version, 1
//	 1  8  number of the floor object
//	 9  8  seq of the checkpoint
//	17 16  object id of the valid object at that seq
//	33 16  object id of the floor object
func (p FloorPlan) Entry() segment.Entry {
	w := wire.Writer{B: make([]byte, 0, 49)}
	w.U8(floorPlanVersion)
	p.encode(&w)
	return segment.Entry{Kind: EntryFloor, Payload: w.B}
}

func (p FloorPlan) encode(w *wire.Writer) {
	w.U64(p.N)
	w.U64(p.At.Seq)
	w.ID(p.At.Object)
	w.ID(p.Object)
}

func readFloorPlan(r *wire.Reader) FloorPlan {
	return FloorPlan{N: r.U64(), At: segment.Ref{Seq: r.U64(), Object: r.ID()}, Object: r.ID()}
}

func (p FloorPlan) valid() bool {
	return p.N > 0 && p.At.Seq > 0 && !p.At.Object.IsZero() && !p.Object.IsZero()
}

func decodeFloorPlan(payload []byte) (FloorPlan, error) {
	r := wire.NewReader(payload)
	if v := r.U8(); r.Err() == nil && v != floorPlanVersion {
		return FloorPlan{}, fmt.Errorf("%w: floor entry of version %d, this program reads %d", segment.ErrUnsupported, v, floorPlanVersion)
	}
	p := readFloorPlan(r)
	err := r.Close()
	if err == nil && !p.valid() {
		err = fmt.Errorf("floor %d after seq %d", p.N, p.At.Seq)
	}
	if err != nil {
		return FloorPlan{}, fmt.Errorf("%w: floor entry: %w", segment.ErrCorrupt, err)
	}
	return p, nil
}

// NewObject is an object as its readers need it, from all of its entries: the
// journal's own are taken out from among those of its state machine. One that this
// program does not know is segment.ErrUnsupported.
func NewObject(footer *segment.Footer, entries []segment.Entry) (*Object, error) {
	o := &Object{Footer: footer}
	for _, e := range entries {
		if e.Kind < ownEntries {
			o.Entries = append(o.Entries, e)
			continue
		}
		if err := o.addOwn(e); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// addOwn takes an entry that is the journal's own.
func (o *Object) addOwn(e segment.Entry) error {
	seq := o.Footer.Header.Seq
	switch {
	case e.Kind == EntryFloor && o.Floor == nil:
		p, err := decodeFloorPlan(e.Payload)
		o.Floor = &p
		return err
	case e.Kind == EntryEnd && o.End == nil:
		end, err := decodeEnd(e.Payload)
		o.End = &end
		return err
	case e.Kind == EntryFloor:
		return fmt.Errorf("%w: seq %d plans two floors", segment.ErrCorrupt, seq)
	case e.Kind == EntryEnd:
		return fmt.Errorf("%w: seq %d ends a leadership twice", segment.ErrCorrupt, seq)
	}
	return fmt.Errorf("%w: entry of kind %d: this node is too old for its journal, upgrade it", segment.ErrUnsupported, e.Kind)
}

// maxFloorPlans is how many plans there may be for one floor object. A second one
// is made when the checkpoint of the first turns out to be damaged.
const maxFloorPlans = 16

// FloorPlans are the plans for the floor object that was planned last, the newest
// plan last. Only the floor object shows which of them was carried out.
type FloorPlans []FloorPlan

// Note takes the plan of the next valid object, or says why it cannot stand there:
// with ErrBroken. Plans are numbered in order, the floor only rises, and it never
// passes the seq that the leader had confirmed when it planned.
func (ps *FloorPlans) Note(p FloorPlan, h *segment.Header) error {
	var last FloorPlan
	if n := len(*ps); n > 0 {
		last = (*ps)[n-1]
	}
	again := p.N == last.N && len(*ps) < maxFloorPlans
	switch {
	case p.N != last.N+1 && !again:
		return fmt.Errorf("%w: seq %d plans floor %d after floor %d", ErrBroken, h.Seq, p.N, last.N)
	case p.At.Seq <= last.At.Seq:
		return fmt.Errorf("%w: seq %d plans floor %d at seq %d, after %d", ErrBroken, h.Seq, p.N, p.Floor(), last.Floor())
	case p.Floor() > h.Confirmed:
		return fmt.Errorf("%w: seq %d plans floor %d at seq %d, when seq %d was confirmed", ErrBroken, h.Seq, p.N, p.Floor(), h.Confirmed)
	}
	if !again {
		*ps = nil
	}
	*ps = append(*ps, p)
	return nil
}

// last is the plan to be carried out, if the floor object of its number is not
// there; the zero plan if there never was one.
func (ps FloorPlans) last() FloorPlan {
	if len(ps) == 0 {
		return FloorPlan{}
	}
	return ps[len(ps)-1]
}

// Has reports whether a floor object of the journal is one that was planned.
func (ps FloorPlans) Has(f segment.Floor, journal uint32) bool {
	for _, p := range ps {
		if p.N == f.N && p.Object == f.Object && p.Floor() == f.Floor && segment.CheckpointKey(journal, p.At) == f.Checkpoint {
			return true
		}
	}
	return false
}

func (ps FloorPlans) encode(w *wire.Writer) {
	w.U32(uint32(len(ps)))
	for _, p := range ps {
		p.encode(w)
	}
}

func decodeFloorPlans(r *wire.Reader) (FloorPlans, error) {
	var ps FloorPlans
	for range r.Count(r.U32(), 48) {
		p := readFloorPlan(r)
		if r.Err() == nil && (!p.valid() || len(ps) > 0 && (p.N != ps[0].N || p.At.Seq <= ps.last().At.Seq)) {
			return nil, fmt.Errorf("%w: floor %d at seq %d planned after floor %d", segment.ErrCorrupt, p.N, p.Floor(), ps.last().N)
		}
		ps = append(ps, p)
	}
	if len(ps) > maxFloorPlans || r.Err() == nil && len(ps) == 0 {
		return nil, fmt.Errorf("%w: %d plans of a floor, from 1 to %d", segment.ErrCorrupt, len(ps), maxFloorPlans)
	}
	return ps, nil
}
