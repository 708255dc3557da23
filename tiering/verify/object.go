package verify

import (
	"errors"
	"slices"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// Advice for an operator.
const (
	hintRestore  = "restore the object from a copy of the bucket; varve never rewrites one"
	hintLast     = "restore the object from a copy of the bucket, or remove it if varve did not write it: no object of this journal is behind it"
	hintReplaced = "an object was replaced, or two buckets were mixed: restore it from a copy of the bucket"
	hintJunk     = "remove it if varve did not write it; otherwise all objects between are lost, and it is damaged: restore them"
	hintStored   = "the object's checksums are right, so it was stored like this: keep the bucket as it is, and report it"
	hintContent  = "the log is intact; consumers stop at these offsets, and \"varve consume --skip-undecodable\" skips them"
	hintRepair   = "\"varve bucket repair\" makes it again from the other copy"
	hintOrphan   = "\"varve bucket orphans\" lists such objects, and can delete them"
	hintUpgrade  = "verify with a newer varve; this one is too old for the object"
)

// object is a journal object as far as it could be read.
type object struct {
	journal uint32
	seq     uint64
	size    int64

	absent   bool
	err      error           // of the store: the object is not known
	header   *segment.Header // nil: neither of its copies can be read
	footer   *segment.Footer // nil: cannot be read
	entries  []segment.Entry // if intact; those of the journal's state machine
	floor    *journal.FloorPlan
	intact   bool // header, footer and entries, which readers of the journal need
	findings []*Finding
	batches  [][]batch.Header // of idempotent producers, by partition of the footer
}

func (o *object) key() string { return segment.JournalKey(o.journal, o.seq) }

// find adds a finding at the object.
func (o *object) find(s Severity, c Code, offset int64, hint, format string, args ...any) *Finding {
	f := finding(s, c, o.journal, o.key(), hint, format, args...)
	if offset != whole {
		f.Offset = &offset
	}
	o.findings = append(o.findings, f)
	return f
}

// whole is for findings that are about the whole object.
const whole = -1

// examine reads a whole object and finds all faults that it shows by itself. It
// keeps no part of b.
func examine(o *object, b []byte, records bool) {
	o.size = int64(len(b))
	decoded, err := segment.Decode(b)
	if err == nil {
		o.header, o.footer = &decoded.Footer.Header, decoded.Footer
		o.setEntries(decoded.Entries)
		o.examineRecords(b, records)
		return
	}
	if errors.Is(err, segment.ErrUnsupported) {
		o.find(Error, CodeUnsupported, whole, hintUpgrade, "%v", err)
		return
	}
	o.salvage(b, err, records)
}

// salvage finds out how much of a damaged object can be read.
func (o *object) salvage(b []byte, cause error, records bool) {
	h, headerErr := segment.DecodeHeader(b)
	if headerErr == nil {
		o.header = &h
	}
	footer, need, err := segment.DecodeFooterTail(b, int64(len(b)))
	if err != nil || need > 0 {
		if headerErr == nil && errors.Is(err, segment.ErrCorrupt) {
			o.find(Error, CodeCorrupt, damagedAt(err), hintRestore, "%v; the object is cut short, or its end is damaged", err)
			return
		}
		o.find(Error, CodeCorrupt, damagedAt(cause), hintRestore, "%v", cause)
		return
	}
	o.footer, o.header = footer, &footer.Header
	if headerErr != nil || h != footer.Header {
		o.find(Error, CodeCorrupt, damagedAt(cause), hintRestore, "%v; the footer and its copy of the header are intact", cause)
	}
	section := b[footer.Entries.Position : footer.Entries.Position+footer.Entries.Length]
	entries, err := segment.DecodeEntries(section)
	if checkErr := footer.Entries.Check(section); checkErr != nil {
		err = checkErr
	}
	if err != nil {
		o.find(Error, CodeCorrupt, int64(footer.Entries.Position), hintRestore,
			"entries, the changes that the object makes to its journal: %v; nodes stop reading the journal here", err)
	} else {
		o.setEntries(entries)
	}
	o.examineRecords(b, records)
	if len(o.findings) == 0 {
		o.find(Error, CodeCorrupt, damagedAt(cause), hintRestore, "%v", cause)
	}
}

// setEntries separates the entries by reader, and keeps copies, so that the
// object's bytes can be freed.
func (o *object) setEntries(entries []segment.Entry) {
	sorted, err := journal.NewObject(o.footer, entries)
	if err != nil {
		code, hint := CodeState, hintStored
		if errors.Is(err, segment.ErrUnsupported) {
			code, hint = CodeUnsupported, hintUpgrade
		}
		o.find(Error, code, int64(o.footer.Entries.Position), hint, "%v; nodes stop reading the journal here", err)
		return
	}
	o.setIndex(sorted)
}

func (o *object) setIndex(index *journal.Object) {
	o.intact, o.floor = true, index.Floor
	o.entries = slices.Clone(index.Entries)
	for i := range o.entries {
		o.entries[i].Payload = slices.Clone(o.entries[i].Payload)
	}
}

// damagedAt returns the offset that a decoder's error names, or else whole.
func damagedAt(err error) int64 {
	var c *segment.CorruptError
	if errors.As(err, &c) {
		return c.Offset
	}
	return whole
}
