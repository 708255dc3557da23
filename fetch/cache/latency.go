package cache

import (
	"math/bits"
	"slices"
	"time"
)

const (
	// sizeClasses: GETs of up to 64 KiB, of up to twice as many bytes, and so on. The last
	// class has all that are larger than 4 MiB.
	sizeClasses = 8
	smallGet    = 64 << 10
	// keptDurations is how many GETs of a class are remembered, and warmDurations how many
	// there must be before a quantile of them means something.
	keptDurations = 256
	warmDurations = 100
	// renewEvery is the number of GETs after which the quantiles of a class are renewed.
	renewEvery = 16
)

// latencies knows how long GETs took lately, by the number of bytes. It is pure.
type latencies [sizeClasses]durations

// durations are those of the last GETs of a class.
type durations struct {
	last        [keptDurations]time.Duration // in a ring
	noted       int
	median, p99 time.Duration // at the last renewal
	// base is the lowest median, as of a store without a queue. It rises slowly, for the
	// store may have become slower for good.
	base time.Duration
}

func (l *latencies) of(bytes int64) *durations {
	return &l[min(bits.Len64(uint64(max(bytes-1, 0))/smallGet), sizeClasses-1)]
}

// note adds a GET that succeeded.
func (d *durations) note(took time.Duration) {
	d.last[d.noted%keptDurations] = took
	d.noted++
	if d.noted%renewEvery != 0 {
		return
	}
	sorted := slices.Clone(d.last[:min(d.noted, keptDurations)])
	slices.Sort(sorted)
	d.p99 = sorted[len(sorted)*99/100]
	recent := slices.Clone(d.recent())
	slices.Sort(recent)
	d.median = recent[len(recent)/2]
	if d.base == 0 || d.median < d.base {
		d.base = d.median
	} else {
		d.base += (d.median - d.base) / 64
	}
}

// recent returns the GETs since the renewal before.
func (d *durations) recent() []time.Duration {
	end := (d.noted-1)%keptDurations + 1
	return d.last[end-renewEvery : end]
}

// slow returns the time after which a GET is one of the slowest hundredth; false while
// that is not known.
func (d *durations) slow() (time.Duration, bool) { return d.p99, d.noted >= warmDurations && d.p99 > 0 }

// queued reports whether the last GETs took much longer than those of a store without a
// queue.
func (d *durations) queued() bool { return d.median > d.base+d.base/2 }
