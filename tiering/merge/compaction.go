package merge

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// Filter decides which records of a partition a compaction keeps. Keep and Stays must
// agree, and should share no code. Objects are made of the records of Keep. They are held
// against the records of Stays before they take the place of the sources.
type Filter interface {
	// Untouched reports that a batch stays as it is.
	Untouched(h *batch.Header) bool
	// Keep reports whether a record is written.
	Keep(r batch.Record) bool
	// Stays reports whether a record must be there. The key is nil if it is null.
	Stays(offset int64, key []byte, tombstone bool) bool
}

// Compaction is a job that writes adjacent merged extents of one partition again, with
// fewer records.
type Compaction struct {
	partlog.Key
	Start   int64 // of the partition: batches before it are left out
	Extents []partlog.Extent
	Filter  Filter
}

// Compacted is the outcome of a Compaction.
type Compacted struct {
	// Nothing says that no record of the extents stays. Then they are left as they are,
	// because an object must have records.
	Nothing       bool
	Removed       int64 // records; if none are, the extents are left as they are
	Undecodable   int64 // batches that stay because they cannot be decoded
	Before, After int64 // bytes of the extents that were replaced, and of those in their place
}

// compaction is the Level of a job that leaves records out.
const compaction = 4

// Compact carries out a Compaction that was planned on the state as it is. After an error
// nothing of it is in place, or a part whose results are committed.
func (m *Merger) Compact(ctx context.Context, c *Compaction) (out Compacted, err error) {
	return m.executor.compact(ctx, c)
}

func (x *Executor) compact(ctx context.Context, c *Compaction) (out Compacted, err error) {
	n := len(c.Extents)
	if n == 0 {
		return out, nil
	}
	topic, known := x.opt.Topic(c.Topic)
	if !known { // that nothing was removed would count its records as clean
		return out, fmt.Errorf("compact offsets from %d on: topic %s is not known here, or is purged", c.Extents[0].Base, c.Topic)
	}
	p := &gathered{
		Key: c.Key, topic: topic, start: c.Start, data: c.Extents[0].Base,
		from: c.Extents[0].Base, to: c.Extents[n-1].Last + 1,
	}
	g := &gatherer{x: x, job: &Job{Level: compaction}, parts: []*gathered{p}, reader: readback.New()}
	if g.spool, err = x.newSpool(); err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, g.spool.release()) }()
	for i := range c.Extents {
		if err := g.filter(ctx, p, &c.Extents[i], c.Filter, &out); err != nil {
			return out, err
		}
	}
	if out.Removed == 0 {
		return out, nil
	}
	if out.Nothing = len(p.chunks) == 0; out.Nothing {
		return out, nil
	}
	if err := g.spool.written(); err != nil {
		return out, err
	}
	out.Before, out.After = length(c.Extents), p.bytes
	_, err = x.commit(ctx, g)
	return out, err
}

// filter brings the records of an extent that stay into the spool. They may take more bytes
// than all of them did, in another codec or level, so that they are several chunks.
func (g *gatherer) filter(ctx context.Context, p *gathered, e *partlog.Extent, f Filter, out *Compacted) error {
	c := chunk{position: g.spool.size, wrongTimes: true} // not known
	end := func(covers int64) {
		c.covers, c.length = covers, uint32(g.spool.size-c.position)
		if c.length > 0 {
			p.chunks = append(p.chunks, c)
		}
		p.bytes += int64(c.length)
		c = chunk{position: g.spool.size, wrongTimes: true}
	}
	g.begin(e)
	err := g.x.scan(ctx, e, func(b []byte, h *batch.Header) (bool, error) {
		if h.LastOffset() < p.start {
			return true, nil
		}
		if g.spool.size-c.position >= g.x.cfg.ObjectBytes/chunkPart {
			end(h.BaseOffset)
		}
		return true, g.filterBatch(ctx, p, &c, b, h, f, out)
	})
	if err != nil {
		return err
	}
	end(e.Last + 1)
	if e.Object.Own() {
		p.replaced = append(p.replaced, *e)
	}
	p.sourceMs = max(p.sourceMs, e.SourceMs)
	return nil
}

// chunkPart is the part of an object that a chunk of a compaction has, about. The batch that
// ends one may be as large.
const chunkPart = 4

// joined is the result of a compaction. It has all objects at once: an extent that is
// replaced may be divided among several.
func (c *committing) joined(p *gathered) partlog.ResultPart {
	var extents []partlog.Extent
	for i := range c.results {
		extents = append(extents, c.results[i].Extents...)
	}
	return p.result(p.data, p.to, extents)
}

// filterBatch writes the records of a batch that stay, and notes the records that must be
// found when the object is read back.
func (g *gatherer) filterBatch(ctx context.Context, p *gathered, c *chunk, b []byte, h *batch.Header, f Filter, out *Compacted) error {
	stored, all := b, f.Untouched(h)
	sum, err := g.expected(ctx, b, all, f)
	if err == nil && !all {
		stored, sum, err = g.smaller(ctx, p, b, h, sum, f, out)
	}
	switch {
	case errors.Is(err, readback.ErrWrong):
		return fmt.Errorf("%w: %w", errSource, err)
	case err != nil:
		return err
	}
	c.sum.Add(sum)
	return g.spool.append(stored)
}

// smaller returns a batch with the records that stay, and their sum. It keeps its codec if it
// would grow too much in another one. A batch that cannot be decoded, also by the decoder of
// the sums alone, stays as it is.
func (g *gatherer) smaller(ctx context.Context, p *gathered, b []byte, h *batch.Header, sum readback.Sum, f Filter, out *Compacted) ([]byte, readback.Sum, error) {
	if sum.Raw > 0 {
		out.Undecodable++
		return b, sum, nil
	}
	written, n, err := batch.Rewrite(g.room[:0], b, p.topic.rewriting(h.Compression(), f.Keep))
	if err == nil && n < int(h.Records) && !g.grows(b, written) {
		written, n, err = batch.Rewrite(written[:0], b, new(Topic).rewriting(h.Compression(), f.Keep))
	}
	switch {
	case errors.Is(err, batch.ErrVerbatim):
		out.Undecodable++
		sum, err = g.expected(ctx, b, true, f)
		return b, sum, err
	case err != nil:
		return nil, sum, err
	case n == int(h.Records):
		return b, sum, nil
	}
	g.room = written
	out.Removed += int64(int(h.Records) - n)
	return written, sum, nil
}

// expected is the sum of the records of a batch that must stay.
func (g *gatherer) expected(ctx context.Context, b []byte, all bool, f Filter) (sum readback.Sum, err error) {
	if all {
		sum, _, err = g.reader.Batch(ctx, b)
		return sum, err
	}
	return g.reader.Chosen(ctx, b, f.Stays)
}
