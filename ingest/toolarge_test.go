package ingest

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// A client can send a batch that a write-ahead log with a small budget cannot
// hold. It is refused, and other clients are not affected.
func TestABatchThatTheLogCannotHoldIsRefused(t *testing.T) {
	f := newFolder(t)
	f.change = func(o *Options) { o.WAL.SegmentBytes = 256 << 10 }
	l := f.start()
	defer closeLeader(t, l)
	openTestKey(t, l)
	const size = 256 << 10 // as the files
	if err := trySize(t, l, size, time.Minute); !errors.Is(err, batch.ErrTooLarge) {
		t.Errorf("a batch of %d bytes: %v", size, err)
	}
	if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.Err != nil || r.BaseOffset != 0 {
		t.Errorf("the next one: %+v", r)
	}
}
