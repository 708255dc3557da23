package kafka

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// budget bounds the memory of requests over all connections. A request takes
// from its three parts in the order they stand here, each time all it needs of
// that part at once, and waits for nothing but its own client and its own
// answer while it holds them; so requests cannot wait for each other in a ring.
type budget struct {
	small  *semaphore.Weighted // the first bytes of frames, up to smallFrame
	large  *semaphore.Weighted // the rest of larger frames
	decode *semaphore.Weighted // what decoding allocates
	sizes  struct{ small, large, decode int64 }
}

func newBudget(total, maxRequest int64) *budget {
	b := &budget{}
	b.sizes.small = max(total/4, smallFrame)
	b.sizes.large = max(total/2, maxRequest)
	b.sizes.decode = max(total/4, maxDecodeCost)
	b.small = semaphore.NewWeighted(b.sizes.small)
	b.large = semaphore.NewWeighted(b.sizes.large)
	b.decode = semaphore.NewWeighted(b.sizes.decode)
	return b
}

// charge is what one request has taken from the budget, in bytes.
type charge struct {
	from                 *budget
	small, large, decode int64
}

func (c *charge) takeSmall(ctx context.Context, n int64) error {
	if err := c.from.small.Acquire(ctx, n); err != nil {
		return err
	}
	c.small += n
	return nil
}

func (c *charge) takeLarge(ctx context.Context, n int64) error {
	if err := c.from.large.Acquire(ctx, n); err != nil {
		return err
	}
	c.large += n
	return nil
}

func (c *charge) takeDecode(ctx context.Context, n int64) error {
	if err := c.from.decode.Acquire(ctx, n); err != nil {
		return err
	}
	c.decode += n
	return nil
}

// release gives everything back.
func (c *charge) release() {
	c.from.small.Release(c.small)
	c.from.large.Release(c.large)
	c.from.decode.Release(c.decode)
	*c = charge{from: c.from}
}
