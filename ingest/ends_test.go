package ingest

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

// The append side has a table only of producers ahead of the state. With the state it
// knows what one table of all batches knows.
func TestAppendSideKnowsWhatATableOfAllBatchesKnows(t *testing.T) {
	b := newBench(t)
	b.c.flusher.flushBytes = 300 // a few batches a segment
	var truth partlog.Producers
	check := func(when string) {
		t.Helper()
		for id := range int64(2) {
			for sequence := int32(0); sequence < 24; sequence += 2 {
				h := makeBatch(t, testKey, batchtest.Spec{ProducerID: 9 + id, Sequence: sequence}).Header
				verdict, original, err := b.c.ends.parts[testKey].producers.Check(h)
				want, wantOriginal, wantErr := truth.Check(h)
				if verdict != want || original != wantOriginal || !errors.Is(err, wantErr) {
					t.Fatalf("%s, producer %d, sequence %d: %d, %+v, %v, want %d, %+v, %v",
						when, 9+id, sequence, verdict, original, err, want, wantOriginal, wantErr)
				}
			}
		}
	}
	for i := range int32(20) {
		spec := batchtest.Spec{ProducerID: 9 + int64(i%2), Sequence: i / 2 * 2}
		b.append(AcksAll, spec)
		truth.Add(makeBatch(t, testKey, spec).Header, int64(2*i), 1)
		check("appended")
		if i == 10 {
			b.flush()
			b.commit()
			check("in the middle")
		}
	}
	for !b.c.flusher.buffer.empty() || len(b.sent) > 0 {
		b.flush()
		b.commit()
		check("committed")
	}
}
