package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// replayShare is how many times fewer bytes a replay reads than other cases: each of the
// partitions next to it has as many.
const replayShare = 16

// tidyFlags have a node merge all that it has at once.
var tidyFlags = []string{"--merge-age", "1s", "--merge-join-age", "1s", "--merge-wait", "100ms"}

// replayFlags are the flags of a node for a replay: it merges soon, or not at all, and reads
// nothing else.
func (s varveSystem) replayFlags(b bench) (flags []string) {
	if b.Kind != replayKind {
		return nil
	}
	if s.merges {
		flags = append(flags, "--verify-rate", "0")
	}
	if b.Merged {
		return append(flags, tidyFlags...)
	}
	return append(flags, "--roles", "ingest,fetch")
}

// replayRecords is how many records each partition has.
func (r *runner) replayRecords(b bench) int { return int(r.o.fill) / replayShare / b.RecordSize }

// fillReplay writes as many records to all partitions, in turn, so that they share all
// objects.
func (r *runner) fillReplay(ctx context.Context, b bench, on *target, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(on.kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return err
	}
	defer client.Close()
	failed := make(chan error, 1)
	value := make([]byte, b.RecordSize)
	for range r.replayRecords(b) {
		for p := range b.Partitions {
			client.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(p), Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		}
		select {
		case err := <-failed:
			return fmt.Errorf("fill %s: %w", topic, err)
		default:
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("fill %s: %w", topic, err)
	}
	if b.Merged {
		if err := on.merged(ctx); err != nil {
			return err
		}
	}
	if _, err := on.settle(ctx); err != nil {
		return err
	}
	return on.forget(ctx)
}

// merged waits until a node has merged all that it has, and has stopped.
func (b *broker) merged(ctx context.Context) error {
	const quiet = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var since time.Time
	for jobs := -1.0; ; {
		c, err := b.counters(ctx)
		if err != nil {
			return err
		}
		if c.debt > 0 || c.jobs != jobs {
			since, jobs = time.Now(), c.jobs
		} else if time.Since(since) > quiet {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%.0f bytes are not merged: %w", c.debt, ctx.Err())
		case <-time.After(settlePoll):
		}
	}
}

// prepareReplay makes a job that reads one partition from its start.
func (r *runner) prepareReplay(b bench, kafka, topic string) (job, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka))
	if err != nil {
		return job{}, err
	}
	return job{close: client.Close, run: func(ctx context.Context) (result, error) {
		began := time.Now()
		client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})
		var res result
		f := &res.Figure
		for want := int64(r.replayRecords(b)); f.Records < want; {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return res, err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				f.Records++
				f.Bytes += int64(len(r.Value))
			})
		}
		f.Seconds = time.Since(began).Seconds()
		f.BytesPerSecond, f.RecordsPerSecond = float64(f.Bytes)/f.Seconds, float64(f.Records)/f.Seconds
		res.operations, res.seconds = f.Records, f.Seconds
		return res, nil
	}}, nil
}
