package journal

import (
	"sync"
	"time"
)

const (
	// StandFor is how long a leader may say that it leads after it is known to have
	// led.
	StandFor = 5 * time.Second
	// doubtFor is how long a failed proof is the answer to more questions: a store
	// that is away must not make each of them wait.
	doubtFor = time.Second
)

// Standing is a leader's knowledge that it still leads. A leader that writes nothing, or
// that stood still, does not notice that another has taken its place. Before it gives an
// answer that only a leader may give, it confirms that it led within StandFor.
// One proof answers all callers that wait; without callers nothing is sent to the store.
//
// It is pure, and owned by one goroutine but for Holds. All times are those at which
// a request was sent: its answer may be read much later.
type Standing struct {
	mu   sync.Mutex
	led  time.Time            // guarded by mu: it led at this time; zero before and after
	sent map[uint64]time.Time // first attempts to store own objects, by seq

	waiting []func(error)
	err     error     // of the last proof, if that failed
	until   time.Time // err is the answer
}

// Holds reports whether the leader may say at now that it leads.
func (s *Standing) Holds(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.led.IsZero() && within(s.led, now, StandFor)
}

// within reports whether d has not passed since then by either clock: the monotonic
// one stops while a machine sleeps, the other may be set.
func within(then, now time.Time, d time.Duration) bool {
	wall := now.Round(0).Sub(then.Round(0))
	return now.Sub(then) <= d && wall <= d && wall >= 0
}

// Sent notes an attempt to store an own object.
func (s *Standing) Sent(seq uint64, now time.Time) {
	if s.sent == nil {
		s.sent = map[uint64]time.Time{}
	}
	if _, again := s.sent[seq]; !again {
		s.sent[seq] = now
	}
}

// Committed notes that an own object counts: no other node had fenced when it was sent.
func (s *Standing) Committed(seq uint64) {
	if at, ok := s.sent[seq]; ok {
		delete(s.sent, seq)
		s.note(at)
	}
}

// Proved notes a proof that was asked for at a time.
func (s *Standing) Proved(asked time.Time) { s.note(asked) }

func (s *Standing) note(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.led) {
		s.led = at
	}
}

// End notes that the leadership is over. A later one begins without its knowledge.
func (s *Standing) End() {
	s.sent, s.err, s.until = nil, nil, time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.led = time.Time{}
}

// Confirm answers at once or has answer wait for a proof; it reports whether one is to
// be asked for, whose outcome Answer takes.
func (s *Standing) Confirm(now time.Time, answer func(error)) (prove bool) {
	switch {
	case s.Holds(now):
		answer(nil)
		return false
	case s.err != nil && len(s.waiting) == 0 && now.Before(s.until):
		answer(s.err)
		return false
	}
	s.waiting = append(s.waiting, answer)
	return len(s.waiting) == 1
}

// Answer gives all callers that wait the outcome of a proof. It reports whether one
// more is to be asked for: the process stood still while this one was under way, and
// it is too old to say anything about now.
func (s *Standing) Answer(now time.Time, err error) (again bool) {
	if err == nil && !s.Holds(now) {
		return true
	}
	s.err, s.until = err, now.Add(doubtFor)
	waiting := s.waiting
	s.waiting = nil
	for _, answer := range waiting {
		answer(err)
	}
	return false
}
