package model

import "fmt"

// machine lists the steps that can be taken from a state.
type machine struct {
	cfg   Config
	moves []move
}

// move is one step with the state that it leads to.
type move struct {
	state
	step      step
	violation string
}

func (v *move) violate(format string, args ...any) {
	if v.violation == "" {
		v.violation = fmt.Sprintf(format, args...)
	}
}

func (m *machine) on(r Rules) bool { return m.cfg.Without&r == 0 }

// begin adds a move from s. The pointer is valid until the next begin.
func (m *machine) begin(s *state, st step) *move {
	m.moves = append(m.moves, move{state: *s, step: st})
	return &m.moves[len(m.moves)-1]
}

// drop takes back the last move: the bounds do not allow it.
func (m *machine) drop() { m.moves = m.moves[:len(m.moves)-1] }

// successors returns the moves from s. They are valid until the next call.
func (m *machine) successors(s *state) []move {
	m.moves = m.moves[:0]
	m.deliver(s)
	for i := range s.procs {
		p := &s.procs[i]
		switch p.phase {
		case idle:
			m.start(s, i)
		case reading:
			m.read(s, i)
		case judging, checking:
			m.readFloor(s, i)
		case fencing, settling, leading:
			m.resolve(s, i)
		}
		if p.phase == leading {
			m.lead(s, i)
		}
		if !p.follower && p.phase > idle && s.crash > 0 {
			m.restart(s, i)
		}
		if !p.follower && p.phase >= fencing && p.phase <= leading && s.lives > 0 {
			m.resign(s, i)
		}
	}
	m.publishFloors(s)
	m.delete(s)
	for i := range m.moves {
		v := &m.moves[i]
		if v.violation == "" {
			m.checkConfirmed(v)
			m.dropInert(&v.state)
			v.canonical()
		}
	}
	return m.moves
}

// restart: the process loses its memory. Its PUTs stay under way, and its
// acknowledgements stay promised.
func (m *machine) restart(s *state, i int) {
	v := m.begin(s, step{what: restarted, writer: s.procs[i].writer})
	v.crash--
	v.procs[i].reset(idle)
}

// resign: the leadership is over, or the way to it, for whatever reason. The process reads
// on where it is, under another name, and may fence again. Its PUTs stay under way.
func (m *machine) resign(s *state, i int) {
	if s.starts >= maxEpoch {
		return
	}
	was, next := s.procs[i].writer, s.procs[i].next
	v := m.begin(s, step{what: resigned, writer: was, seq: next})
	v.lives--
	v.starts++
	p := &v.procs[i]
	p.reset(reading)
	p.writer = v.starts
	p.beginAt(s, next)
	if !m.on(AnswerOfObject) {
		p.was = was
	}
}

// reset clears everything but the bounds.
func (p *process) reset(to phase) {
	*p = process{phase: to, follower: p.follower, left: p.left, again: p.again}
}

// end: the process steps down, or stops following.
func (p *process) end() { p.reset(ended) }

// checkConfirmed checks that each seq that any process has confirmed is in the
// bucket or below the floor. Otherwise a reader that hears of it, finds no
// object and has read the floor would wrongly call the journal broken.
func (m *machine) checkConfirmed(v *move) {
	floor := v.floor()
	for i := range v.procs {
		p := &v.procs[i]
		for q := max(floor, 1); q < p.next; q++ {
			if v.bucket[q] == 0 {
				v.violate("CONFIRMED MISSING: p%d has confirmed seq %d, the floor is %d, and there is no object", p.writer, q, floor)
				return
			}
		}
	}
}

// dropInert drops PUTs that can have no effect any more: their key holds an
// object that can never be deleted, and no process waits for the answer.
func (m *machine) dropInert(s *state) {
	for i, o := range s.flight {
		if o == 0 || s.bucket[o.seq()] == 0 || s.meaning(o.seq()) == open || m.deletable(s, o.seq()) {
			continue
		}
		if j, _ := m.awaiting(s, o); j < 0 {
			s.flight[i] = 0
		}
	}
}
