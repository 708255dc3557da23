package merge

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// readBack reads an output from the store, by a decoder that shares nothing with the
// writer, and compares it with the sources (tiering/journal/PROTOCOL.md, rule 18). It
// returns the extents that are to be committed, as they were read.
func (x *Executor) readBack(ctx context.Context, r *readback.Reader, o *output, w *written) ([]partlog.Extent, error) {
	got, err := x.readOutput(ctx, r, o, w)
	if errors.Is(err, ErrMismatch) { // the damage may have happened on the way
		got, err = x.readOutput(ctx, r, o, w)
	}
	if err != nil {
		return nil, fmt.Errorf("read back %s: %w", o.name.Key(), err)
	}
	extents := make([]partlog.Extent, len(o.parts))
	for i := range o.parts {
		extents[i] = extentOf(o, i, got, w)
	}
	return extents, nil
}

func (x *Executor) readOutput(ctx context.Context, r *readback.Reader, o *output, w *written) (got *readback.Object, err error) {
	err = x.get(ctx, func() (err error) {
		got, err = r.Object(ctx, storeReader{ctx, x, o.name.Key()}, w.merged.Size, o.verbatim)
		return err
	})
	switch {
	case errors.Is(err, readback.ErrWrong):
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	case err != nil:
		return nil, err
	}
	return got, x.differs(o, w, got)
}

// differs returns how an object differs from the one that was written from the sources.
func (x *Executor) differs(o *output, w *written, got *readback.Object) error {
	same := got.CRC == w.merged.CRC32C && got.Cluster == x.opt.Cluster && got.ID == o.name.Object && got.Journal == x.opt.Journal &&
		got.Topic == o.name.Topic && got.Index == o.name.Partition && got.Base == o.name.Base && got.BuiltMs == w.builtMs && len(got.Partitions) == len(o.parts)
	if !same {
		return fmt.Errorf("%w: it is another object", ErrMismatch)
	}
	for i := range o.parts {
		p, q := &o.parts[i], &got.Partitions[i]
		if want := p.sum(); q.Topic != p.Topic || q.Index != p.Index || q.Name != p.topic.Name || q.From != p.from || q.To != p.to ||
			q.SourceMs != p.sourceMs || q.Sum != want {
			return fmt.Errorf("%w: partition %s-%d, offsets %d up to %d, has %+v, its sources have %+v", ErrMismatch, p.Topic, p.Index, p.from, p.to, q.Sum, want)
		}
	}
	return nil
}

// sum is the sum of the records in the sources of a part.
func (p *outputPart) sum() (sum readback.Sum) {
	for i := range p.chunks {
		sum.Add(p.chunks[i].sum)
	}
	return sum
}

// extentOf is the extent that an output has of its i-th partition, as it was read back.
func extentOf(o *output, i int, got *readback.Object, w *written) partlog.Extent {
	p, q := &o.parts[i], &got.Partitions[i]
	return partlog.Extent{
		Object: o.name, Base: p.from, Last: p.to - 1, MaxTimestamp: q.MaxTimestamp,
		Position: q.Position, Length: q.Length, CRC: q.CRC, IndexLength: q.IndexLength,
		Records: uint32(min(q.Records, math.MaxUint32)), Size: uint32(w.merged.Size), SHA256: got.SHA256,
		BuiltMs: w.builtMs, SourceMs: p.sourceMs,
	}
}

// storeReader reads an object of the store.
type storeReader struct {
	ctx context.Context
	x   *Executor
	key string
}

// ReadAt implements io.ReaderAt.
func (r storeReader) ReadAt(b []byte, offset int64) (int, error) {
	if err := r.x.opt.Store.GetRange(r.ctx, r.key, offset, b); err != nil {
		return 0, err
	}
	r.x.count.read(int64(len(b)))
	return len(b), r.x.opt.Pace(r.ctx, int64(len(b)))
}
