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

// window has the epoch and the last batches of an idempotent producer in a partition
// (KIP-98), oldest first, 1 to MaxProducerBatches of them. Most producers have few.
type window struct {
	batches []segment.ProducerBatch
	epoch   int16
}

// check decides on a batch that is about to be appended. w is nil for a producer that is
// not known. The order of the checks is Kafka's (ProducerAppendInfo, ProducerStateEntry):
// first a duplicate, then the epoch, then the sequence number. For a VerdictDuplicate it
// returns the original.
//
// A batch without a producer id is always VerdictNew. So is the first batch of an unknown
// producer, whatever its sequence number: the producer's state may have expired.
func (w *window) check(h batch.Header) (Verdict, segment.ProducerBatch, error) {
	if h.ProducerID < 0 || w == nil {
		return VerdictNew, segment.ProducerBatch{}, nil
	}
	if original, ok := w.find(h); ok {
		return VerdictDuplicate, original, nil
	}
	var err error
	switch {
	case h.ProducerEpoch < w.epoch:
		err = ErrProducerEpoch
	case h.ProducerEpoch > w.epoch:
		if h.BaseSequence != 0 {
			err = ErrOutOfOrder
		}
	case h.BaseSequence == nextSequence(w.last().LastSequence):
	case w.forgotten(h):
		err = ErrDuplicateSequence
	default:
		err = ErrOutOfOrder
	}
	if err != nil {
		return 0, segment.ProducerBatch{}, err
	}
	return VerdictNew, segment.ProducerBatch{}, nil
}

func (w *window) find(h batch.Header) (segment.ProducerBatch, bool) {
	if h.ProducerEpoch != w.epoch {
		return segment.ProducerBatch{}, false
	}
	for _, b := range w.batches {
		if b.FirstSequence == h.BaseSequence && b.LastSequence == h.LastSequence() {
			return b, true
		}
	}
	return segment.ProducerBatch{}, false
}

// forgotten reports whether the batch lies before the remembered ones. Only a full window
// has forgotten any. If fewer batches are known, a batch before the first one was never
// written since the producer's state began; to call it a duplicate would lose it.
func (w *window) forgotten(h batch.Header) bool {
	if len(w.batches) < segment.MaxProducerBatches {
		return false
	}
	ahead := (w.batches[0].FirstSequence - h.LastSequence()) & math.MaxInt32
	return ahead > 0 && ahead < 1<<30 // sequence numbers are a circle of 2^31
}

func nextSequence(last int32) int32 {
	if last == math.MaxInt32 {
		return 0
	}
	return last + 1
}

// add notes a new batch, which begins a new window if its epoch is another.
func (w *window) add(epoch int16, b segment.ProducerBatch) {
	if w.epoch != epoch {
		w.epoch, w.batches = epoch, w.batches[:0]
	}
	switch n := len(w.batches); {
	case n == segment.MaxProducerBatches:
		copy(w.batches, w.batches[1:])
		w.batches[n-1] = b
	case n == cap(w.batches): // no more than is needed: there may be a million producers
		w.batches = append(make([]segment.ProducerBatch, 0, n+1), w.batches...)
		fallthrough
	default:
		w.batches = append(w.batches, b)
	}
}

func (w *window) last() *segment.ProducerBatch { return &w.batches[len(w.batches)-1] }

func (w *window) export(id int64) segment.Producer {
	return segment.Producer{ID: id, Epoch: w.epoch, Batches: slices.Clone(w.batches)}
}

// batchAt is how a window has a batch that was appended at offset base.
func batchAt(h *batch.Header, base int64) segment.ProducerBatch {
	return segment.ProducerBatch{
		FirstSequence: h.BaseSequence,
		LastSequence:  h.LastSequence(),
		BaseOffset:    base,
		LastOffset:    base + int64(h.LastOffsetDelta),
		Timestamp:     h.MaxTimestamp,
	}
}
