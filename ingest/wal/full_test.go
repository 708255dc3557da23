package wal_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/testenv/seeded"
)

// small is a disk with room for the files that a test allows.
type small struct {
	*crashfs.FS
	files atomic.Int64 // that may still be made
	err   syscall.Errno
}

func smallDisk(t *testing.T, files int64, err syscall.Errno) *small {
	s := &small{err: err}
	s.files.Store(files)
	s.FS = disk(t, func(op crashfs.Op) error {
		if op.Kind == "preallocate" && s.files.Add(-1) < 0 {
			return s.err
		}
		return nil
	})
	return s
}

// fill appends until the log is full, releasing nothing, and returns the last LSN.
func fill(t *testing.T, l *wal.Log, opt wal.Options, last uint64) uint64 {
	t.Helper()
	for l.Full() == nil {
		last = appendNext(t, l, opt.Incarnation, last, 1)
		for l.Sync(last); l.SyncedLSN() < last && l.Full() == nil; {
			<-l.Synced()
		}
	}
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	return last
}

// A disk that takes one file is used: first the file, then the same file again.
func TestTheFileAtHandIsUsedWhereThereIsRoomForNoOther(t *testing.T) {
	for _, reason := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		d := smallDisk(t, 1, reason)
		opt := options(d)
		l := mustOpen(t, opt)
		<-l.Synced() // the pool has found no room
		if err := l.Full(); err != nil {
			t.Fatalf("full with an empty file: %v", err)
		}
		last := fill(t, l, opt, 0)
		if err := l.Full(); last < 10 || !errors.Is(err, wal.ErrFull) || !errors.Is(err, reason) {
			t.Fatalf("after %d records: %v", last, err)
		}
		for range 5 {
			was := last
			l.Release(last)
			waitFull(l, false)
			if last = fill(t, l, opt, last); last < was+3 {
				t.Fatalf("the file took %d records the second time", last-was)
			}
		}
		if n := l.FileBytes(); n != opt.SegmentBytes {
			t.Errorf("the files take %d bytes", n)
		}
		l.Release(last)
		waitFull(l, false)
		last = appendNext(t, l, opt.Incarnation, last, 1)
		if err := waitSynced(l, last); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		if err := checkTail(scanOne(t, next(opt, d)), last, last); err != nil {
			t.Error(err)
		}
	}
}

// checkTail checks that a log ends with the records from to last, or has more
// before them.
func checkTail(inc *wal.Incarnation, from, last uint64) error {
	if inc.FirstLSN > from {
		return errors.New("records that were not released are gone")
	}
	return checkRead(inc, inc.FirstLSN, last)
}

// A log that finds no room for a file when it is opened waits for it.
func TestALogOpensOnAFullDisk(t *testing.T) {
	d := smallDisk(t, 0, syscall.ENOSPC)
	opt := options(d)
	l := mustOpen(t, opt)
	if err := l.Full(); !errors.Is(err, wal.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Full = %v, want ErrFull and ENOSPC", err)
	}
	last := appendNext(t, l, opt.Incarnation, 0, 3)
	l.Sync(last)
	d.files.Store(2)
	if err := waitSynced(l, last); err != nil {
		t.Fatal(err)
	}
	if err := l.Full(); err != nil {
		t.Error(err)
	}
	mustClose(t, l)
	if err := checkRead(scanOne(t, next(opt, d)), 1, last); err != nil {
		t.Error(err)
	}
	if d.Handles() != 0 {
		t.Errorf("%d files left open", d.Handles())
	}
}

// Records that the bucket has need not go to a disk without room for them.
func TestCloseOfAFullLogIsNoErrorWhenTheBucketHasAll(t *testing.T) {
	d := smallDisk(t, 0, syscall.ENOSPC)
	opt := options(d)
	l := mustOpen(t, opt)
	l.Release(appendNext(t, l, opt.Incarnation, 0, 3))
	mustClose(t, l)
	if inc := scanOne(t, next(opt, d)); inc.Records() != 0 {
		t.Errorf("%d records", inc.Records())
	}
}

// Where there is little room files are shorter, and long again when there is more.
func TestShortFilesAreUsedWhileThereIsLittleRoom(t *testing.T) {
	var most atomic.Int64
	fsys := &sized{FS: disk(t, nil), most: &most}
	most.Store(20 << 10)
	opt := options(fsys)
	opt.LeastBytes = 16 << 10
	l := mustOpen(t, opt)
	last := uint64(0)
	write := func() {
		last = appendNext(t, l, opt.Incarnation, last, 10)
		if err := waitSynced(l, last); err != nil {
			t.Fatal(err)
		}
		l.Release(last - 1)
	}
	for range 100 {
		write()
	}
	if n := fsys.last.Load(); n != opt.LeastBytes {
		t.Errorf("the last file has %d bytes", n)
	}
	most.Store(1 << 30)
	for fsys.last.Load() != opt.SegmentBytes {
		write() // a second goes by before it is tried
	}
	mustClose(t, l)
	if err := checkTail(scanOne(t, next(opt, fsys)), last, last); err != nil {
		t.Error(err)
	}
}

// sized is a disk on which a file cannot be longer than most.
type sized struct {
	wal.FS
	most *atomic.Int64
	last atomic.Int64 // size of the last file made
}

func (s *sized) OpenFile(name string, flag int) (wal.File, error) {
	f, err := s.FS.OpenFile(name, flag)
	return sizedFile{f, s}, err
}

type sizedFile struct {
	wal.File
	disk *sized
}

func (f sizedFile) Preallocate(size int64) error {
	if size > f.disk.most.Load() {
		return syscall.ENOSPC
	}
	f.disk.last.Store(size)
	return f.File.Preallocate(size)
}

func TestPowerFailuresOnAFullDiskLoseNothingSynced(t *testing.T) {
	seed := seeded.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		d := smallDisk(t, 1+rng.Int64N(2), syscall.ENOSPC)
		opt := options(d)
		opt.SegmentBytes, opt.LeastBytes = 24<<10, 12<<10
		l := mustOpen(t, opt)
		last, released := uint64(0), uint64(0)
		for range 1 + rng.IntN(12) {
			if l.Full() == nil {
				last = appendNext(t, l, opt.Incarnation, last, 1+rng.IntN(8))
			}
			if rng.IntN(2) == 0 {
				l.Sync(last)
			}
			if rng.IntN(2) == 0 {
				released += rng.Uint64N(last - released + 1)
				l.Release(released)
			}
		}
		synced := l.SyncedLSN()
		image := d.Image(rng.IntN)
		_ = l.Close() // maybe no room for the last
		inc := scanOne(t, next(opt, image))
		if inc.Damage != nil || inc.LastLSN < synced && synced > released || inc.FirstLSN > released+1 {
			t.Fatalf("seed %d: found %d to %d, %v; synced %d, released %d", seed, inc.FirstLSN, inc.LastLSN, inc.Damage, synced, released)
		}
		if err := checkRead(inc, inc.FirstLSN, inc.LastLSN); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// A budget below two files of the usual size makes files of half of it.
func TestASmallBudgetMakesSmallFiles(t *testing.T) {
	opt := options(disk(t, nil))
	opt.SegmentBytes, opt.MaxBytes = 0, 64<<20
	l := mustOpen(t, opt)
	for l.FileBytes() < opt.MaxBytes { // the second file is made in the background
		time.Sleep(time.Millisecond)
	}
	if err := l.Full(); err != nil || l.FileBytes() != opt.MaxBytes {
		t.Errorf("%d bytes of %d, %v", l.FileBytes(), opt.MaxBytes, err)
	}
	mustClose(t, l)
}
