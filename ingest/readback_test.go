package ingest

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// Files that cannot be opened for reading back now are opened later. Batches
// that were read before are sent.
func TestReadingBackWaitsForDescriptors(t *testing.T) {
	b := newBench(t)
	b.c.flusher.maxMemory, b.room = 200, 1
	b.append(AcksNone, batchtest.Spec{})
	b.flush() // takes the only place
	for range 10 {
		b.append(AcksNone, batchtest.Spec{})
	}
	last := b.append(AcksAll, batchtest.Spec{})
	for len(b.c.flusher.buffer.batches) > 0 { // all that are not spilled
		b.commit()
		b.flush()
	}
	b.commit()
	b.c.wasSynced(b.logged)
	spilled := b.c.flusher.buffer.spilled
	b.back = fmt.Errorf("open: %w", syscall.EMFILE)
	for range 3 {
		b.flush()
		b.commit()
		b.flush()
		if wait := b.c.flusher.due().Sub(b.clock); len(b.sent) > 0 || wait != readBackPause {
			t.Fatalf("%d sent, next look after %v", len(b.sent), wait)
		}
		b.clock = b.clock.Add(readBackPause)
	}
	if b.c.flusher.buffer.spilled >= spilled {
		t.Errorf("%d spilled, were %d", b.c.flusher.buffer.spilled, spilled)
	}
	b.back = nil
	for range 4 {
		b.flush()
		if len(b.sent) > 0 {
			b.commit()
		}
	}
	if !b.c.flusher.buffer.empty() || !answered(last) || (*last)[0].Err != nil {
		t.Fatalf("not drained: %+v, %v", b.c.flusher.buffer, *last)
	}
}
