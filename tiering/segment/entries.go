package segment

import (
	"github.com/varvelog/varve/tiering/wire"
)

const entriesObject = "entries of a journal object"

// appendEntries writes the entries section:
//
//	0  4  count
//	then for each entry:
//	0  2  kind, not zero
//	2  2  zero
//	4  4  payload length
//	8     payload
func appendEntries(w *wire.Writer, entries []Entry) {
	w.U32(uint32(len(entries)))
	for _, e := range entries {
		w.U16(e.Kind)
		w.U16(0)
		w.Bytes32(e.Payload)
	}
}

func entriesSize(entries []Entry) int {
	size := entriesFixedSize
	for _, e := range entries {
		size += entryFixedSize + len(e.Payload)
	}
	return size
}

func checkEntries(entries []Entry) error {
	if len(entries) > MaxEntries {
		return invalid("%d entries, at most %d", len(entries), MaxEntries)
	}
	for i, e := range entries {
		if e.Kind == 0 {
			return invalid("entry %d has kind 0", i)
		}
	}
	return nil
}

// DecodeEntries decodes an entries section, whose bytes the caller has checked
// against the footer (Section.Check). Payloads alias section.
func DecodeEntries(section []byte) ([]Entry, error) {
	r := wire.NewReader(section)
	n := r.U32()
	if n > MaxEntries {
		return nil, corrupt(entriesObject, 0, "%d entries, at most %d", n, MaxEntries)
	}
	entries := make([]Entry, r.Count(n, entryFixedSize))
	for i := range entries {
		at := r.Pos()
		kind := r.U16()
		r.Zeros(2)
		entries[i] = Entry{Kind: kind, Payload: r.Bytes32()}
		if r.Err() == nil && kind == 0 {
			return nil, corrupt(entriesObject, at, "entry %d has kind 0", i)
		}
	}
	if err := r.Close(); err != nil {
		return nil, corrupt(entriesObject, r.Pos(), "%v", err)
	}
	return entries, nil
}
