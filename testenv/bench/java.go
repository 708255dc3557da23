package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

// perfLine is the last line of kafka-producer-perf-test, without the records
// that warmed it up. Its MB are of 2^20 bytes.
var perfLine = regexp.MustCompile(`(\d+) steady state records sent, ([\d.]+) records/sec \(([\d.]+) MB/sec\), .* ms avg latency, .* ms max latency, (\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th, (\d+) ms 99.9th`)

// perfWarmup is the number of records after which the virtual machine has
// compiled the producer's code.
const perfWarmup = 100_000

// prepareJava makes a job of Kafka's own producer with its defaults. A run
// before it finds the number of records that take about the time of a load.
func (r *runner) prepareJava(ctx context.Context, b bench, on *target, topic string) (job, error) {
	if r.java == nil {
		return job{}, errors.New("needs --kafka")
	}
	const first = 20_000
	res, err := r.producerPerf(ctx, b, on.kafka, topic, first, first/2)
	if err != nil {
		return job{}, err
	}
	records := perfWarmup + max(perfWarmup, int64(res.Figure.RecordsPerSecond*r.o.duration.Seconds()))
	return job{close: func() {}, run: func(ctx context.Context) (result, error) {
		return r.producerPerf(ctx, b, on.kafka, topic, records, perfWarmup)
	}}, nil
}

// producerPerf writes records. The cost is that of all, the throughput that of
// those after the first ones.
func (r *runner) producerPerf(ctx context.Context, b bench, kafka, topic string, records, warmup int64) (result, error) {
	process, err := r.java.start(proc.Command{}, "org.apache.kafka.tools.ProducerPerformance", []string{"-Xmx512m"}, []string{
		"--topic", topic, "--num-records", fmt.Sprint(records), "--warmup-records", fmt.Sprint(warmup),
		"--record-size", fmt.Sprint(b.RecordSize), "--throughput", "-1",
		"--bootstrap-server", kafka, "--command-property", "acks=" + b.Acks})
	if err != nil {
		return result{}, err
	}
	began := time.Now()
	select {
	case <-process.Done():
	case <-ctx.Done():
		return result{}, errors.Join(ctx.Err(), process.Kill())
	}
	if err := process.Wait(); err != nil {
		return result{}, fmt.Errorf("kafka-producer-perf-test: %w\n%s", err, process.Output())
	}
	res, err := readPerf(process.Output(), b.RecordSize)
	res.seconds, res.operations = time.Since(began).Seconds(), records
	res.Figure.Records, res.Figure.Bytes = records, records*int64(b.RecordSize)
	return res, err
}

// readPerf reads the output of kafka-producer-perf-test.
func readPerf(output string, recordSize int) (result, error) {
	all := perfLine.FindAllStringSubmatch(output, -1)
	if len(all) == 0 {
		return result{}, fmt.Errorf("kafka-producer-perf-test has no last line:\n%s", output)
	}
	var n [4]float64
	last := all[len(all)-1]
	for i, text := range []string{last[2], last[4], last[5], last[6]} {
		var err error
		if n[i], err = strconv.ParseFloat(text, 64); err != nil {
			return result{}, fmt.Errorf("kafka-producer-perf-test: %w", err)
		}
	}
	res := result{latency: &Quantiles{P50: n[1], P99: n[2], P999: n[3]}}
	res.Figure.RecordsPerSecond, res.Figure.BytesPerSecond = n[0], n[0]*float64(recordSize)
	return res, nil
}
