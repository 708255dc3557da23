package model

// Check searches every state that can be reached within cfg's bounds, nearest
// first, until one breaks a promise. It needs some 250 bytes per state. The
// error is that of a Config out of bounds.
func Check(cfg Config) (Result, error) {
	if err := cfg.validate(); err != nil {
		return Result{}, err
	}
	return newSearch(cfg).run(), nil
}

// node remembers how a state was first reached.
type node struct {
	parent uint32
	step   step
}

// entry is a state whose steps have not been tried yet.
type entry struct {
	state state
	node  uint32
}

// search goes breadth first, so that traces are shortest.
type search struct {
	machine machine
	max     int
	seen    map[state]struct{}
	nodes   []node
	now     []entry // states of this distance from the first
	then    []entry // of the next
}

func newSearch(cfg Config) *search {
	first := cfg.initial()
	return &search{
		machine: machine{cfg: cfg}, max: cfg.MaxStates,
		seen: map[state]struct{}{first: {}}, nodes: make([]node, 1), then: []entry{{state: first}},
	}
}

func (s *search) run() Result {
	for len(s.then) > 0 {
		s.now, s.then = s.then, s.now[:0]
		for i := range s.now {
			if r, found := s.expand(&s.now[i]); found {
				return r
			}
			if s.max > 0 && len(s.nodes) >= s.max {
				return Result{States: len(s.nodes)}
			}
		}
	}
	return Result{States: len(s.nodes), Exhausted: true}
}

func (s *search) expand(e *entry) (Result, bool) {
	moves := s.machine.successors(&e.state)
	for i := range moves {
		v := &moves[i]
		if v.violation != "" {
			return Result{Violation: v.violation, Trace: s.trace(e.node, v.step), States: len(s.nodes)}, true
		}
		s.seen[v.state] = struct{}{}
		if len(s.seen) == len(s.nodes) {
			continue // seen before
		}
		s.then = append(s.then, entry{state: v.state, node: uint32(len(s.nodes))})
		s.nodes = append(s.nodes, node{parent: e.node, step: v.step})
	}
	return Result{}, false
}

// trace returns the steps from the first state to n, and last.
func (s *search) trace(n uint32, last step) []string {
	steps := []string{last.String()}
	for ; n != 0; n = s.nodes[n].parent {
		steps = append(steps, s.nodes[n].step.String())
	}
	for i, j := 0, len(steps)-1; i < j; i, j = i+1, j-1 {
		steps[i], steps[j] = steps[j], steps[i]
	}
	return steps
}
