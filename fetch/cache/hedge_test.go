package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// reply is the answer of a scripted store to a GET: it waits, and then fails, or fills dst
// with a byte.
type reply struct {
	after    time.Duration
	err      error
	with     byte
	stubborn bool // it goes on when its context has ended
}

// scripted answers GETs in the order in which they are sent. After the script, it repeats
// its last line.
type scripted struct {
	objstore.Store
	mu     sync.Mutex
	script []reply
	sentAt []time.Duration
	start  time.Time
	ended  int // GETs whose context ended first
}

func (s *scripted) GetRange(ctx context.Context, _ string, _ int64, dst []byte) error {
	s.mu.Lock()
	r := s.script[min(len(s.sentAt), len(s.script)-1)]
	s.sentAt = append(s.sentAt, time.Since(s.start))
	s.mu.Unlock()
	done := ctx.Done()
	if r.stubborn {
		done = nil
	}
	select {
	case <-time.After(r.after):
	case <-done:
		s.mu.Lock()
		s.ended++
		s.mu.Unlock()
		return ctx.Err()
	}
	for i := range dst {
		dst[i] = r.with
	}
	return r.err
}

// warmCache is a cache that knows that GETs take 30 ms, the slowest 100 ms.
func warmCache(t *testing.T, store *scripted) *Cache {
	c := newCache(t, store, 64, func(cfg *Config) { cfg.Hedge = true })
	for i := range 10 * renewEvery {
		took := 30 * time.Millisecond
		if i%50 == 49 {
			took = 100 * time.Millisecond
		}
		c.mu.hedging.begin(testBlock)
		c.mu.hedging.of(testBlock).note(took)
	}
	store.start = time.Now()
	return c
}

const ms = time.Millisecond

func TestSlowGetIsSentAgain(t *testing.T) {
	first, second := errors.New("the first failed"), errors.New("the second failed")
	for name, tc := range map[string]struct {
		script []reply
		sent   int
		took   time.Duration
		with   byte
		err    error
		stats  HedgeStats
	}{
		"fast enough":                   {[]reply{{after: 99 * ms, with: 1}}, 1, 99 * ms, 1, nil, HedgeStats{}},
		"the second wins":               {[]reply{{after: time.Hour}, {after: 20 * ms, with: 2}}, 2, 120 * ms, 2, nil, HedgeStats{1, 1}},
		"the second loses":              {[]reply{{after: 110 * ms, with: 1}, {after: time.Hour}}, 2, 110 * ms, 1, nil, HedgeStats{1, 0}},
		"fails at once":                 {[]reply{{after: 5 * ms, err: first}}, 1, 5 * ms, 0, first, HedgeStats{}},
		"the first fails, late":         {[]reply{{after: 110 * ms, err: first}, {after: 50 * ms, with: 2}}, 2, 150 * ms, 2, nil, HedgeStats{1, 1}},
		"the second fails":              {[]reply{{after: 150 * ms, with: 1}, {after: 5 * ms, err: second}}, 2, 150 * ms, 1, nil, HedgeStats{1, 0}},
		"both fail":                     {[]reply{{after: 150 * ms, err: first}, {after: 60 * ms, err: second}}, 2, 160 * ms, 0, first, HedgeStats{1, 0}},
		"both fail, the second sooner":  {[]reply{{after: 150 * ms, err: first}, {after: 5 * ms, err: second}}, 2, 150 * ms, 0, second, HedgeStats{1, 0}},
		"the time limit ends both":      {[]reply{{after: time.Hour}}, 2, 10 * time.Second, 0, context.DeadlineExceeded, HedgeStats{1, 0}},
		"the loser writes to the end":   {[]reply{{after: time.Second, with: 9, stubborn: true}, {after: 5 * ms, with: 2}}, 2, 105 * ms, 2, nil, HedgeStats{1, 1}},
		"both succeed at the same time": {[]reply{{after: 105 * ms, with: 1}, {after: 5 * ms, with: 1}}, 2, 105 * ms, 1, nil, HedgeStats{1, -1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &scripted{script: tc.script}
				c := warmCache(t, store)
				got, err := c.Region(t.Context(), whole("o"))
				if took := time.Since(store.start); took != tc.took || !errors.Is(err, tc.err) {
					t.Errorf("took %v and returned %v, want %v and %v", took, err, tc.took, tc.err)
				}
				time.Sleep(2 * time.Second) // a loser may go on for so long
				synctest.Wait()
				if err == nil {
					if b := got.Span.Slice(0, testBlock); !bytes.Equal(b, bytes.Repeat([]byte{tc.with}, testBlock)) {
						t.Errorf("bytes of %d, want %d", b[0], tc.with)
					}
					got.Span.Release()
					c.ForgetRegion(Range{"o", 0, testBlock})
				}
				if len(store.sentAt) != tc.sent || tc.sent == 2 && store.sentAt[1] != 100*ms {
					t.Errorf("sent at %v, want %d, the second after 100ms", store.sentAt, tc.sent)
				}
				if s := c.Hedges(); s != tc.stats && (tc.stats.Won >= 0 || s.Sent != tc.stats.Sent) {
					t.Errorf("counted as %+v, want %+v", s, tc.stats)
				}
				if c.pool.InUse() != 0 || c.mu.hedging.running != 0 {
					t.Errorf("%d bytes and %d second GETs are left", c.pool.InUse(), c.mu.hedging.running)
				}
			})
		})
	}
}

func TestLoserIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{script: []reply{{after: time.Hour}, {after: 5 * ms}}}
		c := warmCache(t, store)
		c.mustRead(t, whole("o"))
		synctest.Wait()
		if store.ended != 1 {
			t.Errorf("%d GETs were cancelled, want the loser", store.ended)
		}
	})
}

// TestHedgesAreBounded has a store that has become slow for all GETs.
func TestHedgesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{script: []reply{{after: time.Second}}}
		c := warmCache(t, store)
		c.mu.hedging.credit = hedgeBurst * getsPerHedge
		var all []Region
		for i := range 10 {
			all = append(all, whole(fmt.Sprint("o", i)))
		}
		c.Want(all)
		for _, r := range all {
			c.mustRead(t, r)
		}
		if n := c.Hedges().Sent; n != maxHedges {
			t.Errorf("%d of 10 GETs at the same time were sent again, want %d", n, maxHedges)
		}
		const gets = 1000
		for i := range gets {
			c.mu.hedging.of(testBlock).p99 = 100 * ms // as if it had never seen so slow a store
			c.mustRead(t, whole(fmt.Sprint("p", i)))
		}
		if n := c.Hedges().Sent; n > hedgeBurst+(10+gets)/getsPerHedge || n < gets/getsPerHedge {
			t.Errorf("%d of %d GETs were sent again", n, gets)
		}
	})
}

func TestGetsAreNotSentAgain(t *testing.T) {
	for name, prepare := range map[string]func(*Cache){
		"while little is known":      func(c *Cache) { c.mu.hedging.latencies = latencies{} },
		"of a size without a record": func(c *Cache) { *c.mu.hedging.of(testBlock) = durations{noted: warmDurations - 1, p99: ms} },
		"if that is off":             func(c *Cache) { c.hedge = false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &scripted{script: []reply{{after: 5 * time.Second}}}
				c := warmCache(t, store)
				prepare(c)
				if c.mustRead(t, whole("o")); len(store.sentAt) != 1 {
					t.Errorf("%d GETs", len(store.sentAt))
				}
			})
		})
	}
}

func TestLatenciesBySize(t *testing.T) {
	var l latencies
	if l.of(1) != l.of(64<<10) || l.of(64<<10) == l.of(64<<10+1) || l.of(4<<20) == l.of(4<<20+1) || l.of(5<<20) != l.of(1<<40) {
		t.Error("sizes are in other classes")
	}
	d := l.of(1 << 20)
	for i := range 99 {
		d.note(time.Duration(i) * ms)
		if _, ok := d.slow(); ok {
			t.Fatalf("quantiles of %d GETs", i+1)
		}
	}
	for range 1005 {
		d.note(10 * ms)
	}
	if p99, ok := d.slow(); !ok || p99 != 10*ms || d.base > 10*ms || d.queued() {
		t.Errorf("the slowest hundredth takes %v, %t", p99, ok)
	}
	for i := range keptDurations {
		d.note(time.Duration(i+1) * ms)
	}
	if p99, _ := d.slow(); p99 != 254*ms {
		t.Errorf("the slowest hundredth of 1 to 256 ms takes %v", p99)
	}
	if !d.queued() {
		t.Errorf("the median is %v after %v, and that is no queue", d.median, d.base)
	}
}
