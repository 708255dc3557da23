package tieringmodel

import (
	"fmt"
	"hash/maphash"
)

// Config defines the rules to check, and the bounds of the search.
type Config struct {
	Bounds    Bounds
	Without   Rules // rules to do without; none by default
	MaxStates int   // give up beyond; 0 is no limit
	TidyEach  int   // Segments tidies up from one state in so many; 0: from none
}

// Bounds are how often something may happen, by its name. Zero: never.
type Bounds struct {
	Objects int // records: objects before the start, of one record of each partition
	Records int // more of these
	Length  int // of the log
	Window  int // objects under way

	Deletes, Drops                                    int // DeleteRecords, deleted partitions
	Jobs, Abandons, Releases, JournalReleases, Swepts int // entries
	Epochs, Floors                                    int // leaderships in all, floors
	Sends                                             int // PUTs of an object
	Flips, Doubled, Rots                              int // PUTs stored damaged, PUTs of the journal sent twice, sources that rot
	Limit                                             int // objects listed; 0: no limit

	Split  bool // a job of two partitions may have two Results
	Join   bool // entries may share an object
	Reader bool // a follower
	Open   bool // B has an open transaction at its end
	NoLeak bool // do not ask whether all objects are known

	Seqs, Starts, Passes int // of Pages and Compacting
}

// Result is the result of a search.
type Result struct {
	Violation string   // the first broken promise, or ""
	Trace     []string // steps that lead there, as few as possible
	States    int      // different ones seen
	Exhausted bool     // there are no others within the bounds
}

// step leads from a state to the next; its machine knows the meaning.
type step struct{ what, a, b, c int8 }

// machine lists the steps that can be taken from a state. emit gets each, with the
// state that it leads to and the promise that is broken there.
type machine[S comparable] interface {
	first() S
	steps(s *S, emit func(next *S, st step, violation string))
	describe(st step, before, after *S) string
	// tidied returns the promise that is broken if s is tidied up.
	tidied(s *S) string
}

// search goes breadth first, so that traces are shortest.
type search[S comparable] struct {
	cfg   Config
	m     machine[S]
	seeds [2]maphash.Seed
	seen  map[[2]uint64]struct{}
	nodes []node
}

// node remembers how a state was first reached: from which, by which of its steps.
type node struct {
	parent uint32
	nth    uint16
}

type reached[S comparable] struct {
	state S
	node  uint32
}

func run[S comparable](cfg Config, m machine[S]) Result {
	s := &search[S]{
		cfg: cfg, m: m, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		seen: map[[2]uint64]struct{}{}, nodes: make([]node, 1),
	}
	first := m.first()
	s.seen[s.hash(&first)] = struct{}{}
	now, then := []reached[S]{}, []reached[S]{{state: first}}
	for len(then) > 0 {
		now, then = then, now[:0]
		for i := range now {
			var broken *Result
			if then, broken = s.expand(&now[i], then); broken != nil {
				return *broken
			}
			if cfg.MaxStates > 0 && len(s.nodes) >= cfg.MaxStates {
				return Result{States: len(s.nodes)}
			}
		}
	}
	return Result{States: len(s.nodes), Exhausted: true}
}

func (s *search[S]) hash(state *S) [2]uint64 {
	return [2]uint64{maphash.Comparable(s.seeds[0], *state), maphash.Comparable(s.seeds[1], *state)}
}

// expand adds the new states that follow r to then.
func (s *search[S]) expand(r *reached[S], then []reached[S]) ([]reached[S], *Result) {
	var broken *Result
	nth, fresh := uint16(0), len(then)
	s.m.steps(&r.state, func(next *S, st step, violation string) {
		if broken != nil {
			return
		}
		if violation != "" {
			broken = s.broken(r.node, nth, violation)
			return
		}
		h := s.hash(next)
		if _, ok := s.seen[h]; !ok {
			s.seen[h] = struct{}{}
			then = append(then, reached[S]{*next, uint32(len(s.nodes))})
			s.nodes = append(s.nodes, node{r.node, nth})
		}
		nth++
	})
	for i := fresh; s.cfg.TidyEach > 0 && i < len(then) && broken == nil; i++ {
		at := then[i].node
		if int(at)%s.cfg.TidyEach != 0 {
			continue
		}
		if violation := s.m.tidied(&then[i].state); violation != "" {
			broken = s.broken(s.nodes[at].parent, s.nodes[at].nth, violation)
		}
	}
	return then, broken
}

// broken is a Result: the steps from the first state to n, and the last step.
func (s *search[S]) broken(n uint32, last uint16, violation string) *Result {
	path := []uint16{last}
	for ; n != 0; n = s.nodes[n].parent {
		path = append(path, s.nodes[n].nth)
	}
	r := &Result{Violation: violation, States: len(s.nodes)}
	state := s.m.first()
	for k := len(path) - 1; k >= 0; k-- {
		nth := uint16(0)
		var next S
		s.m.steps(&state, func(to *S, st step, _ string) {
			if nth == path[k] {
				next = *to
				r.Trace = append(r.Trace, s.m.describe(st, &state, to))
			}
			nth++
		})
		state = next
	}
	return r
}

func violated(format string, args ...any) string { return fmt.Sprintf(format, args...) }
