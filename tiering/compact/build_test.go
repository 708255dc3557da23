package compact

import (
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestMarkersOfTransactionsHaveNoKeys: the key of a marker has four bytes, as numbers of 32
// bits have, which clients use as keys.
func TestMarkersOfTransactionsHaveNoKeys(t *testing.T) {
	key := []byte{0, 0, 0, 1}
	x := &running{Pass: NewPass(Range{To: 10, Last: 9}, NewMap(1<<10, Secret{})), model: &Model{Range: Range{To: 10}, End: 10}}
	for at, control := range []bool{false, true} {
		b := batchtest.Build(batchtest.Spec{
			BaseOffset: int64(at), Control: control, Transactional: control, ProducerID: 1,
			Records: []batchtest.Record{{Key: key, Value: []byte("value"), Timestamp: 1}},
		})
		h, err := batch.Parse(b)
		if err != nil || !x.note(b, &h) {
			t.Fatal("the batch was not taken", err)
		}
	}
	if r := (batch.Record{Offset: 0, Key: key, Value: []byte("value")}); !x.Keep(r) || !x.Stays(0, key, false) {
		t.Error("a record was replaced by a marker")
	}
	if x.End() != 2 {
		t.Errorf("the pass ends at %d", x.End())
	}
}
