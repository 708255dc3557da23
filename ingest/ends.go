package ingest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// appendEnds are the ends of the partitions to which this leadership appends. Each has the
// offset and the leader epoch of the next batch, and the producers with batches that are
// not committed. They are ahead of the committed state by the records buffered and under
// way. Other producers are in the state alone.
//
// The goroutine that owns core owns them; next may be called by any.
//
// Invariant: a partition is opening from its proposed Open or Reopen to the commit of it,
// then it has an end, until its Seal is proposed.
type appendEnds struct {
	state    *partlog.State // committed
	maxBatch int            // bytes of the longest batch that the write-ahead log takes; 0: any

	opening map[partlog.Key]bool
	mu      sync.RWMutex // guards the map for next; only the owner writes
	parts   map[partlog.Key]*part
}

// part is the append end of one open partition.
//
// Invariant: next is the partition's committed end plus the records buffered and
// under way.
type part struct {
	next      atomic.Int64
	epoch     int32 // leader epoch patched into batches
	producers *partlog.Ahead
}

func newAppendEnds(state *partlog.State) appendEnds {
	return appendEnds{state: state, opening: map[partlog.Key]bool{}, parts: map[partlog.Key]*part{}}
}

// lead opens every partition that is open in the state, at its committed end.
func (e *appendEnds) lead() {
	e.state.Partitions(func(k partlog.Key, v partlog.View) {
		if !v.Sealed {
			e.open(k, v)
		}
	})
}

// startOpening reports whether an Open must be proposed: the partition was never
// opened, and no Open is under way.
func (e *appendEnds) startOpening(k partlog.Key) bool {
	if _, ok := e.state.Lookup(k); ok || e.opening[k] {
		return false
	}
	e.opening[k] = true
	return true
}

// startReopening reports whether a Reopen must be proposed: the partition is sealed and
// has its records, and no Reopen is under way.
func (e *appendEnds) startReopening(k partlog.Key) bool {
	if v, ok := e.state.Lookup(k); !ok || !v.Sealed || v.Dropped || e.opening[k] {
		return false
	}
	e.opening[k] = true
	return true
}

// opened follows a committed Open or Reopen.
func (e *appendEnds) opened(k partlog.Key) {
	delete(e.opening, k)
	v, _ := e.state.Lookup(k)
	e.open(k, v)
}

func (e *appendEnds) open(k partlog.Key, v partlog.View) {
	p := &part{epoch: v.Epoch, producers: partlog.NewAhead(e.state, k)}
	p.next.Store(v.End)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parts[k] = p
}

// close ends the appends to a partition, and reports whether there were any.
func (e *appendEnds) close(k partlog.Key) bool {
	if !e.isOpen(k) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.parts, k)
	return true
}

func (e *appendEnds) isOpening(k partlog.Key) bool { return e.opening[k] }

func (e *appendEnds) isOpen(k partlog.Key) bool { return e.parts[k] != nil }

// next is the offset that the next record of the partition gets; false if it accepts
// none.
func (e *appendEnds) next(k partlog.Key) (int64, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	p := e.parts[k]
	if p == nil {
		return 0, false
	}
	return p.next.Load(), true
}

// verdict is a decision on one batch.
type verdict int

const (
	batchRefused      verdict = iota // the result says why
	batchPlaced                      // it has offsets
	batchRetry                       // the original is committed
	batchRetryPending                // the original is among the batches placed before
)

// place gives a batch its offsets, unless it is refused or a retry. res gets the
// batch's part of the answer.
func (e *appendEnds) place(b *Batch, res *Result) verdict {
	p := e.parts[b.Key]
	switch {
	case p == nil:
		res.Err = ErrNotLeader
		return batchRefused
	case e.maxBatch > 0 && len(b.Data) > e.maxBatch:
		res.Err = fmt.Errorf("%w: %d bytes, the write-ahead log takes %d; raise --wal-max-bytes for more", batch.ErrTooLarge, len(b.Data), e.maxBatch)
		return batchRefused
	}
	view, _ := e.state.Lookup(b.Key)
	res.LogStart = view.Start
	check, original, err := p.producers.Check(b.Header)
	if err != nil {
		res.Err = err
		return batchRefused
	}
	if check == partlog.VerdictDuplicate {
		res.BaseOffset = original.BaseOffset
		if original.LastOffset < view.End {
			return batchRetry
		}
		return batchRetryPending
	}
	res.BaseOffset = p.next.Load()
	e.put(p, b.Data, &b.Header, res.BaseOffset)
	return batchPlaced
}

// replay puts a batch of an older log at its old offset, under the new leader epoch.
func (e *appendEnds) replay(k partlog.Key, data []byte, h *batch.Header, base int64) {
	e.put(e.parts[k], data, h, base)
}

// put patches a batch for its place, and moves the end behind it.
func (e *appendEnds) put(p *part, data []byte, h *batch.Header, base int64) {
	batch.Patch(data, base, p.epoch)
	h.BaseOffset, h.LeaderEpoch = base, p.epoch
	p.next.Store(h.LastOffset() + 1)
	p.producers.Add(*h, base)
}

// committed follows an object of this leadership that the state has.
func (e *appendEnds) committed(f *segment.Footer) {
	for i := range f.Partitions {
		r := &f.Partitions[i]
		if p := e.parts[partlog.Key{Topic: r.Topic, Index: r.Index}]; p != nil {
			p.producers.Committed(r)
		}
	}
}
