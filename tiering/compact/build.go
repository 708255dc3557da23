package compact

import (
	"context"
	"math"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// build reads the part that is not clean into the map, and into the model.
func (s *Step) build(ctx context.Context, x *running) error {
	x.model = &Model{Range: x.Range, End: math.MaxInt64, Secret: s.opt.Secret()}
	for e, err := range s.extents(ctx, x.Key, x.From) {
		if err != nil {
			return err
		}
		if e.Object.Kind != segment.KindMerged { // a range of the journal that is damaged
			x.unclean++
			continue
		}
		more := true
		err = s.opt.Scan(ctx, &e, func(b []byte, h *batch.Header) (bool, error) {
			more = x.note(b, h)
			return more, nil
		})
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	x.model.End = x.End()
	return nil
}

// note notes the records of a batch. It is false if the part ends in it or before it. The
// keys of a batch that cannot be decoded are not known: the pass will not be complete.
func (x *running) note(b []byte, h *batch.Header) bool {
	if h.LastOffset() < x.From {
		return true
	}
	if !x.Begin(h) {
		return false
	}
	if h.Control() { // its keys are not those of records
		x.Done(h)
		return true
	}
	more := true
	err := batch.Records(b, batch.MaxStoredRecord, func(r batch.Record) bool {
		if more = x.Add(r); more {
			x.model.Note(r.Offset, r.Key)
		}
		return more
	})
	if err != nil {
		x.unclean++
	}
	if more {
		x.Done(h)
	}
	return more
}
