package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/segment"
)

var errDisk = errors.New("input/output error")

// simLog is a write-ahead log on a simulated disk, with the promises of wal.Log.
// Appended records are written soon. Synced ones survive a crash, and a part of the
// other written ones may.
type simLog struct {
	f       *datadir
	proc    *proc
	id      segment.ID
	records []wal.Record // from first on
	waiting []wal.Record // as they were appended, with references until they are written
	first   uint64
	written uint64
	synced  uint64
	want    uint64 // to be synced
	busy    bool
	full    bool
	closed  bool
	err     error
	perFile int // records in a file
}

func (l *simLog) last() uint64 { return l.first + uint64(len(l.records)) - 1 }

func (l *simLog) Append(recs []wal.Record) (uint64, error) {
	if l.err != nil {
		return 0, l.err
	}
	for i := range recs {
		r := recs[i]
		r.LSN = l.last() + 1
		r.Memory.Retain()
		l.waiting = append(l.waiting, r)
		r.Batch, r.Memory = bytes.Clone(r.Batch), nil
		l.records = append(l.records, r)
	}
	l.turn()
	return l.last(), nil
}

// wrote notes that all records are written, from memory that has not changed.
func (l *simLog) wrote() {
	l.written = l.last()
	for _, r := range l.waiting {
		if r.LSN >= l.first && !bytes.Equal(r.Batch, l.records[r.LSN-l.first].Batch) {
			l.f.c.Fail("record %d changed before it was written", r.LSN)
		}
		r.Memory.Release()
	}
	l.waiting = nil
}

func (l *simLog) Sync(lsn uint64) {
	l.want = max(l.want, min(lsn, l.last()))
	l.turn()
}

// turn writes the waiting records and syncs if a sync is requested, one at a
// time.
func (l *simLog) turn() {
	if l.busy || l.err != nil || l.written == l.last() && l.want <= l.synced {
		return
	}
	l.busy = true
	c := l.f.c
	l.proc.p.After(c.Between(50*time.Microsecond, 2*time.Millisecond), "disk write", func() {
		if l.closed {
			return
		}
		l.wrote()
		if l.want <= l.synced {
			l.busy = false
			return
		}
		upTo := l.written
		slow := 5 * time.Millisecond
		if c.Chance(0.01) {
			slow = 3 * time.Second
		}
		l.proc.p.After(c.Between(200*time.Microsecond, slow), "disk sync", func() { l.wasSynced(upTo) })
	})
}

func (l *simLog) wasSynced(upTo uint64) {
	c := l.f.c
	if l.closed {
		return
	}
	l.busy = false
	if !c.quiet && c.Chance(c.shape.DiskError) {
		c.Count("disk error")
		l.err = errDisk
		l.proc.owner.Wake()
		return
	}
	if !c.quiet && !l.full && c.Chance(c.shape.DiskFull) {
		c.Count("disk full")
		l.full = true
		l.proc.p.After(c.Between(time.Second, 20*time.Second), "disk has room", func() { l.full = false; l.proc.owner.Wake() })
	}
	l.synced = max(l.synced, upTo)
	l.turn()
	l.proc.owner.Wake()
}

func (l *simLog) SyncedLSN() uint64 { return l.synced }

func (l *simLog) Err() error { return l.err }

func (l *simLog) Unwritten() int64 { return 0 }

func (l *simLog) Full() error {
	if l.full {
		return wal.ErrFull
	}
	return nil
}

// Release lets go of whole files, but for the one that is written.
func (l *simLog) Release(lsn uint64) {
	for len(l.records) > l.perFile && l.first+uint64(l.perFile)-1 <= lsn {
		l.records = l.records[l.perFile:]
		l.first += uint64(l.perFile)
	}
}

func (l *simLog) ReadBack(from uint64, fn func(wal.Record) error) error {
	return l.read(from, l.synced, fn)
}

func (l *simLog) read(from, to uint64, fn func(wal.Record) error) error {
	if from < l.first {
		return fmt.Errorf("record %d is not there, the first is %d", from, l.first)
	}
	for lsn := from; lsn <= to; lsn++ {
		if err := fn(l.records[lsn-l.first]); err != nil {
			return err
		}
	}
	return nil
}

// close writes and syncs everything, as the end of a Leader does.
func (l *simLog) close() {
	if l.err == nil {
		l.wrote()
		l.synced = l.last()
	}
	l.crash()
	l.closed = true
}

// crash keeps the synced records, and maybe some of the written ones.
func (l *simLog) crash() {
	keep := l.synced
	if l.written > keep {
		keep += uint64(l.f.c.Rand.Int63n(int64(l.written-keep) + 1))
	}
	if keep < l.last() {
		l.f.c.Count("unsynced records lost")
	}
	if keep > l.synced {
		l.f.c.Count("unsynced records kept")
	}
	if keep+1 >= l.first {
		l.records = l.records[:keep+1-l.first]
	}
	l.written, l.synced = l.last(), l.last()
}

// found is the log as a scan of the folder would find it.
func (l *simLog) found() *wal.Incarnation {
	inc := &wal.Incarnation{ID: l.id, FirstLSN: l.first, LastLSN: l.last()}
	for _, r := range l.records {
		if n := len(inc.Epochs); n == 0 || inc.Epochs[n-1] != r.Epoch {
			inc.Epochs = append(inc.Epochs, r.Epoch)
		}
	}
	return inc
}

// simFiles is an older log on its folder's disk.
type simFiles struct {
	*simLog
	proc *proc // who reads it now
}

func (s simFiles) Read(from uint64, fn func(wal.Record) error) error {
	if from > s.last() {
		return nil
	}
	return s.read(from, s.last(), func(r wal.Record) error {
		r.Batch = bytes.Clone(r.Batch)
		return fn(r)
	})
}

func (s simFiles) Remove() error {
	if len(s.records) > 0 {
		s.f.c.Count("records replayed")
	}
	s.f.c.truth.checkCovered(s.simLog)
	s.f.remove(s.simLog)
	return nil
}

func (s simFiles) SetAside(reason string) (string, error) {
	s.f.c.truth.setAside(s.simLog, s.proc, reason)
	s.f.remove(s.simLog)
	return "aside", nil
}
