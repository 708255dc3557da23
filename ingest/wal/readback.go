package wal

import (
	"fmt"
	"path/filepath"
)

// cursor is where ReadBack goes on: a record, its file, and its place in it.
type cursor struct {
	file   walFile
	number uint64
	offset int64
	next   uint64 // LSN at offset; 0: no place
}

// ReadBack calls fn for the records of this log from LSN from on that are
// synced and not released, in order, until fn returns an error, which it
// returns. The batch is valid until fn returns. Reading on from where fn
// stopped needs no search. from must be a record that was reported as synced.
func (l *Log) ReadBack(from uint64, fn func(Record) error) error {
	last := l.SyncedLSN()
	if from > last {
		return nil
	}
	// The cursor may stand at the end of a file that has been released since.
	if number := l.fileOf(from); l.back.next != from || l.back.number != number {
		if err := l.openBack(number); err != nil {
			return fmt.Errorf("read back record %d: %w", from, err)
		}
	}
	for l.back.next <= last {
		if err := l.readBackFile(from, last, fn); err != nil {
			return err
		}
	}
	return nil
}

// fileOf returns the number of the file that holds a record.
func (l *Log) fileOf(lsn uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	number := l.mu.current
	for i := len(l.mu.closed) - 1; i >= 0 && l.mu.closed[i].last >= lsn; i-- {
		number = l.mu.closed[i].number
	}
	return number
}

// openBack puts the cursor at the start of a file.
func (l *Log) openBack(number uint64) error {
	inc := Incarnation{ID: l.opt.Incarnation, opt: l.opt, dir: l.dir}
	f, err := inc.readHeader(filepath.Join(l.dir, walName(number)), number)
	if err != nil {
		return err
	}
	l.back = cursor{file: f, number: number, offset: headerSize, next: f.header.FirstLSN}
	return nil
}

// readBackFile reads the cursor's file up to its last record or to last, and
// leaves the cursor there or at the start of the next file. It calls fn only
// from record from on.
func (l *Log) readBackFile(from, last uint64, fn func(Record) error) error {
	c := &l.back
	w, err := openWindow(l.opt.FS, c.file.path)
	if err != nil {
		return err
	}
	defer w.file.Close() // opened for reading: nothing can be lost
	for c.next <= last {
		b, fr, reason, err := c.file.frameAt(w, c.offset)
		if err != nil {
			return err
		}
		if reason != "" || fr.isMark() || fr.lsn != c.next {
			return l.nextBackFile(reason)
		}
		if c.next >= from {
			if err := fn(decodeRecord(b)); err != nil {
				return err
			}
		}
		c.offset += int64(fr.size())
		c.next++
	}
	return nil
}

// nextBackFile goes on to the file that begins with the cursor's record. If
// there is none, a synced record cannot be read.
func (l *Log) nextBackFile(reason string) error {
	was := l.back
	if err := l.openBack(was.number + 1); err != nil {
		return fmt.Errorf("read back record %d: %s at byte %d of %s, and no next file: %w", was.next, reason, was.offset, was.file.path, err)
	}
	if l.back.next != was.next {
		return &DamageError{File: was.file.path, Offset: was.offset, Reason: reason, Lost: was.next, Highest: l.back.next - 1}
	}
	return nil
}
