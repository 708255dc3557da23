package partlog

import (
	"errors"
	"math"
	"slices"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// The errors of Check.
var (
	// ErrOutOfOrder is a batch that does not follow the producer's last one: one before
	// it is missing.
	ErrOutOfOrder = errors.New("out of order sequence number")
	// ErrProducerEpoch is a batch of an old instance of the producer: a newer one has
	// written already.
	ErrProducerEpoch = errors.New("producer epoch is older than the latest one")
	// ErrDuplicateSequence is a batch that was written so long ago that its offset is not
	// remembered any more.
	ErrDuplicateSequence = errors.New("batch was written before, its offset is no longer known")
)

// Verdict says what to do with a batch.
type Verdict uint8

// The verdicts. The zero Verdict comes with an error.
const (
	VerdictNew       Verdict = 1 // append it
	VerdictDuplicate Verdict = 2 // it is in the log already: answer with its offset there
)

// Producers is the table of a partition's idempotent producers. It has the epoch and the
// last five batches of each (KIP-98). The leader has one table, to check batches before it
// appends them; Apply has another, to replay. The zero value is empty and ready. It is not
// safe for concurrent use.
type Producers struct {
	byID map[int64]*producer
}

type producer struct {
	usedMs  int64
	epoch   int16
	n       uint8 // batches in use, 1 or more
	batches [segment.MaxProducerBatches]segment.ProducerBatch
}

// Check decides on a batch that is about to be appended. The order of the checks is
// Kafka's (ProducerAppendInfo, ProducerStateEntry): first a duplicate, then the epoch,
// then the sequence number. For a VerdictDuplicate it returns the original.
//
// A batch without a producer id is always VerdictNew. So is the first batch of an unknown
// producer, whatever its sequence number: the producer's state may have expired.
func (t *Producers) Check(h batch.Header) (Verdict, segment.ProducerBatch, error) {
	p := t.byID[h.ProducerID]
	if h.ProducerID < 0 || p == nil {
		return VerdictNew, segment.ProducerBatch{}, nil
	}
	if original, ok := p.find(h); ok {
		return VerdictDuplicate, original, nil
	}
	var err error
	switch {
	case h.ProducerEpoch < p.epoch:
		err = ErrProducerEpoch
	case h.ProducerEpoch > p.epoch:
		if h.BaseSequence != 0 {
			err = ErrOutOfOrder
		}
	case h.BaseSequence == nextSequence(p.batches[p.n-1].LastSequence):
	case p.forgotten(h):
		err = ErrDuplicateSequence
	default:
		err = ErrOutOfOrder
	}
	if err != nil {
		return 0, segment.ProducerBatch{}, err
	}
	return VerdictNew, segment.ProducerBatch{}, nil
}

func (p *producer) find(h batch.Header) (segment.ProducerBatch, bool) {
	if h.ProducerEpoch != p.epoch {
		return segment.ProducerBatch{}, false
	}
	for _, b := range p.batches[:p.n] {
		if b.FirstSequence == h.BaseSequence && b.LastSequence == h.LastSequence() {
			return b, true
		}
	}
	return segment.ProducerBatch{}, false
}

// forgotten reports whether the batch lies before the remembered ones. Only a full window
// has forgotten any. If fewer batches are known, a batch before the first one was never
// written since the producer's state began; to call it a duplicate would lose it.
func (p *producer) forgotten(h batch.Header) bool {
	if int(p.n) < len(p.batches) {
		return false
	}
	ahead := (p.batches[0].FirstSequence - h.LastSequence()) & math.MaxInt32
	return ahead > 0 && ahead < 1<<30 // sequence numbers are a circle of 2^31
}

func nextSequence(last int32) int32 {
	if last == math.MaxInt32 {
		return 0
	}
	return last + 1
}

// Add notes that a batch which Check called new was appended at offset base. usedMs is
// the time of this use of the producer, in Unix milliseconds.
func (t *Producers) Add(h batch.Header, base, usedMs int64) {
	if h.ProducerID < 0 {
		return
	}
	p := t.byID[h.ProducerID]
	if p == nil {
		p = &producer{epoch: h.ProducerEpoch}
		t.set(h.ProducerID, p)
	}
	if p.epoch != h.ProducerEpoch {
		p.epoch, p.n = h.ProducerEpoch, 0
	}
	p.push(segment.ProducerBatch{
		FirstSequence: h.BaseSequence,
		LastSequence:  h.LastSequence(),
		BaseOffset:    base,
		LastOffset:    base + int64(h.LastOffsetDelta),
		Timestamp:     h.MaxTimestamp,
	})
	p.usedMs = usedMs
}

// Merge notes the batches of a producer in a segment, which follow the known ones. usedMs
// is the BuiltMs of the segment. The producer must have between 1 and MaxProducerBatches
// batches.
func (t *Producers) Merge(p segment.Producer, usedMs int64) {
	own := t.byID[p.ID]
	if own == nil || own.epoch != p.Epoch {
		t.Put(p, usedMs)
		return
	}
	for _, b := range p.Batches {
		own.push(b)
	}
	own.usedMs = usedMs
}

// push adds the newest batch to the window.
func (p *producer) push(b segment.ProducerBatch) {
	if int(p.n) == len(p.batches) {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = b
	p.n++
}

// Get returns a producer as a footer lists it; false if it is not known.
func (t *Producers) Get(id int64) (segment.Producer, bool) {
	p := t.byID[id]
	if p == nil {
		return segment.Producer{}, false
	}
	return p.export(id), true
}

func (p *producer) export(id int64) segment.Producer {
	return segment.Producer{ID: id, Epoch: p.epoch, Batches: slices.Clone(p.batches[:p.n])}
}

// Put replaces the state of a producer. usedMs is the time it was last used. The producer
// must have between 1 and MaxProducerBatches batches.
func (t *Producers) Put(p segment.Producer, usedMs int64) {
	own := &producer{usedMs: usedMs, epoch: p.Epoch, n: uint8(len(p.Batches))}
	copy(own.batches[:], p.Batches)
	t.set(p.ID, own)
}

func (t *Producers) set(id int64, p *producer) {
	if t.byID == nil {
		t.byID = make(map[int64]*producer)
	}
	t.byID[id] = p
}

// Expire forgets the producers that were last used before the time given, in
// Unix milliseconds.
func (t *Producers) Expire(beforeMs int64) {
	for id, p := range t.byID {
		if p.usedMs < beforeMs {
			delete(t.byID, id)
		}
	}
}

// Each calls fn for every producer, by id, with the time it was last used.
func (t *Producers) Each(fn func(p segment.Producer, usedMs int64)) {
	for _, id := range t.ids() {
		p := t.byID[id]
		fn(p.export(id), p.usedMs)
	}
}

// Len returns how many producers are known.
func (t *Producers) Len() int { return len(t.byID) }

func (t *Producers) ids() []int64 {
	ids := make([]int64, 0, len(t.byID))
	for id := range t.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (t *Producers) clone() Producers {
	c := Producers{byID: make(map[int64]*producer, len(t.byID))}
	for id, p := range t.byID {
		own := *p
		c.byID[id] = &own
	}
	return c
}
