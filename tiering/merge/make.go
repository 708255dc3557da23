package merge

import (
	"context"
	"errors"
	"sync"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// atOnce is how many outputs of a job that hurries are made at once: while the store is busy
// with one, the processor is with another.
const atOnce = 2

// made is the outcome of one output.
type made struct {
	extents []partlog.Extent
	err     error
}

// make makes the outputs of a job, and notes their results in their order. The first error
// ends all of it. When make returns, nothing of it is under way, but uploads that the store
// has given up waiting for.
func (c *committing) make(ctx context.Context, g *gatherer, outputs []output) error {
	done := make([]made, len(outputs))
	err := c.each(ctx, g, outputs, done)
	for i := range done {
		if errors.Is(done[i].err, ErrMismatch) {
			c.x.differed(&outputs[i], done[i].err)
		}
	}
	if err != nil {
		return err
	}
	for i := range outputs {
		for j := range outputs[i].parts {
			p := &outputs[i].parts[j]
			c.results = append(c.results, p.result(p.from, p.to, done[i].extents[j:j+1]))
		}
	}
	return nil
}

// each makes the outputs, some at once unless Options.Sequential.
func (c *committing) each(ctx context.Context, g *gatherer, outputs []output, done []made) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var under sync.WaitGroup
	readers := make(chan *readback.Reader, atOnce)
	readers <- g.reader.Another()
	for len(readers) < atOnce && c.x.opt.Hurry() {
		readers <- g.reader.Another()
	}
	for i := range outputs {
		r := <-readers
		if ctx.Err() != nil {
			break
		}
		if err := c.x.name(ctx, &outputs[i]); err != nil {
			fail(err)
			break
		}
		one := func() {
			if done[i].extents, done[i].err = c.output(ctx, g.spool, r, &outputs[i]); done[i].err != nil {
				fail(done[i].err)
			}
			readers <- r
		}
		if c.x.opt.Sequential {
			one()
		} else {
			under.Go(one)
		}
	}
	under.Wait()
	return context.Cause(ctx)
}

// output makes one object: it writes, uploads and checks it.
func (c *committing) output(ctx context.Context, from *spool, r *readback.Reader, o *output) ([]partlog.Extent, error) {
	w, err := c.x.write(o, c.id, from)
	if err != nil {
		return nil, err
	}
	if err := c.x.upload(ctx, o, w); err != nil {
		return nil, err
	}
	c.log("output uploaded", "object", o.name.Key(), "bytes", w.merged.Size)
	extents, err := c.x.readBack(ctx, r, o, w)
	if err == nil {
		c.log("read back", "object", o.name.Key())
	}
	return extents, err
}
