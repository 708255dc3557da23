package wal_test

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/tiering/segment"
)

func TestSyncedRecordsAreReadBackByTheNextIncarnation(t *testing.T) {
	opt := options(wal.OS{})
	opt.Dir = t.TempDir() + "/wal/7"
	l := mustOpen(t, opt)
	last := appendNext(t, l, opt.Incarnation, 0, 300)
	if err := waitSynced(l, last); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	inc := scanOne(t, next(opt, wal.OS{}))
	if err := checkRead(inc, 1, last); err != nil {
		t.Fatal(err)
	}
	if len(inc.Epochs) != 4 || inc.Files < 2 || inc.Damage != nil || inc.Beyond != 0 {
		t.Fatalf("Scan = %+v", inc)
	}
}

func TestNothingIsSyncedUnlessAsked(t *testing.T) {
	var syncs atomic.Int64
	wrote := make(chan struct{}, 1000)
	d := disk(t, func(op crashfs.Op) error {
		switch op.Kind {
		case "sync":
			syncs.Add(1)
		case "write":
			wrote <- struct{}{}
		}
		return nil
	})
	l := mustOpen(t, options(d))
	opened := syncs.Load()
	for len(wrote) > 0 {
		<-wrote
	}
	last := appendNext(t, l, segment.ID{3}, 0, 3)
	<-wrote // without any Sync
	if n := l.SyncedLSN(); n != 0 {
		t.Errorf("SyncedLSN = %d before any sync was requested", n)
	}
	if err := waitSynced(l, last); err != nil {
		t.Fatal(err)
	}
	// The file, and perhaps the spare that the pool makes at the same time.
	if n := syncs.Load() - opened; n > 2 {
		t.Errorf("%d syncs for one request", n)
	}
	mustClose(t, l)
}

func TestQueuedRecordsShareOneSync(t *testing.T) {
	var l *wal.Log
	first := make(chan struct{})
	goOn := make(chan struct{})
	var syncs atomic.Int64
	walFile := dir + "/0000000001-" + segment.ID{3}.String() + "/000000000001.spare"
	armed := atomic.Bool{}
	d := disk(t, func(op crashfs.Op) error {
		if op.Kind == "sync" && op.Path == walFile && armed.Load() && syncs.Add(1) == 1 {
			close(first)
			<-goOn
		}
		return nil
	})
	l = mustOpen(t, options(d))
	armed.Store(true)
	last := appendNext(t, l, segment.ID{3}, 0, 1)
	l.Sync(last)
	<-first
	for range 40 { // while the disk is busy
		last = appendNext(t, l, segment.ID{3}, last, 1)
		l.Sync(last)
	}
	close(goOn)
	if err := waitSynced(l, last); err != nil {
		t.Fatal(err)
	}
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d syncs, want 1 for the first record and 1 for all others", n)
	}
	mustClose(t, l)
}

func TestReleasedFilesAreReusedAndNoNewOnesMade(t *testing.T) {
	var made, begun, back atomic.Int64
	d := disk(t, func(op crashfs.Op) error {
		switch {
		case op.Kind == "preallocate":
			made.Add(1)
		case op.Kind == "rename" && strings.HasSuffix(op.Path, ".spare"):
			begun.Add(1)
		case op.Kind == "rename" || op.Kind == "remove":
			back.Add(1)
		}
		return nil
	})
	opt := options(d)
	l := mustOpen(t, opt)
	last := uint64(0)
	for range 600 {
		last = appendNext(t, l, opt.Incarnation, last, 2) // less than a file
		if err := waitSynced(l, last); err != nil {
			t.Fatal(err)
		}
		l.Release(last)
		for back.Load() < begun.Load()-1 { // all but the current one are taken back
			runtime.Gosched()
		}
	}
	if begun.Load() < 20 || made.Load() > 4 {
		t.Errorf("%d files were used and %d preallocated", begun.Load(), made.Load())
	}
	unreleased := last
	last = appendNext(t, l, opt.Incarnation, last, 500)
	mustClose(t, l)
	inc := scanOne(t, next(opt, d))
	if inc.FirstLSN > unreleased+1 {
		t.Fatalf("first record is %d, %d was not released", inc.FirstLSN, unreleased+1)
	}
	if err := checkRead(inc, inc.FirstLSN, last); err != nil {
		t.Fatal(err)
	}
	if d.Handles() != 0 {
		t.Errorf("%d files left open", d.Handles())
	}
}

func TestFullDiskIsAStateThatPasses(t *testing.T) {
	for name, budget := range map[string]int64{"disk": 0, "budget": 2 * 32 << 10} {
		t.Run(name, func(t *testing.T) {
			var made atomic.Int64
			d := disk(t, func(op crashfs.Op) error {
				if op.Kind == "preallocate" && made.Add(1) > 2 && budget == 0 { // LeastBytes is SegmentBytes
					return syscall.ENOSPC
				}
				return nil
			})
			opt := options(d)
			opt.MaxBytes = budget
			l := mustOpen(t, opt)
			last := uint64(0)
			for l.Full() == nil {
				last = appendNext(t, l, opt.Incarnation, last, 20)
			}
			if !errors.Is(l.Full(), wal.ErrFull) || l.Err() != nil {
				t.Fatalf("Full = %v, Err = %v", l.Full(), l.Err())
			}
			last = appendNext(t, l, opt.Incarnation, last, 100)
			l.Sync(last)
			for l.SyncedLSN() < last {
				l.Release(l.SyncedLSN()) // the flush to the bucket makes room
				<-l.Synced()
			}
			if err := l.Err(); err != nil {
				t.Fatal(err)
			}
			mustClose(t, l)
		})
	}
}

func TestCloseOfAFullLogSaysSo(t *testing.T) {
	d := disk(t, nil)
	opt := options(d)
	opt.MaxBytes = 2 * opt.SegmentBytes
	l := mustOpen(t, opt)
	last := appendNext(t, l, opt.Incarnation, 0, 400)
	waitFull(l, true)
	if err := l.Close(); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("Close = %v, want ErrFull", err)
	}
	inc := scanOne(t, next(opt, d))
	if inc.LastLSN < l.SyncedLSN() || inc.LastLSN >= last || inc.Damage != nil {
		t.Fatalf("log ends at %d, synced %d, appended %d, %v", inc.LastLSN, l.SyncedLSN(), last, inc.Damage)
	}
	if d.Handles() != 0 {
		t.Errorf("%d files left open", d.Handles())
	}
}

func TestBadAppendsAreRefusedWhole(t *testing.T) {
	l := mustOpen(t, options(disk(t, nil)))
	good := wal.Record{Epoch: 1, Batch: []byte("x")}
	for name, bad := range map[string][]byte{
		"empty": nil, "longer than a file": make([]byte, 32<<10), "longer than MaxRecord": make([]byte, wal.MaxRecord+1),
	} {
		if _, err := l.Append([]wal.Record{good, {Batch: bad}}); err == nil || (bad != nil) != errors.Is(err, wal.ErrTooLarge) {
			t.Errorf("Append of a batch that is %s: %v", name, err)
		}
	}
	last, err := l.Append([]wal.Record{good})
	if last != 1 || err != nil {
		t.Errorf("Append = %d, %v", last, err)
	}
	mustClose(t, l)
	if _, err := l.Append([]wal.Record{good}); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("Append after Close: %v", err)
	}
	mustClose(t, l)
}

func TestOpenRefusesContradictions(t *testing.T) {
	d := disk(t, nil)
	l := mustOpen(t, options(d))
	defer l.Close()
	for name, change := range map[string]func(*wal.Options){
		"same incarnation":  func(*wal.Options) {},
		"no incarnation":    func(o *wal.Options) { o.Incarnation = segment.ID{} },
		"no cluster":        func(o *wal.Options) { o.Cluster = segment.ID{} },
		"no folder":         func(o *wal.Options) { o.Dir = "" },
		"odd file size":     func(o *wal.Options) { o.SegmentBytes = 5000 },
		"tiny file":         func(o *wal.Options) { o.SegmentBytes = 512 },
		"budget of a file":  func(o *wal.Options) { o.MaxBytes = o.SegmentBytes },
		"folder is no name": func(o *wal.Options) { o.Dir = "/data/nowhere/\x00/x"; o.FS = wal.OS{} },
	} {
		opt := options(d)
		change(&opt)
		if _, err := wal.Open(opt); err == nil {
			t.Errorf("%s: Open succeeded", name)
		}
	}
}

// Every operation fails once, in turn, and the log with it: whatever was
// reported synced before is still there, and nothing is after.
func TestEveryFailureIsFinal(t *testing.T) {
	for fail := int64(1); ; fail++ {
		var ops atomic.Int64
		var failed atomic.Bool
		d := crashfs.New(func(op crashfs.Op) error {
			if ops.Add(1) == fail {
				failed.Store(true)
				return syscall.EIO
			}
			return nil
		})
		synced := runToFailure(t, options(d))
		if !failed.Load() {
			if fail < 20 {
				t.Fatalf("only %d operations", fail)
			}
			return
		}
		found, err := wal.Scan(next(options(nil), d.Image(crashfs.KeepNone)))
		if err != nil {
			t.Fatal(err)
		}
		if synced == 0 {
			continue
		}
		if len(found) != 1 || found[0].Damage != nil || found[0].LastLSN < synced || found[0].FirstLSN > synced+1 {
			t.Fatalf("failure of operation %d: %d was synced, found %+v", fail, synced, found[0])
		}
	}
}

// runToFailure uses a log until it fails or is done, and returns the LSN up to
// which it reported records as synced.
func runToFailure(t *testing.T, opt wal.Options) uint64 {
	l, err := wal.Open(opt)
	if err != nil {
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("Open = %v", err)
		}
		return 0
	}
	last := uint64(0)
	for range 12 {
		recs := make([]wal.Record, 10)
		for i := range recs {
			recs[i] = record(opt.Incarnation, last+1+uint64(i))
		}
		if last, err = l.Append(recs); err != nil {
			break
		}
		if err = waitSynced(l, last); err != nil {
			break
		}
		l.Release(last - 5)
	}
	synced := l.SyncedLSN()
	if err != nil && !errors.Is(err, syscall.EIO) {
		t.Fatalf("the log failed with %v", err)
	}
	closeErr := l.Close()
	if err != nil && closeErr == nil {
		t.Fatalf("the log failed with %v and closed without an error", err)
	}
	if err != nil && l.SyncedLSN() != synced {
		t.Fatalf("synced moved from %d to %d after the failure", synced, l.SyncedLSN())
	}
	return l.SyncedLSN()
}
