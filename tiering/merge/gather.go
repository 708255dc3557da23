package merge

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// maxChunks bounds the memory of a job that reads many small extents.
const maxChunks = 1 << 18

// gathered is a partition's part in a job: the range of offsets that it covers, and the
// batches that lie in the spool.
//
// Invariant: chunks and damage cover the offsets from from up to to.
type gathered struct {
	partlog.Key
	topic    Topic
	start    int64            // records before it are left out
	from, to int64            // covered; equal while there is nothing
	damage   []partlog.Extent // at the begin; ranges of the journal that cannot be read
	data     int64            // where the chunks begin
	chunks   []chunk
	bytes    int64 // of chunks
	source   int64 // bytes of the journal's ranges, and of those that were deleted before they were merged
	sourceMs int64 // when the newest source was built
	replaced []partlog.Extent
	stopped  bool // a source cannot be read: the rest is for another job
}

// gatherer reads the sources of a job into the spool.
type gatherer struct {
	x      *Executor
	job    *Job
	spool  *spool
	bounds bounds
	reader *readback.Reader // makes the sums
	read   int64
	chunks int
	parts  []*gathered
	left   int64  // by how much the batches of the extent under way may grow
	grown  int64  // by how much those of all extents grew
	room   []byte // of recompressed batches
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errSource: a source is missing or damaged.
var errSource = errors.New("source cannot be read")

// take brings the batches of an extent into the spool. b holds the extent's bytes, with
// the CRC that the state has.
func (g *gatherer) take(ctx context.Context, p *gathered, e *partlog.Extent, b []byte, builtMs int64) (c chunk, err error) {
	if err := g.check(e, b); err != nil {
		return c, err
	}
	c = chunk{position: g.spool.size, covers: e.Last + 1, verbatim: !g.rewrites(p, b)}
	g.begin(e)
	err = batch.Walk(b, func(pos int, h batch.Header) error {
		if h.LastOffset() < p.start {
			return nil
		}
		out, err := g.batch(ctx, p, &c, b[pos:pos+h.Size()], &h)
		switch {
		case errors.Is(err, readback.ErrWrong):
			return fmt.Errorf("%w: %w", errSource, err) // bytes of it in the spool do no harm
		case err != nil:
			return err
		}
		return g.spool.append(out)
	})
	c.length = uint32(g.spool.size - c.position)
	g.chunks++
	p.bytes += int64(c.length)
	p.sourceMs = max(p.sourceMs, builtMs)
	return c, err
}

// batch returns a batch of a source as the job stores it. It adds the batch, as the source
// has it, to the sum of the chunk.
func (g *gatherer) batch(ctx context.Context, p *gathered, c *chunk, b []byte, h *batch.Header) ([]byte, error) {
	if c.verbatim {
		sum, err := g.reader.Verbatim(b)
		c.sum.Add(sum)
		return b, err
	}
	sum, newest, err := g.reader.Batch(ctx, b)
	if err != nil {
		return nil, err
	}
	c.sum.Add(sum)
	c.wrongTimes = c.wrongTimes || newest != readback.Unknown && newest > h.UpTo()
	if sum.Raw > 0 {
		return b, nil // its sum is one of these bytes
	}
	return g.recompressed(p, b, h)
}

// check checks that the bytes are those that the state knows, and every batch in them.
func (g *gatherer) check(e *partlog.Extent, b []byte) error {
	if crc32.Checksum(b, castagnoli) != e.CRC {
		return fmt.Errorf("%w: %d bytes at position %d do not have their CRC", errSource, len(b), e.Position)
	}
	place := e.Place()
	place.Position = 0
	for w := batch.NewWalker(place); ; {
		if w.Left() == 0 {
			if err := w.End(); err != nil {
				return fmt.Errorf("%w: %w", errSource, err)
			}
			return nil
		}
		h, err := w.Check(b[w.Position():])
		if err != nil {
			return fmt.Errorf("%w: %w", errSource, err)
		}
		w.Skip(&h)
	}
}

// full reports whether the job reads no more.
func (g *gatherer) full() bool {
	return g.chunks >= maxChunks || g.bounds.reached(max(g.read, g.spool.size), g.x.opt.Clock.Now())
}

// get reads an object, or a part of it, up to three times if it is missing.
func (x *Executor) get(ctx context.Context, read func() error) error {
	for n := 0; ; n++ {
		err := read()
		if err == nil || !lost.Is(err) {
			return err
		}
		if n == 2 {
			return fmt.Errorf("%w: %w", errSource, err)
		}
		if err := x.opt.Clock.Sleep(ctx, missingPause); err != nil {
			return err
		}
	}
}
