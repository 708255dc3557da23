package model

import "slices"

// Sizes for the bounds of Config. States are compared and kept whole, so they
// are small.
const (
	maxSeqs    = 8 // seqs 0 to 7; 0 is the opening fence
	maxFlight  = 5
	maxProcs   = 3
	maxFloors  = 2
	maxSlots   = 4
	maxEpoch   = 15
	maxResends = 3 // versions of an object that its bits can distinguish
)

type phase uint8

const (
	none     phase = iota // not a process within the bounds
	idle                  // not started, or down
	reading               // reads next
	judging               // holds an object back until the floor is read
	fencing               // own fence sent, outcome open
	checking              // own fence stored, the floor is read
	settling              // fillers sent
	leading
	ended // stepped down
)

type slotState uint8

const (
	slotFree     slotState = iota
	slotSending            // an answer to the last PUT may come
	slotChecking           // outcome unknown: the key is to be read
	slotStored
	slotTaken // an older epoch's object is at the key; only when settling
)

// slot is the place of an own object: its state and the version sent last.
type slot uint8

func newSlot(s slotState, version uint8) slot { return slot(uint8(s) | version<<4) }
func (s slot) state() slotState               { return slotState(s & 15) }
func (s slot) version() uint8                 { return uint8(s >> 4) }

// process is one leader or one follower. A field without a use in its phase is 0, so
// that states do not differ by unused fields.
type process struct {
	phase    phase
	follower bool
	writer   uint8 // names this start of the process, 1, 2, …; 0 when down
	mine     uint8 // epoch of its own fence

	next  uint8  // lowest seq not resolved
	epoch uint8  // highest epoch below next
	fence ref    // the object that opened epoch
	last  ref    // last valid object: the next fence names it
	first ref    // its first fence, kept only where a rule switched off needs it
	known uint8  // number of the last floor object read
	lost  bool   // held took the place of its fence
	was   uint8  // its name before it gave up, kept only where a rule switched off needs it
	left  uint8  // data objects it may still send
	again uint8  // re-sends it may still make
	held  object // read at next, not taken yet
	slots [maxSlots]slot
}

// state is the whole system, with the history by which violations are judged.
type state struct {
	bucket [maxSeqs]object // the present object at each key
	log    [maxSeqs]object // the first object stored there: the truth
	flight [maxFlight]object
	procs  [maxProcs]process
	floors [maxFloors]uint8 // floors/1, floors/2; 0 is absent
	starts uint8            // of processes so far
	crash  uint8            // restarts left
	lives  uint8            // of Config.Lives, left
}

// floor is the floor in force.
func (s *state) floor() uint8 { return s.floorAt(s.floorCount()) }

func (s *state) floorCount() uint8 {
	n := uint8(0)
	for n < maxFloors && s.floors[n] != 0 {
		n++
	}
	return n
}

func (s *state) floorAt(n uint8) uint8 {
	if n == 0 {
		return 0
	}
	return s.floors[n-1]
}

// meaning is the meaning of the log's object at a seq to readers that read in
// order.
type meaning uint8

const (
	open meaning = iota // no object, or a gap below it: not known yet
	void
	valid
)

func (s *state) meaning(seq uint8) meaning {
	highest := uint8(0)
	for q := uint8(0); q <= seq; q++ {
		o := s.log[q]
		switch {
		case o == 0:
			return open
		case q == seq && o.epoch() < highest:
			return void
		}
		highest = max(highest, o.epoch())
	}
	return valid
}

// head returns the lowest seq at which no object was ever stored.
func (s *state) head() uint8 {
	for q := range s.log {
		if s.log[q] == 0 {
			return uint8(q)
		}
	}
	return maxSeqs
}

// send puts o under way, if the bound on messages allows that.
func (s *state) send(o object) bool {
	for i := range s.flight {
		if s.flight[i] == 0 {
			s.flight[i] = o
			return true
		}
	}
	return false
}

// canonical makes states equal that differ only in the order of messages or of
// processes. Neither order matters: a message is for a key and from a writer,
// and processes differ by their knowledge.
func (s *state) canonical() {
	slices.SortFunc(s.flight[:], func(a, b object) int { return int(b) - int(a) })
	procs := s.procs[:]
	for i := 1; i < len(procs); i++ {
		for j := i; j > 0 && procs[j].before(&procs[j-1]); j-- {
			procs[j], procs[j-1] = procs[j-1], procs[j]
		}
	}
}

func (p *process) before(q *process) bool {
	switch {
	case (p.phase == none) != (q.phase == none):
		return q.phase == none
	case p.follower != q.follower:
		return q.follower
	case p.writer != q.writer:
		return p.writer > q.writer
	case p.phase != q.phase:
		return p.phase < q.phase
	case p.left != q.left:
		return p.left > q.left
	}
	return p.again > q.again
}
