package load

import (
	"slices"
	"sync"
	"time"
)

// Quantiles are those of a sample, in milliseconds.
type Quantiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// sample collects durations. Its methods may be called concurrently.
type sample struct {
	mu    sync.Mutex
	times []time.Duration
}

func (s *sample) add(d time.Duration) {
	s.mu.Lock()
	s.times = append(s.times, d)
	s.mu.Unlock()
}

func (s *sample) quantiles() Quantiles {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.times)
	if n == 0 {
		return Quantiles{}
	}
	slices.Sort(s.times)
	// at returns the smallest value that at least this share of the sample does
	// not exceed.
	at := func(perMille int) float64 {
		i := (n*perMille + 999) / 1000
		return milliseconds(s.times[max(i, 1)-1])
	}
	return Quantiles{Count: n, P50: at(500), P99: at(990), P999: at(999), Max: milliseconds(s.times[n-1])}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
