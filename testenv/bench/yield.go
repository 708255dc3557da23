package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

const (
	yieldPartitions = 200
	yieldRecord     = 1024
	yieldTurns      = 5 // of each kind
	yieldWarmup     = time.Second
)

// yieldOfMerging puts a load on two nodes in turn: one has much to merge, the other one merges
// nothing. While one has the load, the other one is stopped. The loads are the one with which
// the processors are half busy, and half of the most that a node takes while it is read, too.
// Small batches cost far more for a byte than large ones, and a busy node gets large ones. So
// the processors have next to nothing left at half of the most.
func yieldOfMerging(ctx context.Context, l *lab) (t *sheet, err error) {
	t = &sheet{Columns: []string{"load", "node", "p50 ms", "p99 ms", "low-high", "ingested MB/s", "merged MB/s", "CPU s/GB ingested"}}
	merging, err := l.newSite(ctx, l.o.varve, restingFlags...)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, merging.remove(ctx)) }()
	resting, err := l.newSite(ctx, l.o.varve, restingFlags...)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, resting.remove(ctx)) }()
	for _, s := range []*site{merging, resting} {
		if _, err := s.createTopic(ctx, sharedTopic, yieldPartitions); err != nil {
			return t, err
		}
	}
	unread, err := load(ctx, l.o.varve, resting.kafka, "produce", sharedTopic, "--duration", l.o.duration.String(), "--record-size", fmt.Sprint(yieldRecord))
	if err != nil {
		return t, err
	}
	most, err := l.paced(ctx, resting, unread.Figure.RecordsPerSecond)
	if err != nil {
		return t, err
	}
	if _, err := load(ctx, l.o.varve, merging.kafka, "produce", sharedTopic, "--duration", "0", "--records", fmt.Sprint(l.o.fill/yieldRecord), "--record-size", fmt.Sprint(yieldRecord)); err != nil {
		return t, err
	}
	t.note("the most that a node takes alone: %s MB/s, and %s MB/s while it is read; each line has the medians of %d turns of %v of a load", short(unread.Figure.BytesPerSecond/1e6), short(most.Figure.BytesPerSecond/1e6), yieldTurns, l.o.duration)
	busy, err := l.halfBusy(ctx, resting, most.Figure.RecordsPerSecond)
	if err != nil {
		return t, err
	}
	// Only now: in an idle journal it would begin with a job of gigabytes.
	if err := merging.again(ctx, "--verify-rate", "0", "--replaced-grace", "0s"); err != nil {
		return t, err
	}
	if err := l.turns(ctx, t, merging, resting, "half busy", busy); err != nil {
		return t, err
	}
	return t, l.turns(ctx, t, merging, resting, "half of most", most.Figure.RecordsPerSecond/2)
}

// turn is a load on one of the nodes.
type turn struct {
	Quantiles
	seconds       float64
	ingested, cpu float64 // bytes, seconds a GB
	debt          float64 // afterwards
}

func (l *lab) turns(ctx context.Context, t *sheet, merging, resting *site, part string, rate float64) error {
	before, err := merging.indebted(ctx)
	if err != nil {
		return err
	}
	var on, off []turn
	for range yieldTurns {
		for _, of := range []struct {
			s, other *site
			turns    *[]turn
		}{{merging, resting, &on}, {resting, merging, &off}} {
			if err := of.other.process.Signal(syscall.SIGSTOP); err != nil {
				return err
			}
			got, err := l.turn(ctx, of.s, rate)
			if err := errors.Join(err, of.other.process.Signal(syscall.SIGCONT)); err != nil {
				return err
			}
			*of.turns = append(*of.turns, got)
		}
	}
	for _, of := range []struct {
		name  string
		turns []turn
	}{{"merging", on}, {"resting", off}} {
		_, p50, _ := spread(of.turns, func(x turn) float64 { return x.P50 })
		low, p99, high := spread(of.turns, func(x turn) float64 { return x.P99 })
		average := func(f func(turn) float64) string { return short(mean(of.turns, f)) }
		merged := "0"
		if of.name == "merging" {
			merged = short(mergedRate(before, on) / 1e6)
		}
		t.add(part, of.name, short(p50), short(p99), short(low)+"-"+short(high), average(func(x turn) float64 { return x.ingested / x.seconds / 1e6 }),
			merged, average(func(x turn) float64 { return x.cpu }))
	}
	var ratios []float64
	for i := range on {
		ratios = append(ratios, on[i].P99/off[i].P99)
	}
	low, middle, high := spread(ratios, func(x float64) float64 { return x })
	t.note("%s: p99 of merging / resting, turn by turn: %s (%s-%s)", part, short(middle), short(low), short(high))
	t.note("%s: unmerged bytes before the turns %s MB, after them %s MB", part, short(before/1e6), short(on[len(on)-1].debt/1e6))
	return nil
}

// mergedRate is how many bytes were merged in a second of the turns: those that the debt went
// down by, and those that came. A node looks at its debt between two jobs, so a single turn
// does not say it.
func mergedRate(debt float64, turns []turn) float64 {
	seconds, merged := 0.0, debt-turns[len(turns)-1].debt
	for _, x := range turns {
		seconds, merged = seconds+x.seconds, merged+x.ingested
	}
	return merged / seconds
}

// indebted waits until a node has seen that it has something to merge.
func (s *site) indebted(ctx context.Context) (float64, error) {
	for {
		c, err := s.counters(ctx)
		if err != nil || c.debt > 0 {
			return c.debt, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(settlePoll):
		}
	}
}

// paced writes so many records a second, in batches as produce makes them, and reads them.
func (l *lab) paced(ctx context.Context, s *site, rate float64) (figure, error) {
	return load(ctx, l.o.varve, s.kafka, "latency", sharedTopic, "--duration", l.o.duration.String(), "--warmup", yieldWarmup.String(),
		"--rate", fmt.Sprint(rate), "--record-size", fmt.Sprint(yieldRecord), "--linger", "5ms")
}

// turn puts the load on one node.
func (l *lab) turn(ctx context.Context, s *site, rate float64) (turn, error) {
	before, err := s.counters(ctx)
	if err != nil {
		return turn{}, err
	}
	began := time.Now()
	f, err := l.paced(ctx, s, rate)
	if err != nil {
		return turn{}, err
	}
	after, err := s.counters(ctx)
	if err != nil {
		return turn{}, err
	}
	took := time.Since(began).Seconds()
	bytes := f.Figure.BytesPerSecond * took
	return turn{Quantiles: f.Figure.Acknowledged, seconds: took, ingested: bytes, cpu: (after.cpu - before.cpu) / (bytes / 1e9), debt: after.debt}, nil
}
