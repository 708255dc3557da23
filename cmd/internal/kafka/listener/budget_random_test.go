package listener

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
)

// TestBudgetIsWholeAtTheEnd: whatever is taken, waited for and given up, and however
// connections end, no memory is lost, none is given twice, and no wait is without end.
func TestBudgetIsWholeAtTheEnd(t *testing.T) {
	seed := seeded.Seed(t)
	for run := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			b := tested()
			var wg sync.WaitGroup
			for i := range uint64(40) {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(seed, run<<32|i))
					for range 30 {
						connection, cut := context.WithCancelCause(t.Context())
						a := b.open(&Client{}, cut)
						for connection.Err() == nil && rng.IntN(5) > 0 {
							b.randomRequest(connection, rng, &charge{account: a})
							b.expectSound(t)
						}
						cut(errors.New("over"))
						a.close()
					}
				})
			}
			wg.Wait()
			b.expectUnused(t)
			if len(b.accounts) > 0 {
				t.Errorf("%d accounts are open", len(b.accounts))
			}
		})
	}
}

// randomRequest takes memory as a request may do, and gives it back, once or
// twice.
func (b *budget) randomRequest(connection context.Context, rng *rand.Rand, c *charge) {
	ctx, cancel := context.WithCancel(connection)
	defer cancel()
	if rng.IntN(3) == 0 { // the client leaves at any time
		defer time.AfterFunc(time.Duration(rng.IntN(5000))*time.Millisecond, cancel).Stop()
	}
	var err error
	if rng.IntN(2) == 0 {
		err = c.arrive(ctx, smallFrame+rng.Int64N(3<<20), 1<<(12+rng.IntN(12)), rng.Int64N(4<<20))
	} else {
		err = c.takeTiny(ctx, small, 1+rng.Int64N(tinyFrame))
	}
	if err == nil {
		err = c.takeDecoded(ctx, 1+rng.Int64N(1<<rng.IntN(23)))
	}
	if n := 1 + rng.Int64N(b.parts[answers].size/2); err == nil && rng.IntN(3) == 0 {
		err = c.takeStep(ctx, answers, n, n)
	}
	if err == nil && rng.IntN(3) == 0 {
		poll, end := context.WithTimeout(ctx, time.Duration(rng.IntN(10_000))*time.Millisecond)
		c.account.polls(end)
		<-poll.Done()
		c.account.polls(nil)
	}
	c.release()
	if rng.IntN(2) == 0 {
		c.release()
	}
}

// expectSound fails unless held and free memory add up to the whole.
func (b *budget) expectSound(t *testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.parts {
		all := b.parts[p].free
		for a := range b.accounts {
			all += a.held[p]
		}
		if all != b.parts[p].size || b.parts[p].free < 0 {
			t.Errorf("%s: %d bytes, %d free, want %d", partNames[p], all, b.parts[p].free, b.parts[p].size)
		}
	}
}
