package cache

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

func TestDepthFollowsReadersThatWait(t *testing.T) {
	const limit = minDepth + 2*depthStep + 1
	d := depth{bytes: minDepth}
	for i, step := range []struct {
		full, waited, queued bool
		want                 int64
	}{
		{true, false, false, minDepth}, // no reader needs more
		{false, true, false, minDepth}, // nothing is held back
		{true, true, false, minDepth + depthStep},
		{true, true, false, minDepth + 2*depthStep},
		{true, true, false, limit},
		{true, true, true, limit - depthStep}, // more would only wait in the store
		{false, false, true, limit - 2*depthStep},
		{false, false, true, minDepth},
	} {
		d.full = step.full
		if d.landed(step.waited, step.queued, limit); d.bytes != step.want || d.full {
			t.Errorf("step %d: %d bytes, want %d", i, d.bytes, step.want)
		}
	}
	if d.landed(true, false, 1); d.bytes != minDepth {
		t.Errorf("%d bytes with little memory", d.bytes)
	}
}

// far is a store of zeros that takes some time for each GET. It counts those under way.
type far struct {
	objstore.Store
	latency time.Duration

	mu            sync.Mutex
	running, most int64 // bytes
}

func (s *far) GetRange(_ context.Context, _ string, _ int64, dst []byte) error {
	s.add(int64(len(dst)))
	time.Sleep(s.latency)
	s.add(-int64(len(dst)))
	return nil
}

func (s *far) add(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running += bytes
	s.most = max(s.most, s.running)
}

// TestFarStoreGetsMoreGets has a replay that takes 8 MiB in 5 ms, from a near store and
// from one that is far away.
func TestFarStoreGetsMoreGets(t *testing.T) {
	for latency, want := range map[time.Duration][2]int64{
		10 * ms:  {0, minDepth + 2*depthStep}, // a little more while the first reader waits
		200 * ms: {2 * minDepth, 3 * minDepth},
	} {
		synctest.Test(t, func(t *testing.T) {
			const share = 3 * minDepth
			store := &far{latency: latency}
			c := newCache(t, store, 0, func(cfg *Config) { cfg.Bytes, cfg.ReplayBytes = 2*share, share })
			region := func(i int) Region { return regionAt(fmt.Sprint("o", i), 0, MaxGet) }
			var a Ahead
			for i, ahead := 0, 0; i < 60; i++ {
				var asks []Ask
				for n := max(ahead, i); n < i+20; n++ {
					asks = append(asks, Ask{region(n), &a})
				}
				ahead = max(ahead, i) + c.ReadAhead(asks)
				c.mustRead(t, region(i)).Span.Release()
				time.Sleep(5 * ms)
			}
			c.settle()
			if store.most < want[0] || store.most > want[1] {
				t.Errorf("%d MiB under way at once at a latency of %v", store.most>>20, latency)
			}
		})
	}
}
