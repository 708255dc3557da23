package model

import (
	"fmt"
	"slices"
)

// Config defines the rules to check, and the bounds. In addition, no more than
// five PUTs are under way at any time: a step that would send a sixth has to
// wait.
type Config struct {
	Leaders  int   // processes that lead; the first one from the start, the others at any time
	Seqs     int   // highest seq, at most 7
	Window   int   // P of rule 2, at most 3
	Objects  []int // data segments that each leader may send
	Resends  int   // times that each leader may send an object again, at most 3
	Restarts int   // times that leaders may lose their memory, in all
	Lives    int   // times that leaders may give up and read on where they are, in all
	Floors   int   // floor objects that may be written, at most 2
	Reader   bool  // one follower, which begins at seq 1
	SlowRead bool  // leaders, too, read object by object; otherwise all at once when they start

	Without   Rules // rules to do without; none by default
	MaxStates int   // give up beyond; 0 is no limit
}

// Result is the result of Check.
type Result struct {
	Violation string   // the first broken promise, or ""
	Trace     []string // steps that lead there, as few as possible
	States    int      // different ones seen
	Exhausted bool     // there are no others within the bounds
}

func (c *Config) validate() error {
	processes := c.Leaders
	if c.Reader {
		processes++
	}
	switch {
	case c.Leaders < 1 || processes > maxProcs:
		return fmt.Errorf("%d processes, want 1 to %d and at least one leader", processes, maxProcs)
	case c.Seqs < 1 || c.Seqs >= maxSeqs:
		return fmt.Errorf("highest seq %d, want 1 to %d", c.Seqs, maxSeqs-1)
	case c.Window < 1 || c.Window >= maxSlots:
		return fmt.Errorf("window %d, want 1 to %d", c.Window, maxSlots-1)
	case len(c.Objects) != c.Leaders || slices.Min(c.Objects) < 0 || slices.Max(c.Objects) > 255:
		return fmt.Errorf("objects %v, want a number up to 255 for each of %d leaders", c.Objects, c.Leaders)
	case c.Floors < 0 || c.Floors > maxFloors:
		return fmt.Errorf("%d floors, want 0 to %d", c.Floors, maxFloors)
	case c.Leaders+c.Restarts+c.Lives > maxEpoch || c.Resends > maxResends || min(c.Restarts, c.Resends, c.Lives) < 0:
		return fmt.Errorf("%d restarts, %d lives and %d re-sends are out of bounds", c.Restarts, c.Lives, c.Resends)
	case c.Without&^AllRules != 0:
		return fmt.Errorf("rules %#x are unknown", uint32(c.Without&^AllRules))
	}
	return nil
}

// initial returns the first state: the first leader has fenced with epoch 1 and
// settled.
func (c *Config) initial() state {
	s := state{starts: 1, crash: uint8(c.Restarts), lives: uint8(c.Lives)}
	opening := newRef(0, 1, 1)
	s.log[0] = newObject(fence, opening, 0, 0)
	s.bucket[0] = s.log[0]
	for i := range c.Leaders {
		s.procs[i] = process{phase: idle, left: uint8(c.Objects[i]), again: uint8(c.Resends)}
	}
	first := &s.procs[0]
	first.phase, first.writer, first.mine, first.next, first.fence = leading, 1, 1, 1, opening
	if c.Reader {
		s.procs[c.Leaders] = process{phase: reading, follower: true, next: 1, epoch: 1, fence: opening, last: opening}
	}
	s.canonical()
	return s
}
