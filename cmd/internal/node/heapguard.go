package node

import (
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	// guardEvery is the time between two looks at the work of the garbage collector.
	guardEvery = 10 * time.Second
	// guardShare is the share of all CPUs above which the collector works for too little.
	// Below the limit it takes less; at the limit it takes up to a half.
	guardShare = 0.2
)

// heapGuard raises the limit of the heap while its contents come close to it. A limit keeps
// garbage away. The state of topics, groups and producers is in no budget and is not
// garbage. If it fills the heap, the collector frees almost nothing each time, and takes
// half of the CPUs for that.
type heapGuard struct {
	log         *slog.Logger
	least, most int64 // the limit stays between them; they are equal if the user has set it
	limit       int64
	warned      bool
	gc, all     float64 // CPU seconds at the last look
}

// look is called every guardEvery.
func (g *heapGuard) look() {
	samples := []runtimemetrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"},
	}
	runtimemetrics.Read(samples)
	live := int64(min(samples[0].Value.Uint64(), math.MaxInt64/4))
	limit, short := g.decide(live, samples[1].Value.Float64()-samples[2].Value.Float64(), samples[3].Value.Float64())
	if limit != g.limit {
		debug.SetMemoryLimit(limit)
		g.limit = limit
	}
	if short && !g.warned {
		g.log.Warn(fmt.Sprintf("the heap has no room: the garbage collector takes more than %.0f%% of the CPUs, because %s are in use; "+
			"more state of topics, groups and producers than is usual may be the reason; give the node more memory, or lower --cache-bytes",
			guardShare*100, humanize.IBytes(uint64(live))), "heap_limit", humanize.IBytes(uint64(limit)))
	}
	g.warned = short || g.warned && limit > g.least
}

// decide returns the new limit, for live bytes of the heap and CPU seconds of the collector
// and in all until now. short reports that the collector works too much.
func (g *heapGuard) decide(live int64, gc, all float64) (limit int64, short bool) {
	share := (gc - g.gc) / max(all-g.all, 1e-9)
	g.gc, g.all = gc, all
	limit = g.limit
	switch {
	case share > guardShare && live > limit/4*3:
		return max(limit, min(g.most, max(limit, live)+live/4)), true
	case live < g.least/2:
		limit = g.least // the state of before is gone
	}
	return limit, false
}
