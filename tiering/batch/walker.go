package batch

import (
	"errors"
	"fmt"
	"math"
	"sort"
)

// Place says where batches of one partition lie back to back, and which offsets
// they hold.
type Place struct {
	Position, Length int64 // bytes, counted from the start of the object or buffer that holds them
	Base, Last       int64 // first and last offset; Base is not negative
	Epoch            int32 // leader epoch of every batch, or AnyEpoch
	// Epochs says from which offset on a leader epoch holds, in rising order of both. It
	// counts only with AnyEpoch. Nil: any epochs that never go back.
	Epochs []EpochStart
	// Gaps allows offsets that no batch has: before the first batch, between two, and
	// after the last. Without it a missing offset is a fault.
	Gaps bool
}

// AnyEpoch is the Epoch of a Place whose batches may have different leader epochs, which
// never go back.
const AnyEpoch int32 = -1

// EpochStart is a leader epoch, and the first offset that has it.
type EpochStart struct {
	Epoch int32
	Start int64
}

// Faults are the ways in which a batch does not fit its Place, as a set of bits.
type Faults uint8

// The faults.
const (
	FaultGap    Faults = 1 << iota // offsets are missing before the batch
	FaultRepeat                    // the batch begins at an offset before the expected one
	FaultBeyond                    // the batch ends before it begins, or after the last offset of the Place
	FaultEpoch                     // the leader epoch is another one, or goes back
	FaultCRC                       // the bytes do not have the CRC that the header names
	FaultEnd                       // after the last batch: offsets are missing before the end of the Place
)

// Walker walks the batches of a Place, one by one: Next or Check, then Skip. The
// caller brings the bytes, so that they may lie in pieces or be read on demand. The
// Walker reports batches that do not fit; its caller decides what follows from that.
// Parse and Faults are for callers that go on after a fault. Only errors allocate.
type Walker struct {
	pos, end     int64 // bytes
	offset, last int64
	epoch        int32
	least        int32 // with AnyEpoch, the least epoch that the next batch may have
	epochs       []EpochStart
	gaps         bool
}

// NewWalker returns a Walker at the first batch of a place.
func NewWalker(p Place) Walker {
	return Walker{
		pos: p.Position, end: p.Position + p.Length, offset: p.Base, last: p.Last,
		epoch: p.Epoch, least: math.MinInt32, epochs: p.Epochs, gaps: p.Gaps,
	}
}

// bytesOf is the Walker of a buffer whose offsets are not looked at.
func bytesOf(b []byte) Walker { return Walker{end: int64(len(b))} }

// MoveTo goes to a batch in the middle: to its position, and the offset it must have.
func (w *Walker) MoveTo(position, offset int64) { w.pos, w.offset = position, offset }

// Position is where the next batch starts.
func (w *Walker) Position() int64 { return w.pos }

// Offset is the one that the next batch must start with; with gaps, the least one.
func (w *Walker) Offset() int64 { return w.offset }

// Left is how many bytes there are from Position to the end.
func (w *Walker) Left() int64 { return w.end - w.pos }

// Parse returns the header of the batch at Position, whose bytes start b; b must hold all
// bytes that are Left, or the header. After an error the end of the batch is not known, so
// the walk ends here. The errors are those of the function Parse; ErrShort is also a batch
// that reaches beyond the end. With an error the header is set if it could be read.
func (w *Walker) Parse(b []byte) (Header, error) {
	left := w.end - w.pos
	if err := checkHeader(b[:min(int64(len(b)), left)]); err != nil {
		return Header{}, err
	}
	h := decode((*[HeaderSize]byte)(b))
	if int64(h.Size()) > left {
		return h, ErrShort
	}
	return h, nil
}

// Faults holds the header of the batch at Position against the Place. The CRC is not
// checked.
func (w *Walker) Faults(h *Header) (f Faults) {
	switch {
	case h.BaseOffset < w.offset:
		f = FaultRepeat
	case h.BaseOffset > w.offset && !w.gaps:
		f = FaultGap
	}
	// Only a repeated offset can be so small that the difference overflows.
	if h.LastOffsetDelta < 0 || int64(h.LastOffsetDelta) > w.last-h.BaseOffset {
		f |= FaultBeyond
	}
	if !w.inEpoch(h) {
		f |= FaultEpoch
	}
	return f
}

// inEpoch reports whether a batch has the leader epoch that it must have.
func (w *Walker) inEpoch(h *Header) bool {
	switch {
	case w.epoch != AnyEpoch:
		return h.LeaderEpoch == w.epoch
	case w.epochs == nil:
		return h.LeaderEpoch >= w.least
	}
	i := w.inForce(h.BaseOffset)
	return i >= 0 && h.LeaderEpoch == w.epochs[i].Epoch
}

// inForce returns which of the epochs holds at an offset, -1 if none does.
func (w *Walker) inForce(offset int64) int {
	return sort.Search(len(w.epochs), func(i int) bool { return w.epochs[i].Start > offset }) - 1
}

// Next is Parse and Faults in one. Its error is a *PlaceError.
func (w *Walker) Next(b []byte) (Header, error) {
	h, err := w.Parse(b)
	if err != nil {
		return Header{}, w.failed(&h, 0, err)
	}
	if f := w.Faults(&h); f != 0 {
		return Header{}, w.failed(&h, f, nil)
	}
	return h, nil
}

// Check is Next for a batch that b holds whole, and checks its CRC, too.
func (w *Walker) Check(b []byte) (Header, error) {
	h, err := w.Next(b)
	switch {
	case err != nil:
		return Header{}, err
	case len(b) < h.Size():
		return Header{}, w.failed(&h, 0, ErrShort)
	case !CheckCRC(b, h):
		return Header{}, w.Failed(&h, FaultCRC)
	}
	return h, nil
}

// Skip steps over the batch at Position.
func (w *Walker) Skip(h *Header) {
	w.pos += int64(h.Size())
	w.offset = max(w.offset, h.LastOffset()+1)
	w.least = max(w.least, h.LeaderEpoch)
}

// End checks, once nothing is Left, that the batches end with the last offset.
func (w *Walker) End() error {
	if w.offset > w.last || w.gaps {
		return nil
	}
	return w.Failed(&Header{}, FaultEnd)
}

// Failed is the error of faults that the batch at Position has.
func (w *Walker) Failed(h *Header, f Faults) error { return w.failed(h, f, nil) }

func (w *Walker) failed(h *Header, f Faults, err error) error {
	return &PlaceError{Position: w.pos, Header: *h, Faults: f, Err: err, walker: *w}
}

// PlaceError is a batch that does not fit the place where it was found.
type PlaceError struct {
	Position int64  // of the batch
	Header   Header // zero if it could not be read
	Faults   Faults
	Err      error // why the end of the batch is not known; nil if it is
	walker   Walker
}

func (e *PlaceError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Position, e.Reason()) }

// Unwrap makes a PlaceError the error of a batch that cannot be parsed.
func (e *PlaceError) Unwrap() error { return e.Err }

// Reason is the error without the position.
func (e *PlaceError) Reason() string {
	h := &e.Header
	switch w := &e.walker; {
	case errors.Is(e.Err, ErrShort) && h.Length > 0:
		return fmt.Sprintf("a batch of %d bytes reaches beyond the end of the records at byte %d", h.Size(), w.end)
	case e.Err != nil:
		return e.Err.Error()
	case e.Faults&FaultEnd != 0:
		return fmt.Sprintf("the batches end with offset %d, not %d", w.offset-1, w.last)
	case e.Faults&FaultRepeat != 0 && w.gaps:
		return fmt.Sprintf("a batch has offsets %d to %d, must start at %d or later", h.BaseOffset, h.LastOffset(), w.offset)
	case e.Faults&(FaultRepeat|FaultGap) != 0:
		return fmt.Sprintf("a batch has offsets %d to %d, must start at %d", h.BaseOffset, h.LastOffset(), w.offset)
	case e.Faults&FaultBeyond != 0:
		return fmt.Sprintf("a batch has offsets %d to %d, must end at %d at the latest", h.BaseOffset, h.LastOffset(), w.last)
	case e.Faults&FaultEpoch != 0:
		return w.wrongEpoch(h)
	}
	return fmt.Sprintf("the batch with offset %d fails its CRC", h.BaseOffset)
}

func (w *Walker) wrongEpoch(h *Header) string {
	switch i := w.inForce(h.BaseOffset); {
	case w.epoch != AnyEpoch:
		return fmt.Sprintf("a batch has leader epoch %d, not %d", h.LeaderEpoch, w.epoch)
	case w.epochs == nil:
		return fmt.Sprintf("a batch has leader epoch %d, after %d", h.LeaderEpoch, w.least)
	case i < 0:
		return fmt.Sprintf("the batch with offset %d lies before the first leader epoch", h.BaseOffset)
	default:
		return fmt.Sprintf("the batch with offset %d has leader epoch %d, not %d", h.BaseOffset, h.LeaderEpoch, w.epochs[i].Epoch)
	}
}
