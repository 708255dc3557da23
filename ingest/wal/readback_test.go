package wal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/segment"
)

// Records that were read back are released, and their file is reused under
// another name, while ReadBack stands at that file's end.
func TestReadBackGoesOnWhenItsFileIsGone(t *testing.T) {
	d := disk(t, nil)
	opt := options(d)
	opt.MaxBytes = 3 * opt.SegmentBytes // so that files must be reused
	l := mustOpen(t, opt)
	last := uint64(0)
	for range 400 {
		from := last + 1
		last = appendNext(t, l, opt.Incarnation, last, 3)
		if err := waitSynced(l, last); err != nil {
			t.Fatal(err)
		}
		err := l.ReadBack(from, func(r wal.Record) error {
			if !equal(r, record(opt.Incarnation, from)) {
				t.Fatalf("record %d read back as %d, or changed", from, r.LSN)
			}
			from++
			return nil
		})
		if err != nil || from != last+1 {
			t.Fatalf("read back up to %d, want %d; %v", from-1, last, err)
		}
		l.Release(last)
	}
	mustClose(t, l)
}

func TestReadBackGivesSyncedRecordsAcrossFiles(t *testing.T) {
	opt := wal.Options{
		Dir: t.TempDir(), Cluster: segment.ID{1}, Node: segment.ID{2}, Incarnation: segment.ID{3}, Journal: 1,
		SegmentBytes: 64 << 10,
	}
	l, err := wal.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var last uint64
	for i := range 100 {
		if last, err = l.Append([]wal.Record{{Topic: segment.ID{9}, BaseOffset: int64(i), Epoch: 1, Batch: bytes.Repeat([]byte{byte(i)}, 3000)}}); err != nil {
			t.Fatal(err)
		}
	}
	l.Sync(last)
	for l.SyncedLSN() < last {
		<-l.Synced()
	}
	if l.Unwritten() != 0 {
		t.Errorf("%d bytes unwritten after the sync", l.Unwritten())
	}
	errEnough := errors.New("enough")
	for _, from := range []uint64{1, 8, 40, 3, 100} { // in pieces of 7 records
		for next := from; next <= last; {
			n := 0
			err := l.ReadBack(next, func(r wal.Record) error {
				if n == 7 {
					return errEnough
				}
				if r.LSN != next || r.BaseOffset != int64(next-1) || r.Batch[0] != byte(next-1) {
					t.Fatalf("record %d at offset %d, want %d", r.LSN, r.BaseOffset, next)
				}
				n++
				next++
				return nil
			})
			if err != nil && err != errEnough {
				t.Fatal(err)
			}
		}
	}
}
