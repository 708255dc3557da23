package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/testenv/seeded"
)

// needsDescriptor reports whether an operation opens something.
func needsDescriptor(op crashfs.Op) bool { return op.Kind == "open" || op.Kind == "syncdir" }

// writeMuch goes through some files, each released when the next one is written.
func writeMuch(l *wal.Log, write func(last uint64) uint64) (last, released uint64, err error) {
	for range 12 {
		last = write(last)
		if err := waitSynced(l, last); err != nil {
			return last, released, err
		}
		if last > 30 {
			released = last - 30
			l.Release(released)
		}
	}
	return last, released, nil
}

// If descriptors are used up at any one step, that ends no log and loses
// nothing.
func TestDescriptorsUsedUpAtAnyStepEndNoLog(t *testing.T) {
	const steps = 10
	var met atomic.Int64
	t.Run("steps", func(t *testing.T) {
		for step := range int64(steps) {
			t.Run(fmt.Sprint(step), func(t *testing.T) {
				t.Parallel()
				oneStepWithoutDescriptors(t, step, &met)
			})
		}
	})
	if met.Load() != steps {
		t.Errorf("%d of %d steps were met", met.Load(), steps)
	}
}

func oneStepWithoutDescriptors(t *testing.T, step int64, met *atomic.Int64) {
	seed := seeded.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	reason := []syscall.Errno{syscall.EMFILE, syscall.ENFILE}[step%2]
	var on atomic.Bool
	var n atomic.Int64
	d := disk(t, func(op crashfs.Op) error {
		if on.Load() && needsDescriptor(op) && n.Add(1) == step+1 {
			met.Add(1)
			return reason
		}
		return nil
	})
	opt := options(d)
	mustClose(t, mustOpen(t, next(opt, d))) // so that the folder of logs is there
	on.Store(step >= 3)                     // the first three of Open make the log's folder and a file: a start may fail
	l := mustOpen(t, opt)
	on.Store(true)
	last, released, err := writeMuch(l, func(last uint64) uint64 { return appendNext(t, l, opt.Incarnation, last, 25) })
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	image := d.Image(rng.IntN)
	mustClose(t, l)
	if d.Handles() != 0 {
		t.Errorf("%d files left open", d.Handles())
	}
	for _, fsys := range []wal.FS{d, image} {
		found, err := wal.Scan(next(next(opt, d), fsys))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, inc := range found {
			if inc.ID != opt.Incarnation {
				continue
			}
			if inc.Damage != nil || inc.LastLSN != last || inc.FirstLSN > released+1 {
				t.Errorf("seed %d: found %d to %d of %d to %d, %v", seed, inc.FirstLSN, inc.LastLSN, released+1, last, inc.Damage)
			} else if err := checkRead(inc, inc.FirstLSN, last); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
}

// While descriptors are used up for long the log is full, and says why. A log that is
// closed then leaves nothing behind that a later start stumbles over.
func TestALogIsFullWhileDescriptorsAreUsedUp(t *testing.T) {
	for _, closes := range []bool{false, true} {
		var used atomic.Bool
		d := disk(t, func(op crashfs.Op) error {
			if used.Load() && needsDescriptor(op) {
				return syscall.EMFILE
			}
			return nil
		})
		opt := options(d)
		l := mustOpen(t, opt)
		last, _, err := writeMuch(l, func(last uint64) uint64 { return appendNext(t, l, opt.Incarnation, last, 25) })
		if err != nil {
			t.Fatal(err)
		}
		used.Store(true)
		for l.Full() == nil {
			last = appendNext(t, l, opt.Incarnation, last, 1)
			for l.Sync(last); l.SyncedLSN() < last && l.Full() == nil && l.Err() == nil; {
				<-l.Synced()
			}
			l.Release(l.SyncedLSN())
			if err := l.Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Full(); !errors.Is(err, wal.ErrFull) || !wal.NoDescriptors(err) {
			t.Errorf("full: %v", err)
		}
		if !closes {
			used.Store(false)
			waitFull(l, false)
			last = appendNext(t, l, opt.Incarnation, last, 25)
			if err := waitSynced(l, last); err != nil {
				t.Fatal(err)
			}
		}
		l.Release(last)
		mustClose(t, l)
		used.Store(false)
		if d.Handles() != 0 {
			t.Errorf("%d files left open", d.Handles())
		}
		inc := scanOne(t, next(opt, d))
		if inc.Damage != nil {
			t.Error(inc.Damage)
		}
		names, err := d.ReadDir(fmt.Sprintf("%s/%010d-%s", dir, 1, opt.Incarnation))
		for _, name := range names {
			if !strings.HasSuffix(name, ".wal") {
				t.Errorf("%s is left", name)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// A folder whose fsync was attempted and failed ends the log: the state of the
// disk is then unknown.
func TestAFailedSyncOfTheFolderEndsTheLog(t *testing.T) {
	var bad atomic.Bool
	d := disk(t, func(op crashfs.Op) error {
		if bad.Load() && op.Kind == "syncdir" {
			return syscall.EIO
		}
		return nil
	})
	opt := options(d)
	l := mustOpen(t, opt)
	bad.Store(true)
	if _, _, err := writeMuch(l, func(last uint64) uint64 { return appendNext(t, l, opt.Incarnation, last, 25) }); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, want EIO", err)
	}
	_ = l.Close() // the same error
}
