package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	tricklePartitions = 10_000
	trickleRecord     = 400 // bytes of a value
	trickleReplays    = 20  // partitions that are read at the end
	// Dollars at Amazon S3 Standard in us-east-1.
	dollarsPerPut = 5.0 / 1e6
	dollarsPerGet = 0.4 / 1e6
)

// trickleBucket writes to 10,000 partitions in turn while they are merged. A job takes as much
// as it does by default, and then as much as comes in an hour at a GB a day. In the end they
// are joined as after a day, and some are replayed.
func trickleBucket(ctx context.Context, l *lab) (t *sheet, err error) {
	t = &sheet{Columns: []string{"step", "GB", "PUTs/GB", "written B/B", "GETs/GB", "read B/B", "deleted/GB", "dollars/GB", "CPU s/GB", "peak MiB"}}
	t.note("dollars are those of PUTs and GETs at S3's prices, without storage; flushes of a real trickle are as many as its --flush-interval, or its budget of PUTs, allows: those of a node that is never idle cost $1.73 a day at 250ms, $0.43 at 1s")
	for _, merge := range []string{"240MiB", "42MiB"} {
		if err := l.trickle(ctx, t, merge); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (l *lab) trickle(ctx context.Context, t *sheet, merge string) (err error) {
	base := []string{"--verify-rate", "0", "--merge-wait", "1s", "--replaced-grace", "0s", "--merge-bytes", merge}
	s, err := l.newSite(ctx, l.o.varve, base...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove(ctx)) }()
	records := int(l.o.fill / tricklePartitions / trickleRecord)
	gb := float64(records) * tricklePartitions * trickleRecord / 1e9
	if _, err := s.createTopic(ctx, sharedTopic, tricklePartitions); err != nil {
		return err
	}
	if err := s.step(ctx, t, gb, "written and merged by "+merge, func() error { return s.dribble(ctx, records) }); err != nil {
		return err
	}
	if err := s.again(ctx, joiningFlags...); err != nil {
		return err
	}
	if err := s.step(ctx, t, gb, "joined after a day", func() error { return s.merged(ctx) }); err != nil {
		return err
	}
	if err := s.again(ctx, servingFlags...); err != nil {
		return err
	}
	read := gb * trickleReplays / tricklePartitions
	return s.step(ctx, t, read, fmt.Sprintf("replay of %d partitions", trickleReplays), func() error {
		for i := range trickleReplays {
			if _, err := s.replay(ctx, sharedTopic, int32(i*tricklePartitions/trickleReplays), records); err != nil {
				return err
			}
		}
		return nil
	})
}

// dribble writes one record to each partition in turn, and waits for the merging of most.
func (s *site) dribble(ctx context.Context, records int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka), kgo.DefaultProduceTopic(sharedTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(2*tricklePartitions))
	if err != nil {
		return err
	}
	defer client.Close()
	var first firstError
	value := noise(trickleRecord)
	for range records {
		for p := range int32(tricklePartitions) {
			client.Produce(ctx, &kgo.Record{Partition: p, Value: value}, first.note)
		}
		if err := first.get(); err != nil {
			return err
		}
		if err := client.Flush(ctx); err != nil { // a partition's next record comes later
			return err
		}
	}
	if err := first.get(); err != nil {
		return err
	}
	return s.idle(ctx)
}

// idle waits until tiering does nothing for a while.
func (s *site) idle(ctx context.Context) error {
	var since time.Time
	for tidied := -1.0; ; {
		c, err := s.counters(ctx)
		if err != nil {
			return err
		}
		if c.tidied != tidied {
			since, tidied = time.Now(), c.tidied
		} else if time.Since(since) > mergedQuiet {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settlePoll):
		}
	}
}

// step does something and adds a line with its cost.
func (s *site) step(ctx context.Context, t *sheet, gb float64, name string, do func() error) error {
	before, err := s.counters(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	after, err := s.counters(ctx)
	if err != nil {
		return err
	}
	s.say("%s: %.0f s", name, time.Since(began).Seconds())
	puts, gets := after.puts-before.puts, after.gets-before.gets
	t.add(name, short(gb), short(puts/gb), short((after.putBytes-before.putBytes)/gb/1e9), short(gets/gb), short((after.getBytes-before.getBytes)/gb/1e9),
		short((after.deletes-before.deletes)/gb), fmt.Sprintf("%.5f", (puts*dollarsPerPut+gets*dollarsPerGet)/gb), short((after.cpu-before.cpu)/gb), fmt.Sprint(after.peak>>20))
	return nil
}
