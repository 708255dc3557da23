package journal

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// maxHistory bounds both lists of a History. An item that is dropped is so old that no
// write-ahead log of its time can be replayed: its offsets are long taken.
const maxHistory = 1024

// History is taken from the valid objects of a journal. It has the leaderships,
// the position up to which the write-ahead log of each start is in the bucket,
// and the plans of the floor.
type History struct {
	leaderships []leadership // ascending epochs
	covered     []coverage   // the one noted last is last
	floors      FloorPlans
}

type leadership struct {
	epoch       uint32
	incarnation segment.ID
}

type coverage struct {
	incarnation segment.ID
	to          uint64
}

// Covered is the LSN below which all records of an incarnation's write-ahead log
// are in valid objects; 0 if none are known to be.
func (h *History) Covered(incarnation segment.ID) uint64 {
	for _, c := range h.covered {
		if c.incarnation == incarnation {
			return c.to
		}
	}
	return 0
}

// Planned are the plans for the floor.
func (h *History) Planned() FloorPlans { return append(FloorPlans(nil), h.floors...) }

// LedSince calls fn for the incarnations that led with an epoch above after and
// below before, in order.
func (h *History) LedSince(after, before uint32, fn func(epoch uint32, incarnation segment.ID)) {
	for _, l := range h.leaderships {
		if l.epoch > after && l.epoch < before {
			fn(l.epoch, l.incarnation)
		}
	}
}

// note takes the next valid object. The error is ErrBroken: nothing was noted.
func (h *History) note(o *Object) error {
	if o.Floor != nil {
		if err := h.floors.Note(*o.Floor, &o.Footer.Header); err != nil {
			return err
		}
	}
	h.noteWAL(&o.Footer.Header)
	return nil
}

func (h *History) noteWAL(o *segment.Header) {
	if o.Kind == segment.KindFence {
		h.leaderships = append(h.leaderships, leadership{o.Epoch, o.Incarnation})
		h.leaderships = h.leaderships[max(0, len(h.leaderships)-maxHistory):]
	}
	if o.WAL.To == 0 {
		return
	}
	c := coverage{incarnation: o.WAL.Incarnation, to: o.WAL.To}
	for i := range h.covered {
		if h.covered[i].incarnation == c.incarnation {
			c.to = max(c.to, h.covered[i].to)
			h.covered = append(h.covered[:i], h.covered[i+1:]...)
			break
		}
	}
	h.covered = append(h.covered, c)
	h.covered = h.covered[max(0, len(h.covered)-maxHistory):]
}

func (h *History) clone() History {
	return History{
		leaderships: append([]leadership(nil), h.leaderships...),
		covered:     append([]coverage(nil), h.covered...),
		floors:      append(FloorPlans(nil), h.floors...),
	}
}

// encode writes all but the floors.
func (h *History) encode(w *wire.Writer) {
	w.U32(uint32(len(h.leaderships)))
	for _, l := range h.leaderships {
		w.U32(l.epoch)
		w.ID(l.incarnation)
	}
	w.U32(uint32(len(h.covered)))
	for _, c := range h.covered {
		w.ID(c.incarnation)
		w.U64(c.to)
	}
}

func decodeHistory(r *wire.Reader) (History, error) {
	var h History
	for range r.Count(r.U32(), 20) {
		h.leaderships = append(h.leaderships, leadership{r.U32(), r.ID()})
	}
	for range r.Count(r.U32(), 24) {
		h.covered = append(h.covered, coverage{r.ID(), r.U64()})
	}
	if len(h.leaderships) > maxHistory || len(h.covered) > maxHistory {
		return History{}, fmt.Errorf("%w: history of %d and %d, at most %d", segment.ErrCorrupt, len(h.leaderships), len(h.covered), maxHistory)
	}
	return h, nil
}

// NewHistory returns a History without leaderships that covers the records of
// write-ahead logs up to an LSN, by incarnation. It is for tests of replay.
func NewHistory(covered map[segment.ID]uint64) History {
	var h History
	for incarnation, to := range covered {
		h.covered = append(h.covered, coverage{incarnation, to})
	}
	return h
}
