package partlog

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// The kinds of entries that replace and free extents.
const (
	EntryIntent  uint16 = 5
	EntryResult  uint16 = 6
	EntryAbandon uint16 = 7
	EntryRelease uint16 = 8
	EntrySwept   uint16 = 9
	EntryDrop    uint16 = 10
	EntryReopen  uint16 = 11
	EntryCleaned uint16 = 12
)

// Bounds of these entries.
const (
	MaxResultPartitions = 1000
	MaxIntentObjects    = 1000
)

// Intent names the objects that a job is going to create. It is applied before the first
// byte of them is uploaded.
//
//	 0  1  version, 1
//	 1 16  job
//	17  4  objects, 1 to 1000
//	21     the objects:
//	    0 16  object id
//	   16 16  topic id; zero if the segment is shared
//	   32  4  partition
//	   36  8  base offset in the key; zero, as is the partition, if it is shared
type Intent struct {
	Job     segment.ID
	Objects []segment.Name
}

const intentObjectSize = 44

// Encode returns the entry.
func (e Intent) Encode() segment.Entry {
	w := wire.Writer{B: make([]byte, 0, 21+len(e.Objects)*intentObjectSize)}
	w.U8(entryVersion)
	w.ID(e.Job)
	w.U32(uint32(len(e.Objects)))
	for _, n := range e.Objects {
		appendName(&w, n)
	}
	return segment.Entry{Kind: EntryIntent, Payload: w.B}
}

// DecodeIntent reads the payload of an EntryIntent of a journal.
func DecodeIntent(journal uint32, payload []byte) (Intent, error) {
	r, err := openPayload(payload)
	if err != nil {
		return Intent{}, fmt.Errorf("decode intent entry: %w", err)
	}
	e := Intent{Job: r.ID()}
	n := r.U32()
	ok := !e.Job.IsZero() && n > 0 && n <= MaxIntentObjects
	for range r.Count(n, intentObjectSize) {
		name, fine := readName(r, journal)
		e.Objects, ok = append(e.Objects, name), ok && fine
	}
	if err := closePayload(r, ok && distinct(e.Objects)); err != nil {
		return Intent{}, fmt.Errorf("decode intent entry: %w", err)
	}
	return e, nil
}

// Abandon ends an intent: no Result follows.
//
//	0  1  version, 1
//	1 16  job
type Abandon struct{ Job segment.ID }

// Encode returns the entry.
func (e Abandon) Encode() segment.Entry {
	w := wire.Writer{B: make([]byte, 0, 17)}
	w.U8(entryVersion)
	w.ID(e.Job)
	return segment.Entry{Kind: EntryAbandon, Payload: w.B}
}

// DecodeAbandon reads the payload of an EntryAbandon.
func DecodeAbandon(payload []byte) (Abandon, error) {
	r, err := openPayload(payload)
	if err != nil {
		return Abandon{}, fmt.Errorf("decode abandon entry: %w", err)
	}
	e := Abandon{Job: r.ID()}
	if err := closePayload(r, !e.Job.IsZero()); err != nil {
		return Abandon{}, fmt.Errorf("decode abandon entry: %w", err)
	}
	return e, nil
}

// appendName writes the name of a merged segment of the entry's journal.
func appendName(w *wire.Writer, n segment.Name) {
	w.ID(n.Object)
	w.ID(n.Topic)
	w.I32(n.Partition)
	w.I64(n.Base)
}

// readName reads a name, and reports whether there can be such an object.
func readName(r *wire.Reader, journal uint32) (segment.Name, bool) {
	object, topic, partition, base := segment.ID(r.ID()), segment.ID(r.ID()), r.I32(), r.I64()
	if topic.IsZero() {
		return segment.SharedSegment(journal, object), !object.IsZero() && partition == 0 && base == 0
	}
	return segment.OwnSegment(topic, partition, base, object), !object.IsZero() && partition >= 0 && base >= 0 && base <= maxOffset
}

// distinct reports whether all objects have ids of their own.
func distinct(names []segment.Name) bool {
	seen := make(map[segment.ID]bool, len(names))
	for _, n := range names {
		seen[n.Object] = true
	}
	return len(seen) == len(names)
}
