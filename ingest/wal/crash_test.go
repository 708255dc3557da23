package wal_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

// crasher takes images of the disk before every operation that changes it, and
// checks the state that the next start would find.
type crasher struct {
	t        *testing.T
	rng      *rand.Rand // used under FS calls of one log; guarded by busy
	busy     chan struct{}
	disk     *crashfs.FS
	log      atomic.Pointer[wal.Log]
	appended atomic.Uint64
	released atomic.Uint64
	ops      map[string]int
	images   int
}

func newCrasher(t *testing.T, seed uint64) *crasher {
	c := &crasher{t: t, rng: rand.New(rand.NewPCG(seed, 1)), busy: make(chan struct{}, 1), ops: map[string]int{}}
	c.disk = crashfs.New(func(op crashfs.Op) error {
		switch op.Kind {
		case "read", "readdir", "size", "close":
			return nil
		}
		c.busy <- struct{}{}
		defer func() { <-c.busy }()
		c.ops[op.Kind]++
		for _, pick := range []crashfs.Pick{crashfs.KeepNone, crashfs.KeepAll, c.rng.IntN, crashfs.KeepFirst(c.rng.IntN(40))} {
			if err := c.check(pick); err != nil {
				t.Errorf("crash before %s of %s: %v", op.Kind, op.Path, err)
			}
		}
		return nil
	})
	return c
}

// check crashes and checks the records that are left.
func (c *crasher) check(pick crashfs.Pick) error {
	synced := uint64(0)
	if l := c.log.Load(); l != nil {
		synced = l.SyncedLSN()
	}
	img := c.disk.Image(pick)
	c.images++
	found, err := wal.Scan(next(options(nil), img))
	if err != nil {
		return err
	}
	appended, released := c.appended.Load(), c.released.Load()
	if len(found) == 0 && synced == 0 {
		return nil
	}
	if len(found) != 1 {
		return fmt.Errorf("%d logs found with %d records synced", len(found), synced)
	}
	inc := found[0]
	switch {
	case inc.Damage != nil:
		return inc.Damage
	case inc.LastLSN < synced:
		return fmt.Errorf("log ends at %d, %d was reported synced", inc.LastLSN, synced)
	case inc.LastLSN > appended:
		return fmt.Errorf("log ends at %d, only %d were appended", inc.LastLSN, appended)
	case inc.FirstLSN > released+1:
		return fmt.Errorf("log begins at %d, released were %d", inc.FirstLSN, released)
	}
	return checkRead(inc, inc.FirstLSN, inc.LastLSN)
}

// run is one life of a log.
func (c *crasher) run(rng *rand.Rand, turns int) {
	opt := options(c.disk)
	l := mustOpen(c.t, opt)
	c.log.Store(l)
	last := uint64(0)
	for range turns {
		n := 1 + rng.IntN(20)
		c.appended.Store(last + uint64(n))
		last = appendNext(c.t, l, opt.Incarnation, last, n)
		if rng.IntN(3) == 0 {
			if err := waitSynced(l, last-uint64(rng.IntN(n))); err != nil {
				c.t.Fatal(err)
			}
		}
		if rng.IntN(5) == 0 {
			c.released.Store(last - uint64(rng.IntN(n)))
			l.Release(c.released.Load())
		}
	}
	mustClose(c.t, l)
	for _, pick := range []crashfs.Pick{crashfs.KeepNone, crashfs.KeepAll, rng.IntN} {
		if err := c.check(pick); err != nil {
			c.t.Errorf("after Close: %v", err)
		}
	}
}

func TestPowerFailuresLoseNothingSynced(t *testing.T) {
	seed := seeded.Seed(t)
	for n := 0; n < *images; seed++ {
		c := newCrasher(t, seed)
		c.run(rand.New(rand.NewPCG(seed, 2)), 40)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for _, kind := range []string{"write", "sync", "rename", "syncdir", "mkdir", "open", "preallocate", "remove"} {
			if c.ops[kind] == 0 {
				t.Errorf("seed %d: no crash before a %s", seed, kind)
			}
		}
		n += c.images
	}
}

// A tail that was written and not synced is cut at every sector. A longer and
// longer prefix is left, and there is never damage.
func TestTornTailIsThePrefixThatSurvived(t *testing.T) {
	d := disk(t, nil)
	opt := options(d)
	opt.SegmentBytes = 128 << 10
	l := mustOpen(t, opt)
	synced := appendNext(t, l, opt.Incarnation, 0, 10)
	if err := waitSynced(l, synced); err != nil {
		t.Fatal(err)
	}
	last := appendNext(t, l, opt.Incarnation, synced, 80)
	waitWritten(t, d, bytesOf(opt.Incarnation, synced+1, last))
	longest, lengths := synced, 0
	for k := 0; ; k++ {
		inc := scanOne(t, next(opt, d.Image(crashfs.KeepFirst(k))))
		if inc.Damage != nil || inc.Beyond != 0 || inc.LastLSN < longest {
			t.Fatalf("cut at sector %d: log ends at %d after %d, %d beyond, %v", k, inc.LastLSN, longest, inc.Beyond, inc.Damage)
		}
		if err := checkRead(inc, 1, inc.LastLSN); err != nil {
			t.Fatalf("cut at sector %d: %v", k, err)
		}
		if inc.LastLSN > longest {
			longest = inc.LastLSN
			lengths++
		}
		if longest == last || k > 10000 {
			break
		}
	}
	if longest != last || lengths < 40 {
		t.Errorf("the log grew to %d in %d steps, want %d", longest, lengths, last)
	}
	mustClose(t, l)
}

// Writes that were not synced may survive out of order. Records behind a hole
// are counted, but are neither read nor an alarm.
func TestUnsyncedRecordsBehindAHoleAreNoDamage(t *testing.T) {
	d := disk(t, nil)
	opt := options(d)
	opt.SegmentBytes = 256 << 10
	l := mustOpen(t, opt)
	last := appendNext(t, l, opt.Incarnation, 0, 30)
	waitWritten(t, d, bytesOf(opt.Incarnation, 1, last))
	behind := 0
	for lose := range 60 {
		n := 0
		img := d.Image(func(outcomes int) int {
			n++
			if n == lose {
				return 0
			}
			return outcomes - 1
		})
		inc := scanOne(t, next(opt, img))
		if err := checkRead(inc, 1, inc.LastLSN); err != nil || inc.Damage != nil {
			t.Fatalf("choice %d lost: %v, %v", lose, err, inc.Damage)
		}
		if inc.LastLSN+uint64(inc.Beyond) > last {
			t.Fatalf("choice %d lost: %d records and %d beyond, of %d", lose, inc.LastLSN, inc.Beyond, last)
		}
		behind += inc.Beyond
	}
	if behind == 0 {
		t.Error("no image had a record behind a hole")
	}
	mustClose(t, l)
}

// bytesOf is the room of records in a file.
func bytesOf(id segment.ID, first, last uint64) (n int) {
	for lsn := first; lsn <= last; lsn++ {
		n += (56 + len(record(id, lsn).Batch) + 7) &^ 7
	}
	return n
}

// waitWritten waits until n bytes were written to the first file and not synced.
func waitWritten(t *testing.T, d *crashfs.FS, n int) {
	t.Helper()
	path := fmt.Sprintf("%s/%010d-%s/%012d.wal", dir, 1, segment.ID{3}, 1)
	for {
		got, err := d.Unsynced(path)
		if err != nil {
			t.Fatal(err)
		}
		if got >= n { // there may be a mark as well
			return
		}
		runtime.Gosched()
	}
}
