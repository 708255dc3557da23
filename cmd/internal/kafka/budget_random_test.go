package kafka

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestBudgetIsWholeAtTheEnd: whatever is taken, waited for and given up, and however
// connections end, no memory is lost, none is given twice, and no wait is without end.
func TestBudgetIsWholeAtTheEnd(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for run := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			b := tested()
			var wg sync.WaitGroup
			for i := range uint64(40) {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(seed, run<<32|i))
					for range 30 {
						connection, cut := context.WithCancelCause(t.Context())
						a := b.open("some", cut)
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

// randomRequest takes what a request may take, and gives it back, once or twice.
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

// expectSound fails unless what is held and what is free is all that there is.
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

// TestNothingIsHeldOfConnectionsThatFail: frames that are cut off, malformed or fail, and
// answers that are not read, give back what they took. The end of each server of the
// tests checks that.
func TestNothingIsHeldOfConnectionsThatFail(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	b := c.backend()
	r := start(t, c, Config{MaxRequestBytes: 4 << 20, RequestMemory: 16 << 20}, b)
	var wg sync.WaitGroup
	for i := range uint64(20) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, i))
			for range 10 {
				cl := r.dial(t)
				for range rng.IntN(6) {
					if _, err := cl.nc.Write(randomFrame(rng, topic)); err != nil {
						break
					}
				}
				if rng.IntN(2) == 0 {
					cl.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
					cl.frame()
				}
				cl.nc.Close()
			}
		})
	}
	for range 10 {
		c.mu.Lock()
		c.fails = ingest.ErrNoRoom
		c.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		c.mu.Lock()
		c.fails = nil
		c.mu.Unlock()
	}
	wg.Wait()
}

// randomFrame is a request of any kind, or a large Produce; some are damaged or cut off.
func randomFrame(rng *rand.Rand, topic *metadata.Topic) []byte {
	keys := slices.Sorted(maps.Keys(apis))
	a := apis[keys[rng.IntN(len(keys))]]
	req := sample(a.key.Int16(), a.min+int16(rng.IntN(int(a.max-a.min)+1)), topic)
	switch rng.IntN(4) {
	case 0:
		req = longPoll(topic)
	case 1:
		value := strings.Repeat("x", rng.IntN(3<<20))
		req = produceOne(topic, int16(rng.IntN(3)-1), batchtest.Spec{Records: batchtest.Values(1, value)})
	}
	frame := encodeRequest(req, 1)
	switch rng.IntN(4) {
	case 0:
		return frame[:rng.IntN(len(frame))]
	case 1:
		frame[4+rng.IntN(len(frame)-4)] ^= 1 << rng.IntN(8)
	}
	return frame
}
