package wal_test

import (
	"bytes"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/segment"
)

func options(t testing.TB) wal.Options {
	return wal.Options{
		Dir: t.TempDir() + "/wal/7", Cluster: segment.ID{1}, Node: segment.ID{2},
		Incarnation: segment.ID{3}, Journal: 7, SegmentBytes: 64 << 10,
	}
}

func TestSyncedRecordsAreReadBackByTheNextIncarnation(t *testing.T) {
	opt := options(t)
	l, err := wal.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	recs := []wal.Record{{Topic: segment.ID{9}, Index: 4, Epoch: 2, BaseOffset: 100, Batch: []byte("batch")}}
	last, err := l.Append(recs)
	if err != nil || last != 1 {
		t.Fatalf("Append = %d, %v", last, err)
	}
	l.Sync(last)
	for l.SyncedLSN() < last {
		<-l.Synced()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	opt.Incarnation = segment.ID{4}
	found, err := wal.Scan(opt)
	if err != nil || len(found) != 1 {
		t.Fatalf("Scan = %v, %v", found, err)
	}
	err = found[0].Read(1, func(r wal.Record) error {
		if r.LSN != 1 || r.Index != 4 || r.BaseOffset != 100 || !bytes.Equal(r.Batch, recs[0].Batch) {
			t.Errorf("read %+v", r)
		}
		return nil
	})
	if err != nil || found[0].Records() != 1 {
		t.Fatalf("read %d records, %v", found[0].Records(), err)
	}
}
