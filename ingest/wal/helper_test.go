package wal_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/tiering/segment"
)

var images = flag.Int("wal.images", 2000, "crash images to check")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "/data/wal/7"

// options are those of the first incarnation on a disk.
func options(fsys wal.FS) wal.Options {
	return wal.Options{
		Dir: dir, Cluster: segment.ID{1}, Node: segment.ID{2}, Incarnation: segment.ID{3},
		Journal: 7, FS: fsys, SegmentBytes: 32 << 10,
	}
}

// next are the options of a later start.
func next(opt wal.Options, fsys wal.FS) wal.Options {
	opt.Incarnation[0]++
	opt.FS = fsys
	return opt
}

// record returns the record that tests append with a given LSN. It is the same
// every time, of 60 bytes to some KiB, and at times long enough not to be
// copied.
func record(id segment.ID, lsn uint64) wal.Record {
	made.Lock()
	defer made.Unlock()
	key := recordKey{id, lsn}
	if _, ok := made.records[key]; !ok {
		made.records[key] = makeRecord(id, lsn)
	}
	return made.records[key]
}

type recordKey struct {
	id  segment.ID
	lsn uint64
}

// made keeps the results of record, which many images are compared with.
var made = struct {
	sync.Mutex
	records map[recordKey]wal.Record
}{records: map[recordKey]wal.Record{}}

func makeRecord(id segment.ID, lsn uint64) wal.Record {
	rng := rand.New(rand.NewPCG(lsn, uint64(id[0])))
	n := 1 + rng.IntN(900)
	if rng.IntN(12) == 0 {
		n = 8<<10 + rng.IntN(2000)
	}
	batch := make([]byte, n)
	for i := range batch {
		batch[i] = byte(rng.Uint32())
	}
	return wal.Record{
		LSN: lsn, Topic: segment.ID{byte(rng.IntN(3)), 1}, Index: int32(rng.IntN(9)),
		Epoch: uint32(1 + lsn/100), BaseOffset: rng.Int64(), Batch: batch,
	}
}

func equal(a, b wal.Record) bool {
	return bytes.Equal(a.Batch, b.Batch) && a.LSN == b.LSN && a.Topic == b.Topic && a.Index == b.Index &&
		a.Epoch == b.Epoch && a.BaseOffset == b.BaseOffset
}

// appendNext appends the next n records and returns the last LSN.
func appendNext(t testing.TB, l *wal.Log, id segment.ID, last uint64, n int) uint64 {
	t.Helper()
	recs := make([]wal.Record, n)
	for i := range recs {
		recs[i] = record(id, last+1+uint64(i))
		recs[i].LSN = 0
	}
	got, err := l.Append(recs)
	if err != nil || got != last+uint64(n) {
		t.Fatalf("Append = %d, %v; want %d", got, err, last+uint64(n))
	}
	return got
}

// waitSynced syncs and waits; it returns the failure of the log, if it fails.
func waitSynced(l *wal.Log, lsn uint64) error {
	l.Sync(lsn)
	for l.SyncedLSN() < lsn {
		if err := l.Err(); err != nil {
			return err
		}
		<-l.Synced()
	}
	return nil
}

// waitFull waits until Full is an error, or none.
func waitFull(l *wal.Log, full bool) {
	for (l.Full() != nil) != full {
		<-l.Synced()
	}
}

func mustOpen(t testing.TB, opt wal.Options) *wal.Log {
	t.Helper()
	l, err := wal.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustClose(t testing.TB, l *wal.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// scanOne scans a folder that holds one older log.
func scanOne(t testing.TB, opt wal.Options) *wal.Incarnation {
	t.Helper()
	found, err := wal.Scan(opt)
	if err != nil || len(found) != 1 {
		t.Fatalf("Scan found %d logs, %v; want 1", len(found), err)
	}
	return found[0]
}

// checkRead reads a log and checks that it holds first to last as appended.
func checkRead(inc *wal.Incarnation, first, last uint64) error {
	if inc.FirstLSN != first || inc.LastLSN != last {
		return fmt.Errorf("log holds %d to %d, want %d to %d", inc.FirstLSN, inc.LastLSN, first, last)
	}
	lsn := first
	err := inc.Read(first, func(r wal.Record) error {
		if !equal(r, record(inc.ID, lsn)) {
			return fmt.Errorf("record %d was read as %d, or changed", lsn, r.LSN)
		}
		lsn++
		return nil
	})
	if err == nil && lsn != last+1 {
		err = fmt.Errorf("reading ended before record %d, want %d", lsn, last+1)
	}
	return err
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// disk is an empty disk with the folder "/data".
func disk(t fataler, before func(crashfs.Op) error) *crashfs.FS {
	t.Helper()
	d := crashfs.New(before)
	for _, err := range []error{d.Mkdir("/data"), d.SyncDir("/")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}
