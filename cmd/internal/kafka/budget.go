package kafka

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/tiering/batch"
)

// budget bounds the memory of requests over all connections. A request takes
// from its three parts in the order they stand here, each time all it needs of
// that part at once, and waits for nothing but its own client and its own
// answer while it holds them (one that waits for other clients gives them back, see
// park); so requests cannot wait for each other in a ring.
type budget struct {
	small  *semaphore.Weighted // the first bytes of frames, up to smallFrame
	large  *semaphore.Weighted // the rest of larger frames
	decode *semaphore.Weighted // what decoding allocates
	sizes  struct{ small, large, decode int64 }
	walk   *batch.Room // what decompressing records takes; those that have it wait for nothing
}

func newBudget(total, maxRequest int64) *budget {
	b := &budget{}
	b.sizes.small = max(total/4, smallFrame)
	b.sizes.large = max(total/2, maxRequest)
	b.sizes.decode = max(total/4, maxDecodeCost)
	b.small = semaphore.NewWeighted(b.sizes.small)
	b.large = semaphore.NewWeighted(b.sizes.large)
	b.decode = semaphore.NewWeighted(b.sizes.decode)
	b.walk = batch.NewRoom(total/4, walkers)
	return b
}

// walkers is how many batches are decompressed at once for producers.
const walkers = 4

// charge is what one request has taken from the budget, in bytes.
type charge struct {
	from                 *budget
	small, large, decode int64
}

func (c *charge) takeSmall(ctx context.Context, n int64) error {
	return take(ctx, c.from.small, &c.small, n)
}

func (c *charge) takeLarge(ctx context.Context, n int64) error {
	return take(ctx, c.from.large, &c.large, n)
}

func (c *charge) takeDecode(ctx context.Context, n int64) error {
	return take(ctx, c.from.decode, &c.decode, n)
}

// memoryWait bounds the wait for memory. A connection that waits is not read, so
// it does not show that its client has given up: without a bound, clients that
// come again and again would use up all connections.
const memoryWait = time.Minute

func take(ctx context.Context, from *semaphore.Weighted, taken *int64, n int64) error {
	if from.TryAcquire(n) {
		*taken += n
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, memoryWait)
	defer cancel()
	if err := from.Acquire(waiting, n); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w within %v", errNoMemory, memoryWait)
	}
	*taken += n
	return nil
}

// release gives everything back.
func (c *charge) release() {
	c.from.small.Release(c.small)
	c.from.large.Release(c.large)
	c.from.decode.Release(c.decode)
	*c = charge{from: c.from}
}
