package listener

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// arrive takes memory for a large frame step by step, as readBody does, while it comes
// in at a rate in bytes a second. The connection has delivered frames up to proven.
func (c *charge) arrive(ctx context.Context, size, rate, proven int64) error {
	a := c.account
	a.came.Store(tinyFrame)
	a.known = proven >= min(size, maxProven)
	a.begin()
	for came := int64(tinyFrame); came < size; {
		if taken := c.taken[large]; came >= taken {
			next := min(size, max(firstStep, 2*taken))
			if size <= proven && came >= size/provenShare {
				next = size
			}
			if err := c.takeStep(ctx, large, next-taken, size-taken); err != nil {
				return err
			}
		}
		n := min(c.taken[large]-came, max(rate/20, 1))
		select {
		case <-time.After(time.Duration(n) * time.Second / time.Duration(rate)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		came += n
		a.came.Store(came)
	}
	a.complete(large)
	return nil
}

// TestLargeFramesGetTheirTurn: a frame that needs much does not wait without end, and
// a client with a slow line is not cut, while many that need less keep memory used up.
func TestLargeFramesGetTheirTurn(t *testing.T) {
	for name, rate := range map[string]int64{"slow line": 1 << 20, "very slow line": 500 << 10, "fast line": 50 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(256<<20, 100<<20, 16<<10)
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						connection, cut := context.WithCancelCause(ctx)
						c := charge{account: b.open(&Client{}, cut)}
						defer c.account.close()
						for proven := int64(0); c.arrive(connection, 2<<20, 50<<20, proven) == nil; proven = 2 << 20 {
							time.Sleep(300 * time.Millisecond) // until it is stored
							c.release()
						}
						c.release()
						if ctx.Err() == nil {
							t.Errorf("a busy client is cut: %v", context.Cause(connection))
						}
					})
				}
				time.Sleep(5 * time.Second)
				for range 3 {
					connection, cut := context.WithCancelCause(ctx)
					c := charge{account: b.open(&Client{}, cut)}
					if err := c.arrive(connection, 20<<20, rate, 0); err != nil {
						t.Error(err)
					}
					c.release()
					c.account.close()
				}
				stop()
				wg.Wait()
				b.expectUnused(t)
			})
		})
	}
}
