package sim

import (
	"math/rand"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
)

// Shape is a simulation; P says how much of everything there is in it.
type Shape[P any] struct {
	Draw func(r *rand.Rand) P            // of a seed
	Run  func(w *World, p P)             // World.Fail reports failures
	Less []func(P) (smaller P, can bool) // ways to make it smaller, for shrinking
	Must []string                        // names that World.Count must have counted in a full run, and in a short one
	Rare []string                        // the same in a full run only
}

func (s Shape[P]) test() seeded.Test[P] {
	return seeded.Test[P]{
		Draw: func(seed int64) P { return s.Draw(rand.New(rand.NewSource(^seed))) },
		Run: func(t *seeded.T, p P) {
			w := newWorld(t)
			defer w.Close()
			s.Run(w, p)
		},
		Less: s.Less, Must: s.Must, Rare: s.Rare,
	}
}

// Run simulates many seeds, or under -short few, as seeded.Run does.
func Run[P any](t *testing.T, s Shape[P], many, few int) { seeded.Run(t, s.test(), many, few) }

// Replays runs seeds twice and returns an error if the traces differ.
func Replays[P any](s Shape[P], n int64) error { return seeded.Replays(s.test(), n) }
