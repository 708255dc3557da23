package wal_test

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/tiering/buffer"
)

// appendPooled appends a batch in memory of a pool, to which the caller keeps no
// reference.
func appendPooled(t *testing.T, l *wal.Log, p *buffer.Pool, n int) []byte {
	t.Helper()
	b := p.Get(n)
	defer b.Release()
	copy(b.Bytes(), bytes.Repeat([]byte{byte(n)}, n))
	if _, err := l.Append([]wal.Record{{Batch: b.Bytes(), Memory: b}}); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

// The disk is slow, and other batches want memory: the bytes that are written are the
// ones that were appended.
func TestMemoryIsHeldUntilTheRecordIsWritten(t *testing.T) {
	busy := make(chan struct{})
	d := disk(t, func(op crashfs.Op) error {
		if op.Kind == "write" && strings.HasSuffix(op.Path, ".wal") {
			<-busy
		}
		return nil
	})
	opt := options(d)
	l := mustOpen(t, opt)
	pool := buffer.NewPool(1 << 20)
	var want [][]byte
	for _, n := range []int{600, 9 << 10, 600, 9 << 10, 10} {
		want = append(want, appendPooled(t, l, pool, n))
	}
	request := pool.Get(100_000) // with two small batches for this log
	if _, err := l.Append([]wal.Record{{Batch: request.Bytes()[:10:10], Memory: request}, {Batch: request.Bytes()[50:90], Memory: request}}); err != nil {
		t.Fatal(err)
	}
	want = append(want, bytes.Clone(request.Bytes()[:10]), bytes.Clone(request.Bytes()[50:90]))
	request.Release()
	if n := l.Unwritten(); n < 100_000 || n > pool.InUse() {
		t.Errorf("%d bytes count while the disk is busy, and %d are held", n, pool.InUse())
	}
	close(busy)
	if err := waitSynced(l, uint64(len(want))); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	if pool.InUse() != 0 || l.Unwritten() != 0 {
		t.Errorf("%d bytes are held after all is written, %d count", pool.InUse(), l.Unwritten())
	}
	err := scanOne(t, next(opt, d)).Read(1, func(r wal.Record) error {
		if !bytes.Equal(r.Batch, want[r.LSN-1]) {
			t.Errorf("record %d is another one than was appended", r.LSN)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestABrokenLogGivesMemoryBack(t *testing.T) {
	errBroken := errors.New("broken disk")
	var broken atomic.Bool
	d := disk(t, func(op crashfs.Op) error {
		if broken.Load() && op.Kind == "write" {
			return errBroken
		}
		return nil
	})
	l := mustOpen(t, options(d))
	pool := buffer.NewPool(1 << 20)
	broken.Store(true)
	for range 20 {
		b := pool.Get(10_000)
		_, err := l.Append([]wal.Record{{Batch: b.Bytes(), Memory: b}})
		b.Release()
		if err != nil {
			break
		}
	}
	if err := l.Close(); !errors.Is(err, errBroken) {
		t.Errorf("closed with %v", err)
	}
	if pool.InUse() != 0 {
		t.Errorf("%d bytes are still held", pool.InUse())
	}
}
