package wal

import "fmt"

// stop is where the records of a file end, and the reason.
type stop struct {
	offset int64
	next   uint64 // LSN expected there
	reason string
}

// readFiles calls fn for every good record up to the end of the log, a torn
// tail or damage, and sets Beyond and Damage. It passes fn the space that the
// record takes in its file; the batch is valid until fn returns.
func (inc *Incarnation) readFiles(fn func(r Record, size int64) error) error {
	for i := range inc.files {
		damage, err := inc.readFile(i, fn)
		if err != nil {
			return err
		}
		if damage != nil {
			inc.Damage = damage
			return nil
		}
	}
	return nil
}

// readFile reads file i and decides the meaning of its end.
func (inc *Incarnation) readFile(i int, fn func(Record, int64) error) (*DamageError, error) {
	f := &inc.files[i]
	w, err := openWindow(inc.opt.FS, f.path)
	if err != nil {
		return nil, err
	}
	defer w.file.Close() // opened for reading: nothing can be lost
	at, err := f.walk(w, fn)
	if err != nil {
		return nil, err
	}
	damage := &DamageError{File: f.path, Offset: at.offset, Reason: at.reason, Lost: at.next}
	if i+1 < len(inc.files) {
		// A file is made only when the one before it is durable to its end.
		first := inc.files[i+1].header.FirstLSN
		damage.Highest = inc.files[len(inc.files)-1].header.FirstLSN - 1
		if first < at.next {
			damage.Reason = fmt.Sprintf("record %d is in this file and in the next", first)
		}
		if first == at.next {
			damage = nil
		}
		return damage, nil
	}
	beyond, highest, err := f.search(w, at)
	switch {
	case err != nil:
		return nil, err
	case highest >= at.next:
		damage.Highest = highest
		return damage, nil
	case inc.Damage != nil: // of the header of the next file
		inc.Damage.Lost = at.next
		return inc.Damage, nil
	}
	inc.Beyond = beyond
	return nil, nil
}

// walk calls fn for the records of a file, until there is none at the next
// place.
func (f *walFile) walk(w *window, fn func(Record, int64) error) (stop, error) {
	at := stop{offset: headerSize, next: f.header.FirstLSN}
	for {
		b, fr, reason, err := f.frameAt(w, at.offset)
		if err != nil {
			return at, err
		}
		switch {
		case reason != "":
			at.reason = reason
		case fr.lsn != at.next:
			at.reason = fmt.Sprintf("found record %d in the place of record %d", fr.lsn, at.next)
		case fr.isMark():
			at.reason = "end mark"
		}
		if at.reason != "" {
			return at, nil
		}
		if err := fn(decodeRecord(b), int64(fr.size())); err != nil {
			return at, err
		}
		at.offset += int64(fr.size())
		at.next++
	}
}

// search looks for more records of the same file after the end of the readable
// ones. It returns how many there are, and the highest LSN that they report as
// durable.
func (f *walFile) search(w *window, at stop) (beyond int, durable uint64, err error) {
	limit := at.next + uint64(w.size)/markSize // as many as the file could hold
	for off := at.offset; w.holds(off, markSize); {
		b, err := w.bytes(off, markSize)
		if err != nil {
			return 0, 0, err
		}
		fr, ok := decodeFrame(b)
		if !ok || fr.lsn <= at.next || fr.lsn > limit {
			off += recordAlign
			continue
		}
		_, fr, reason, err := f.frameAt(w, off)
		if err != nil {
			return 0, 0, err
		}
		if reason != "" {
			off += recordAlign
			continue
		}
		if !fr.isMark() {
			beyond++
		}
		durable = max(durable, fr.synced)
		off += int64(fr.size())
	}
	return beyond, durable, nil
}

// frameAt returns the checked frame at off and its bytes, or the reason why
// there is none.
func (f *walFile) frameAt(w *window, off int64) (b []byte, fr frame, reason string, err error) {
	if !w.holds(off, markSize) {
		return nil, fr, "end of file", nil
	}
	if b, err = w.bytes(off, markSize); err != nil {
		return nil, fr, "", err
	}
	fr, ok := decodeFrame(b)
	if !ok {
		return nil, fr, fmt.Sprintf("impossible record length %d", fr.length), nil
	}
	if !w.holds(off, fr.length) {
		return nil, fr, "record reaches beyond the end of the file", nil
	}
	if b, err = w.bytes(off, fr.length); err != nil {
		return nil, fr, "", err
	}
	if !checkFrame(b, f.seed) {
		return nil, fr, "CRC mismatch", nil
	}
	return b, fr, "", nil
}
