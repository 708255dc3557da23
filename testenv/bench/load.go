package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/varvelog/varve/testenv/proc"
)

// job is a load that is ready to begin: clients are connected, and the paths
// that it uses were used before.
type job struct {
	run   func(ctx context.Context) (result, error)
	close func()
}

// result is the load as its client saw it. Fields that a kind does not have
// are 0.
type result struct {
	figure
	operations int64
	seconds    float64
	latency    *Quantiles // of operations
}

// prepare makes the job of a case.
func (r *runner) prepare(ctx context.Context, b bench, on *target, topic string) (job, error) {
	switch b.Kind {
	case syncKind:
		return r.repeated(ctx, syncOperation(b, on.kafka, topic))
	case commitKind:
		return r.repeated(ctx, commitOperation(on.kafka, topic))
	case offsetsKind:
		return r.repeated(ctx, offsetsOperation(b, on.kafka, topic))
	case idsKind:
		return prepareIDs(ctx, b, on.kafka, topic)
	case idleKind:
		return prepareIdle(ctx, b, on.kafka, topic, r.o.duration)
	case javaKind:
		return r.prepareJava(ctx, b, on, topic)
	case startKind: // it has started
		return job{run: func(context.Context) (result, error) {
			return result{seconds: on.ready.Seconds(), operations: 1}, nil
		}, close: func() {}}, nil
	}
	return job{close: func() {}, run: func(ctx context.Context) (result, error) {
		f, err := load(ctx, r.o.varve, on.kafka, r.loadArgs(b, topic)...)
		return result{figure: f, operations: f.Figure.Records, seconds: f.Figure.Seconds}, err
	}}, nil
}

// outcome is the result with the broker's cost.
func (b bench) outcome(res result, before, after counters, metrics bool) Outcome {
	f := &res.Figure
	o := Outcome{RecordsPerSecond: f.RecordsPerSecond, BytesPerSecond: f.BytesPerSecond,
		Operations: res.operations, Seconds: res.seconds, Acknowledged: res.latency}
	if f.Bytes > 0 {
		o.ClientCPUPerGB = res.ClientCPU / (float64(f.Bytes) / 1e9)
	}
	if b.Kind == latencyKind {
		o.Acknowledged, o.EndToEnd = &f.Acknowledged, &f.EndToEnd
	}
	amount := map[string]float64{"GB": float64(f.Bytes) / 1e9, thousand: float64(res.operations) / 1000,
		"start": 1, "s": res.seconds}[b.Kind.measure().per]
	o.Cost = cost(before, after, amount, metrics)
	o.Value = b.Kind.measure().figure(&o)
	return o
}

func (r *runner) loadArgs(b bench, topic string) []string {
	span := r.o.duration.String()
	switch b.Kind {
	case hotKind:
		return []string{"consume", topic, "--duration", span}
	case coldKind:
		return []string{"consume", topic}
	case latencyKind:
		return []string{"latency", topic, "--duration", span, "--rate", fmt.Sprint(r.o.rate),
			"--record-size", fmt.Sprint(b.RecordSize), "--acks", b.Acks}
	}
	return append([]string{"produce", topic, "--duration", span, "--record-size", fmt.Sprint(b.RecordSize), "--acks", b.Acks}, b.clientFlags()...)
}

// figure is the output of `varve bench`.
type figure struct {
	Figure struct {
		Records          int64     `json:"records"`
		Bytes            int64     `json:"bytes"`
		Seconds          float64   `json:"seconds"`
		RecordsPerSecond float64   `json:"records_per_second"`
		BytesPerSecond   float64   `json:"bytes_per_second"`
		Acknowledged     Quantiles `json:"acknowledged"`
		EndToEnd         Quantiles `json:"end_to_end"`
	} `json:"figure"`
	ClientCPU float64 `json:"client_cpu_seconds"`
}

// Quantiles are those of latencies.
type Quantiles struct {
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
}

// load runs the load generator, a process of its own, on a broker.
func load(ctx context.Context, binary, kafka string, args ...string) (figure, error) {
	var f figure
	var stdout, stderr bytes.Buffer
	process, err := proc.Start(proc.Command{Path: binary, Env: varveEnv(), Direct: true, Stdout: &stdout, Stderr: &stderr,
		Args: slices.Concat([]string{"bench"}, args, []string{"--bootstrap", kafka, "--output", "json"})})
	if err != nil {
		return f, err
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		return f, errors.Join(ctx.Err(), process.Kill())
	}
	if err := process.Wait(); err != nil {
		return f, fmt.Errorf("varve bench %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	if err := json.Unmarshal(stdout.Bytes(), &f); err != nil {
		return f, fmt.Errorf("read the output of varve bench: %w", err)
	}
	return f, nil
}
