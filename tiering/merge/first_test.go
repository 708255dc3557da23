package merge

import (
	"slices"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
)

// TestTheFirstJobsOfALeadershipAreSmall: leaders that die soon merge something, too.
func TestTheFirstJobsOfALeadershipAreSmall(t *testing.T) {
	w := newWorld(t, 4, seeded.Seed(t))
	for range 80 {
		w.produce(1, 3, 1000)
	}
	w.lead()
	var read []int64
	for before := int64(0); w.merger.plan() != nil && len(read) < 8; before = w.merger.Stats().ReadBytes {
		if _, err := w.merger.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := w.merger.Stats(); now.Jobs[1] > int64(len(read)) {
			read = append(read, now.ReadBytes-before)
		}
	}
	whole := w.opt.JobBytes
	if read[0] > whole*2/3 || slices.Max(read) < whole/2 {
		t.Errorf("jobs read %d bytes, a whole one reads %d", read, whole)
	}
}
