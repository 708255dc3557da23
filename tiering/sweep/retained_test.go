package sweep

import (
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// TestBytesThatTheBucketKeepsAreMeasured: a range of journal objects takes one list.
func TestBytesThatTheBucketKeepsAreMeasured(t *testing.T) {
	for _, retains := range []bool{false, true} {
		w, replaced := mergedWorld(t)
		w.opt.Retains = retains
		w.lead()
		w.run(w.releaser.Run)
		want := int64(0)
		for _, g := range w.state.Garbage() {
			for seq := g.Seqs.First; seq > 0 && seq <= g.Seqs.Last; seq++ {
				b, _ := w.store.GetNow(segment.JournalKey(1, seq))
				want += int64(len(b))
			}
		}
		b, _ := w.store.GetNow(replaced.Key())
		want += int64(len(b))
		w.floor, w.now = w.seq, w.now.Add(MergeGrace)
		lists := w.store.Calls(objstore.OpList)
		w.run(w.deleter.Run)
		lists = w.store.Calls(objstore.OpList) - lists - 1 // that of the holds
		if got := w.deleter.Retained(); retains && (got != want || lists != 2) || !retains && (got != 0 || lists != 0) {
			t.Errorf("retains %t: %d bytes of %d in %d lists", retains, got, want, lists)
		}
		before := w.deleter.Retained()
		w.now = w.now.Add(w.opt.Again)
		if w.run(w.deleter.Run); w.deleter.Retained() != before {
			t.Errorf("retains %t: the second deletion counts %d bytes", retains, w.deleter.Retained()-before)
		}
	}
}
