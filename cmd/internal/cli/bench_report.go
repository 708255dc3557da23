package cli

import (
	"context"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/varvelog/varve/cmd/internal/load"
)

// goal is when a measurement will be over. Zero means unknown.
type goal struct {
	records int64
	time    time.Duration
}

// left returns how long the rest will take, from the progress so far.
func (g goal) left(records int64, took time.Duration) string {
	var left time.Duration
	if g.records > 0 && records > 0 {
		left = time.Duration(float64(took) * float64(g.records-records) / float64(records))
	}
	if byTime := g.time - took; g.time > 0 && (g.records == 0 || byTime < left) {
		left = byTime
	}
	if left <= 0 {
		return ""
	}
	return fmt.Sprintf(", %v left", left.Round(time.Second))
}

// benchResult is the figure, and the processor time of this process.
type benchResult struct {
	Figure    any     `json:"figure"`
	ClientCPU float64 `json:"client_cpu_seconds"`
}

// measure runs a measurement, shows its progress, and prints the result, also
// when an interruption has cut it short. A measurement that failed has no
// result.
func (b *bench) measure(ctx context.Context, g goal, run func(*load.Progress) (any, error)) error {
	var progress load.Progress
	stop := b.watch(&progress, g)
	before := cpuSeconds()
	figure, err := run(&progress)
	used := cpuSeconds() - before
	stop()
	if err == nil {
		err = b.print(benchResult{Figure: figure, ClientCPU: used})
	}
	if err == nil {
		err = ctx.Err()
	}
	return interrupted(ctx, err)
}

func (b *bench) print(r benchResult) error {
	if b.output == "json" {
		return printJSON(b.env.Stdout, r)
	}
	return printTable(b.env.Stdout, func(w io.Writer) {
		printFigure(w, r.Figure)
		fmt.Fprintf(w, "client CPU\t%.2f s\n", r.ClientCPU)
	})
}

func printFigure(w io.Writer, figure any) {
	rate := func(r load.Rate) {
		fmt.Fprintf(w, "records\t%s\n", humanize.Comma(r.Records))
		fmt.Fprintf(w, "time\t%.2f s\n", r.Seconds)
		fmt.Fprintf(w, "throughput\t%s records/s, %.1f MB/s\n", humanize.Comma(int64(r.RecordsPerSecond)), r.BytesPerSecond/1e6)
	}
	quantiles := func(name string, q load.Quantiles) {
		fmt.Fprintf(w, "%s\tp50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, max %.1f ms\n", name, q.P50, q.P99, q.P999, q.Max)
	}
	switch f := figure.(type) {
	case load.Produced:
		rate(f.Rate)
		quantiles("in the client and under way", f.Latency)
	case load.Consumed:
		rate(f.Rate)
		fmt.Fprintf(w, "rounds\t%d\n", f.Rounds)
	case load.Latencies:
		rate(f.Rate)
		quantiles("due to acknowledged", f.Ack)
		quantiles("due to read", f.End)
	}
}

// watch shows progress every second until the returned function is called.
func (b *bench) watch(progress *load.Progress, g goal) (stop func()) {
	terminal := isTerminal(b.env.Stderr)
	if !terminal && !b.progress {
		return func() {}
	}
	line := "\r\x1b[K"
	if !terminal {
		line = ""
	}
	began, done, ended := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		var last int64
		for {
			select {
			case <-done:
				fmt.Fprint(b.env.Stderr, line)
				return
			case <-tick.C:
				n, took := progress.Records.Load(), time.Since(began)
				text := fmt.Sprintf("varve: %s records, %s records/s%s", humanize.Comma(n),
					humanize.Comma(int64(float64(n-last)/progressEvery.Seconds())), g.left(n, took))
				last = n
				if !terminal {
					text += "\n"
				}
				fmt.Fprint(b.env.Stderr, line+text)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// cpuSeconds returns how much processor time this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
