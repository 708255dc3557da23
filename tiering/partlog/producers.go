package partlog

import (
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// Producers is the table of a partition's idempotent producers. A batch costs a look-up,
// and the cost of an expiry follows the producers that it forgets, however many there are.
// The zero value is empty and ready. It is not safe for concurrent use.
type Producers struct {
	byID map[int64]*producer
	due  deadlines // one of each producer, no later than its last use
	// changed has the producers that no page has as they are, in any order, some twice,
	// and some that are forgotten.
	changed []int64
	batches int // that there is memory for
}

// producer is one of a partition. There may be a million, so each field counts.
type producer struct {
	window
	usedMs int64         // the latest use
	page   *producerPage // that has it as it is, nil if none
}

// Check decides on a batch that is about to be appended, as window.check does.
func (t *Producers) Check(h batch.Header) (Verdict, segment.ProducerBatch, error) {
	return t.window(h.ProducerID).check(h)
}

// window returns a producer's epoch and batches, nil if it is not known.
func (t *Producers) window(id int64) *window {
	if p := t.byID[id]; p != nil {
		return &p.window
	}
	return nil
}

// Add notes that a batch which Check called new was appended at offset base. usedMs is
// the time of this use of the producer, in Unix milliseconds.
func (t *Producers) Add(h batch.Header, base, usedMs int64) {
	if h.ProducerID < 0 {
		return
	}
	t.add(t.use(h.ProducerID, usedMs), h.ProducerEpoch, batchAt(&h, base))
}

func (t *Producers) add(p *producer, epoch int16, b segment.ProducerBatch) {
	t.batches -= cap(p.batches)
	p.add(epoch, b)
	t.batches += cap(p.batches)
}

// Merge notes the batches of a producer in a segment, which follow the known ones. usedMs
// is the BuiltMs of the segment. The producer must have between 1 and MaxProducerBatches
// batches.
func (t *Producers) Merge(p segment.Producer, usedMs int64) {
	own := t.use(p.ID, usedMs)
	for _, b := range p.Batches {
		t.add(own, p.Epoch, b)
	}
}

// use returns a producer that is used now. A clock that was set back makes no use older
// than the one before.
func (t *Producers) use(id, usedMs int64) *producer {
	p := t.byID[id]
	if p == nil {
		p = &producer{usedMs: usedMs}
		if t.byID == nil {
			t.byID = make(map[int64]*producer)
		}
		t.byID[id] = p
		t.due.push(deadline{usedMs, id})
		t.changed = append(t.changed, id)
	}
	if p.page != nil {
		p.leavePage()
		t.changed = append(t.changed, id)
	}
	p.usedMs = max(p.usedMs, usedMs)
	return p
}

func (p *producer) leavePage() {
	p.page.live--
	p.page = nil
}

// restore takes a producer from a page, unless something newer is known of it.
func (t *Producers) restore(q stored, page *producerPage) {
	if t.byID[q.id] != nil {
		return
	}
	if t.byID == nil {
		t.byID = make(map[int64]*producer)
	}
	t.byID[q.id] = &producer{window: q.window, usedMs: q.usedMs, page: page}
	t.due.push(deadline{q.usedMs, q.id})
	t.batches += cap(q.batches)
	page.live++
}

// changedIDs returns the producers that no page has as they are, in order.
func (t *Producers) changedIDs() []int64 {
	t.forgetUnchanged()
	slices.Sort(t.changed)
	t.changed = slices.Compact(t.changed)
	return t.changed
}

// forgetUnchanged shortens the list of changes.
func (t *Producers) forgetUnchanged() {
	t.changed = slices.DeleteFunc(t.changed, func(id int64) bool {
		p := t.byID[id]
		return p == nil || p.page != nil
	})
	if len(t.changed) == 0 {
		t.changed = nil // it may have room for a million
	}
}

// Expire forgets the producers that were last used before the time given, in Unix
// milliseconds. It returns how many it looked at: those, and some that were used since it
// looked at them before.
func (t *Producers) Expire(beforeMs int64) (looked int) {
	forgotten := 0
	for ; len(t.due) > 0 && t.due[0].ms < beforeMs; looked++ {
		d := t.due[0]
		p := t.byID[d.id]
		if p.usedMs >= beforeMs {
			t.due.postpone(p.usedMs)
			continue
		}
		if p.page != nil {
			p.leavePage()
		}
		t.due.pop()
		t.batches -= cap(p.batches)
		delete(t.byID, d.id)
		forgotten++
	}
	if forgotten > len(t.byID) { // a map and a slice never shrink by themselves
		t.due = slices.Clone(t.due)
		t.byID = maps.Collect(maps.All(t.byID))
	}
	if len(t.changed) > 2*len(t.byID) { // of a state that writes no checkpoints
		t.changedIDs()
	}
	return looked
}

// forget gives up the pages of all producers.
func (t *Producers) forget() {
	for _, p := range t.byID {
		if p.page != nil {
			p.leavePage()
		}
	}
}

// Each calls fn for every producer, by id, with the time it was last used.
func (t *Producers) Each(fn func(p segment.Producer, usedMs int64)) {
	for _, id := range slices.Sorted(maps.Keys(t.byID)) {
		p := t.byID[id]
		fn(p.export(id), p.usedMs)
	}
}

// producerMemory is about the memory of a producer without its batches: its place in the
// table, its deadline, and its place in a page.
const producerMemory = 108

// ProducerUse returns how many idempotent producers the partitions have, an id counted in
// each partition that it writes to, and about how many bytes of memory they take.
func (s *State) ProducerUse() (n, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.parts {
		n += int64(len(p.producers.byID))
		bytes += int64(p.producers.batches) * producerBatchSize
	}
	return n, bytes + n*producerMemory
}

// Len returns how many producers are known.
func (t *Producers) Len() int { return len(t.byID) }
