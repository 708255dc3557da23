package partlog

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Class says why something is garbage, and so how long it stays in the bucket.
type Class uint8

// The classes.
const (
	ClassMerge Class = 1 // it was replaced: a short grace spares readers a second look
	ClassUser  Class = 2 // retention, a deletion of records or of a topic freed it: users err
)

// MaxGarbage is how much garbage may wait for its first deletion before Releases wait,
// without the objects of intents that ended.
const MaxGarbage = 10_000

// Judged says which journal objects were judged so far: all below Seq were released, or
// stay forever. Epoch is that of the last fence below Seq: objects of a lower one are void.
// Both are 0 before the first.
type Judged struct {
	Seq   uint64
	Epoch uint32
}

// Freed is the offset below which no extent of a partition is kept.
type Freed struct {
	Key
	Offset int64
}

// Seqs are those from First to Last of data objects of the journal.
type Seqs struct{ First, Last uint64 }

// Release names objects that may be deleted from now on. Apply never finds any by itself.
//
//	 0  1  version, 1
//	 1  1  class, 1 or 2
//	 2  8  judged: seq
//	10  4  judged: epoch
//	14  4  freed partitions
//	18  4  objects
//	22  4  ranges of seqs
//	26     the freed partitions, in the order of topic id and number:
//	    0 16  topic id
//	   16  4  partition
//	   20  8  offset
//	       the objects, as in an Intent
//	       the ranges of seqs, in their order, without an overlap:
//	    0  8  first
//	    8  8  last
type Release struct {
	Class   Class
	Judged  Judged // not lower than that of the Release before
	Freed   []Freed
	Objects []segment.Name // of which no extent is left
	Seqs    []Seqs         // of valid data objects, which no extent names
}

const (
	releaseFixedSize = 26
	freedSize        = 28
	seqsSize         = 16
)

// Encode returns the entry.
func (e *Release) Encode() segment.Entry {
	size := releaseFixedSize + len(e.Freed)*freedSize + len(e.Objects)*intentObjectSize + len(e.Seqs)*seqsSize
	w := wire.Writer{B: make([]byte, 0, size)}
	w.U8(entryVersion)
	w.U8(uint8(e.Class))
	w.U64(e.Judged.Seq)
	w.U32(e.Judged.Epoch)
	w.U32(uint32(len(e.Freed)))
	w.U32(uint32(len(e.Objects)))
	w.U32(uint32(len(e.Seqs)))
	for _, f := range e.Freed {
		w.ID(f.Topic)
		w.I32(f.Index)
		w.I64(f.Offset)
	}
	for _, n := range e.Objects {
		appendName(&w, n)
	}
	appendSeqs(&w, e.Seqs)
	return segment.Entry{Kind: EntryRelease, Payload: w.B}
}

// DecodeRelease reads the payload of an EntryRelease of a journal.
func DecodeRelease(journal uint32, payload []byte) (*Release, error) {
	r, err := openPayload(payload)
	if err != nil {
		return nil, fmt.Errorf("decode release entry: %w", err)
	}
	e := &Release{Class: Class(r.U8()), Judged: Judged{Seq: r.U64(), Epoch: r.U32()}}
	freed, objects, seqs := r.U32(), r.U32(), r.U32()
	ok := (e.Class == ClassMerge || e.Class == ClassUser) && (e.Judged.Seq == 0) == (e.Judged.Epoch == 0)
	ok = ok && uint64(objects)+uint64(seqs) <= MaxGarbage
	for i := range r.Count(freed, freedSize) {
		f := Freed{readKey(r), r.I64()}
		ok = ok && f.Key.valid() && f.Offset > 0 && f.Offset <= maxOffset+1 && (i == 0 || e.Freed[i-1].Compare(f.Key) < 0)
		e.Freed = append(e.Freed, f)
	}
	for range r.Count(objects, intentObjectSize) {
		name, fine := readName(r, journal)
		e.Objects, ok = append(e.Objects, name), ok && fine
	}
	e.Seqs, ok = readSeqs(r, seqs, ok)
	if err := closePayload(r, ok && distinct(e.Objects)); err != nil {
		return nil, fmt.Errorf("decode release entry: %w", err)
	}
	return e, nil
}

func appendSeqs(w *wire.Writer, seqs []Seqs) {
	for _, s := range seqs {
		w.U64(s.First)
		w.U64(s.Last)
	}
}

// readSeqs reads n ranges of seqs, and reports whether they can be, and ok.
func readSeqs(r *wire.Reader, n uint32, ok bool) (seqs []Seqs, _ bool) {
	before := uint64(0)
	for range r.Count(n, seqsSize) {
		s := Seqs{r.U64(), r.U64()}
		ok = ok && s.First > before && s.Last >= s.First
		seqs, before = append(seqs, s), s.Last
	}
	return seqs, ok
}

// Swept says that garbage was deleted. Objects stay on the list until they are deleted a
// second time, as a create may land after the first; journal objects do not.
//
//	 0  1  version, 1
//	 1  1  1 for the first deletion, 2 for the second
//	 2  4  objects
//	 6  4  ranges of seqs; none in a second deletion
//	10     the ids of the objects, of 16 bytes each, in increasing order
//	       the ranges of seqs, as in a Release; each begins where one on the list does
type Swept struct {
	Second  bool
	Objects []segment.ID
	Seqs    []Seqs
}

// Encode returns the entry.
func (e *Swept) Encode() segment.Entry {
	w := wire.Writer{B: make([]byte, 0, 10+len(e.Objects)*16+len(e.Seqs)*seqsSize)}
	w.U8(entryVersion)
	w.U8(1 + flag(e.Second))
	w.U32(uint32(len(e.Objects)))
	w.U32(uint32(len(e.Seqs)))
	for _, id := range e.Objects {
		w.ID(id)
	}
	appendSeqs(&w, e.Seqs)
	return segment.Entry{Kind: EntrySwept, Payload: w.B}
}

// DecodeSwept reads the payload of an EntrySwept.
func DecodeSwept(payload []byte) (*Swept, error) {
	r, err := openPayload(payload)
	if err != nil {
		return nil, fmt.Errorf("decode swept entry: %w", err)
	}
	deletion, objects, seqs := r.U8(), r.U32(), r.U32()
	e := &Swept{Second: deletion == 2}
	ok := deletion == 1 || deletion == 2 && seqs == 0
	for i := range r.Count(objects, len(segment.ID{})) {
		id := segment.ID(r.ID())
		ok = ok && !id.IsZero() && (i == 0 || compareIDs(e.Objects[i-1], id) < 0)
		e.Objects = append(e.Objects, id)
	}
	e.Seqs, ok = readSeqs(r, seqs, ok)
	if err := closePayload(r, ok); err != nil {
		return nil, fmt.Errorf("decode swept entry: %w", err)
	}
	return e, nil
}
