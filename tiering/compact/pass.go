package compact

import (
	"github.com/varvelog/varve/tiering/batch"
)

// Range says what a pass does.
type Range struct {
	From, To int64 // the part of the log that is not clean yet
	// TombstonesBelow is the offset below which tombstones go.
	TombstonesBelow int64
	// Last is the last offset of the partition. The batch that ends with it stays as it is.
	Last int64
}

// Pass is one compaction of a partition. First its map is built, from the batches between
// From and To in the order of the log: Begin, then Add for each record, then Done. Then Keep
// decides on every record of the log.
type Pass struct {
	Range
	keys *Map
	end  int64 // the map has every record in [From, end)
	over bool  // nothing more is added
}

// NewPass begins a pass with an empty map.
func NewPass(r Range, keys *Map) *Pass {
	return &Pass{Range: r, keys: keys, end: r.From}
}

// Begin takes the header of the next batch. It is false if the part ends before the batch.
//
// The last batch of the partition does not count as clean, because it stays as it is. Else
// a tombstone in it would go one day, and an older record of the same batch come back.
func (p *Pass) Begin(h *batch.Header) bool {
	p.over = p.over || h.BaseOffset >= p.To || h.LastOffset() >= p.Last
	return !p.over
}

// Add takes a record. It is false if the part ends before the record: the map is full.
func (p *Pass) Add(r batch.Record) bool {
	switch {
	case p.over:
		return false
	case r.Offset < p.From:
		return true
	case r.Offset >= p.To, r.Key != nil && !p.keys.Put(r.Key, r.Offset):
		p.over = true
		return false
	}
	p.end = r.Offset + 1
	return true
}

// Done follows the last record of a batch: its last offsets may have no record.
func (p *Pass) Done(h *batch.Header) {
	if !p.over {
		p.end = max(p.end, min(h.LastOffset()+1, p.To))
	}
}

// End is the offset up to which the log is clean when the pass is complete.
func (p *Pass) End() int64 { return p.end }

// Keep reports whether a record stays.
func (p *Pass) Keep(r batch.Record) bool {
	if r.Key == nil || r.Offset >= p.end {
		return true
	}
	if newest, ok := p.keys.Newest(r.Key); ok && newest > r.Offset {
		return false
	}
	return r.Value != nil || r.Offset >= p.TombstonesBelow
}

// Untouched reports whether a batch stays as it is, whatever is in it: it begins beyond the
// part that the map knows, as the last batch of the partition does.
func (p *Pass) Untouched(h *batch.Header) bool { return h.BaseOffset >= p.end }
