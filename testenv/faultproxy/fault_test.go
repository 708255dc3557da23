package faultproxy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestLatencyWithATailHasTheQuantilesAskedFor(t *testing.T) {
	const n = 10_000
	f := Fault{Kind: Latency, Rate: 1, Delay: 30 * time.Millisecond, P99: 150 * time.Millisecond}
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = f.latency(random)
	}
	slices.Sort(all)
	for _, q := range []struct {
		at   int
		want time.Duration
	}{{n / 2, f.Delay}, {n * 99 / 100, f.P99}} {
		if got := all[q.at]; got < q.want*9/10 || got > q.want*11/10 {
			t.Errorf("quantile %d of %d is %v, want about %v", q.at, n, got, q.want)
		}
	}
	f.P99 = 0
	if got := f.latency(random); got != f.Delay {
		t.Errorf("without a tail: %v", got)
	}
}
