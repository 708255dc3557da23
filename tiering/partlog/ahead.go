package partlog

import (
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// Ahead has the idempotent producers of a partition with batches that are appended and not
// committed. With the committed state it is the table by which a leader checks batches,
// so that the leader keeps no second table of all producers. The caller of Apply owns it.
type Ahead struct {
	state *State
	key   Key
	byID  map[int64]*window
}

// NewAhead returns the table of a partition whose batches are all committed.
func NewAhead(s *State, k Key) *Ahead {
	return &Ahead{state: s, key: k, byID: make(map[int64]*window)}
}

// Check decides on a batch that is about to be appended, as window.check does.
func (a *Ahead) Check(h batch.Header) (Verdict, segment.ProducerBatch, error) {
	if w := a.byID[h.ProducerID]; w != nil {
		return w.check(h)
	}
	return a.state.Check(a.key, h)
}

// Check decides on a batch by the committed batches alone, as window.check does.
func (s *State) Check(k Key, h batch.Header) (Verdict, segment.ProducerBatch, error) {
	if h.ProducerID < 0 {
		return (*window)(nil).check(h)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.windowLocked(k, h.ProducerID).check(h)
}

// windowLocked returns the committed batches of a producer, nil if it is not known.
func (s *State) windowLocked(k Key, id int64) *window {
	p := s.parts[k]
	if p == nil {
		return nil
	}
	return p.producers.window(id)
}

// Add notes that a batch which Check called new was appended at offset base.
func (a *Ahead) Add(h batch.Header, base int64) {
	if h.ProducerID < 0 {
		return
	}
	w := a.byID[h.ProducerID]
	if w == nil {
		w = a.state.window(a.key, h.ProducerID)
		a.byID[h.ProducerID] = w
	}
	w.add(h.ProducerEpoch, batchAt(&h, base))
}

// window returns a copy of the committed batches of a producer, with room for more.
func (s *State) window(k Key, id int64) *window {
	w := &window{batches: make([]segment.ProducerBatch, 0, segment.MaxProducerBatches)}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if known := s.windowLocked(k, id); known != nil {
		w.epoch, w.batches = known.epoch, append(w.batches, known.batches...)
	}
	return w
}

// Committed follows a committed object, which the state has: it forgets the producers
// with no later batch. r are the records of the partition in that object.
func (a *Ahead) Committed(r *segment.Partition) {
	for _, p := range r.Producers {
		if w := a.byID[p.ID]; w != nil && w.last().LastOffset <= r.LastOffset {
			delete(a.byID, p.ID)
		}
	}
}
