package sim

import (
	"math/rand"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
)

// TestShrinkingLeavesOutFaultsThatAreNotNeeded plants a failure that takes a fault in
// the first second and one in the last, among hundreds of others.
func TestShrinkingLeavesOutFaultsThatAreNotNeeded(t *testing.T) {
	s := Shape[int]{
		Draw: func(*rand.Rand) int { return 1000 },
		Run: func(w *World, steps int) {
			early := false
			for i := range steps {
				w.After(time.Duration(i)*10*time.Millisecond, "step", func() {
					if !w.Chance(0.3) {
						return
					}
					early = early || i < 100
					if early && i >= 900 {
						w.Fail("planted")
					}
				})
			}
			w.Run(time.Minute, nil)
		},
	}
	drawn, shrunk := seeded.Shrink(t, s.test(), 1)
	if drawn.Choices < 250 || shrunk.Choices != 2 || shrunk.Events > drawn.Events {
		t.Errorf("%+v is shrunk to %+v, want 2 choices", drawn, shrunk)
	}
}
