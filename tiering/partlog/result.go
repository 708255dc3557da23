package partlog

import (
	"fmt"
	"math"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Result puts extents of a job's objects in place of those that cover the same offsets.
//
//	 0  1  version, 1
//	 1  1  1 if it is the last one of its intent, which ends with it
//	 2 16  job
//	18  4  objects
//	22  4  partitions, 1 to 1000
//	26     the objects, each a merged object, in the order in which the extents name them
//	       the partitions, in the order of topic id and number:
//	    0 16  topic id
//	   16  4  partition
//	   20  8  first offset
//	   28  8  offset after the last one
//	   36  8  bytes of the journal ranges that are replaced; zero if none are
//	   44  4  own segments that are replaced
//	   48  4  extents, at least 1
//	   52     the replaced own segments, each a merged object and its piece
//	          the extents, each a piece, that cover the offsets without a gap
type Result struct {
	Job   segment.ID
	Last  bool // the intent ends with it
	Parts []ResultPart
}

// ResultPart is a Result's part in one partition.
type ResultPart struct {
	Key
	From, To int64
	// Source is the number of bytes of the journal ranges that are replaced, and of those that
	// were deleted before they were merged. It is for statistics alone.
	Source int64
	// Replaced are the extents in own segments that are replaced, in offset order. A node
	// may have them in pages, which Apply cannot read.
	Replaced []Extent
	// Extents cover the offsets from From up to To. Those of journal objects are there
	// for damaged sources, and stay where they are.
	Extents []Extent
}

const (
	resultPartSize = 52
	mergedSize     = 68
	pieceSize      = 68
	ofJournal      = math.MaxUint32 // in place of an object's number: the piece is of a journal object
)

// Encode returns the entry.
func (e *Result) Encode() segment.Entry {
	var objects, parts wire.Writer
	numbers := map[segment.Name]uint32{}
	for i := range e.Parts {
		p := &e.Parts[i]
		parts.ID(p.Topic)
		parts.I32(p.Index)
		parts.I64(p.From)
		parts.I64(p.To)
		parts.I64(p.Source)
		parts.U32(uint32(len(p.Replaced)))
		parts.U32(uint32(len(p.Extents)))
		for i := range p.Replaced {
			appendMerged(&parts, &p.Replaced[i])
			appendPiece(&parts, 0, &p.Replaced[i])
		}
		for i := range p.Extents {
			x, number := &p.Extents[i], uint32(ofJournal)
			if x.merged() {
				known := false
				if number, known = numbers[x.Object]; !known {
					number = uint32(len(numbers))
					numbers[x.Object] = number
					appendMerged(&objects, x)
				}
			}
			appendPiece(&parts, number, x)
		}
	}
	w := wire.Writer{B: make([]byte, 0, 26+len(objects.B)+len(parts.B))}
	w.U8(entryVersion)
	w.U8(flag(e.Last))
	w.ID(e.Job)
	w.U32(uint32(len(numbers)))
	w.U32(uint32(len(e.Parts)))
	w.Raw(objects.B)
	w.Raw(parts.B)
	return segment.Entry{Kind: EntryResult, Payload: w.B}
}

func flag(is bool) uint8 {
	if is {
		return 1
	}
	return 0
}

// DecodeResult reads the payload of an EntryResult of a journal.
func DecodeResult(journal uint32, payload []byte) (*Result, error) {
	r, err := openPayload(payload)
	if err != nil {
		return nil, fmt.Errorf("decode result entry: %w", err)
	}
	last := r.U8()
	e := &Result{Last: last == 1, Job: r.ID()}
	d := resultDecoder{r: r, journal: journal}
	objects, parts := r.U32(), r.U32()
	ok := last <= 1 && !e.Job.IsZero() && parts > 0 && parts <= MaxResultPartitions
	for range r.Count(objects, mergedSize) {
		d.objects = append(d.objects, readMerged(r))
	}
	d.uses = make([]int, len(d.objects))
	e.Parts = make([]ResultPart, r.Count(parts, resultPartSize))
	for i := range e.Parts {
		reason := d.part(&e.Parts[i])
		if i > 0 && e.Parts[i-1].Compare(e.Parts[i].Key) >= 0 {
			reason = "it stands out of order"
		}
		if r.Err() == nil && reason != "" {
			return nil, fmt.Errorf("decode result entry: %w: partition %s-%d: %s", segment.ErrCorrupt, e.Parts[i].Topic, e.Parts[i].Index, reason)
		}
	}
	if err := closePayload(r, ok && d.named == len(d.objects)); err != nil {
		return nil, fmt.Errorf("decode result entry: %w", err)
	}
	return e, nil
}

type resultDecoder struct {
	r       *wire.Reader
	journal uint32
	objects []mergedObject
	uses    []int // of each object
	named   int   // how many objects the pieces have named so far
}

// part reads a partition, and returns why it cannot be right, or nothing.
func (d *resultDecoder) part(p *ResultPart) string {
	r := d.r
	p.Key, p.From, p.To, p.Source = readKey(r), r.I64(), r.I64(), r.I64()
	replaced, extents := r.U32(), r.U32()
	switch {
	case r.Err() != nil:
		return ""
	case !p.Key.valid() || p.From < 0 || p.To <= p.From || p.To > maxOffset+1 || p.Source < 0 || extents == 0:
		return fmt.Sprintf("%d extents from offset %d to %d, in place of %d bytes", extents, p.From, p.To, p.Source)
	}
	if reason := d.replaced(p, replaced); reason != "" {
		return reason
	}
	next := p.From
	for range r.Count(extents, pieceSize) {
		x, reason := d.extent(p.Key)
		switch {
		case r.Err() != nil:
			return ""
		case reason != "":
			return reason
		case x.Base != next:
			return fmt.Sprintf("an extent from offset %d on, the one before ends at %d", x.Base, next)
		}
		p.Extents, next = append(p.Extents, x), x.Last+1
	}
	if r.Err() == nil && next != p.To {
		return fmt.Sprintf("its extents end at offset %d, not at %d", next, p.To)
	}
	return ""
}

// replaced reads n own segments that are replaced.
func (d *resultDecoder) replaced(p *ResultPart, n uint32) string {
	next := p.From
	for range d.r.Count(n, mergedSize+pieceSize) {
		object := readMerged(d.r)
		number, piece := readPiece(d.r)
		x := piece.extent(d.journal, p.Key, &object)
		switch reason := x.implausible(); {
		case d.r.Err() != nil:
			return ""
		case reason != "":
			return reason
		case number != 0 || piece.Seq != 0 || !x.Object.Own() || x.Base < next || x.Last >= p.To:
			return fmt.Sprintf("replaces offsets %d to %d of %s, after %d", x.Base, x.Last, x.Object.Key(), next)
		default:
			p.Replaced, next = append(p.Replaced, x), x.Last+1
		}
	}
	return ""
}

// extent reads an extent, and returns why it cannot be right, or nothing.
func (d *resultDecoder) extent(k Key) (Extent, string) {
	number, piece := readPiece(d.r)
	var object *mergedObject
	if number != ofJournal {
		if int64(number) > int64(d.named) || int64(number) >= int64(len(d.objects)) {
			return Extent{}, fmt.Sprintf("names object %d of %d, %d are named before", number, len(d.objects), d.named)
		}
		if int(number) == d.named {
			d.named++
		}
		object = &d.objects[number]
		if d.uses[number]++; object.base >= 0 && d.uses[number] > 1 {
			return Extent{}, "has two extents in one own segment"
		}
	}
	x := piece.extent(d.journal, k, object)
	if object != nil && piece.Seq != 0 {
		return x, fmt.Sprintf("names seq %d for a merged segment", piece.Seq)
	}
	return x, x.implausible()
}
