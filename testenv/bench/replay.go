package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// replayed is how many partitions a study of replays reads of each kind, one after the
	// other.
	replayed = 8
	// replayRecord is the size of the records.
	replayRecord = 1024
	sharedTopic  = "shared"
	aloneTopic   = "alone"
)

// The flags of a node that merges nothing, of one that merges all that it has, and of one that
// takes all of it for a day old. The last ones are of a node that then serves.
var (
	restingFlags = []string{"--roles", "ingest,fetch", "--verify-rate", "0"}
	mergingFlags = []string{"--verify-rate", "0", "--merge-age", "1s", "--merge-wait", "100ms", "--tiering-rate", "unlimited", "--replaced-grace", "0s"}
	joiningFlags = append([]string{"--merge-join-age", "1s"}, mergingFlags...)
	servingFlags = []string{"--verify-rate", "0"}
)

// replayOf returns a study that reads partitions of a topic of so many, which share all
// objects, and in turn partitions that were filled one after the other.
func replayOf(partitions int) func(context.Context, *lab) (*sheet, error) {
	return func(ctx context.Context, l *lab) (t *sheet, err error) {
		t = &sheet{Columns: []string{"partition", "MB/s", "low-high", "of alone", "CPU s/GB", "GETs/GB", "read B/B", "peak MiB"}}
		records := int(l.o.fill) / partitions / replayRecord
		t.note("%.1f MB a partition; each line is %d cold partitions in turn with the line of those that were alone", float64(records)*replayRecord/1e6, replayed)
		if l.o.before != "" {
			if err := l.replayBefore(ctx, t, partitions, records); err != nil {
				return t, err
			}
		}
		s, err := l.newSite(ctx, l.o.varve, restingFlags...)
		if err != nil {
			return t, err
		}
		defer func() { err = errors.Join(err, s.remove(ctx)) }()
		if err := s.fillReplays(ctx, partitions, records); err != nil {
			return t, err
		}
		if err := s.replays(ctx, t, ", flushed", partitions, records, restingFlags); err != nil {
			return t, err
		}
		if err := s.tidy(ctx, t, int64(records)*replayRecord*int64(partitions+replayed)); err != nil {
			return t, err
		}
		return t, s.replays(ctx, t, ", merged", partitions, records, servingFlags)
	}
}

// replayBefore reads from a bucket of an older varve.
func (l *lab) replayBefore(ctx context.Context, t *sheet, partitions, records int) (err error) {
	s, err := l.newSite(ctx, l.o.before, restingFlags[:2]...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove(ctx)) }()
	if err := s.fillReplays(ctx, partitions, records); err != nil {
		return err
	}
	return s.replays(ctx, t, ", older varve", partitions, records, restingFlags[:2])
}

// fillReplays fills the partitions of both topics.
func (s *site) fillReplays(ctx context.Context, partitions, records int) error {
	began := time.Now()
	for topic, n := range map[string]int{aloneTopic: replayed, sharedTopic: partitions} {
		if _, err := s.createTopic(ctx, topic, n); err != nil {
			return err
		}
	}
	for p := range int32(replayed) {
		if err := s.write(ctx, aloneTopic, []int32{p}, records); err != nil {
			return err
		}
	}
	all := make([]int32, partitions)
	for i := range all {
		all[i] = int32(i)
	}
	if err := s.write(ctx, sharedTopic, all, records); err != nil {
		return err
	}
	_, err := s.settle(ctx)
	s.say("filled in %.0f s", time.Since(began).Seconds())
	return err
}

// write writes as many records to each of some partitions, in turn.
func (s *site) write(ctx context.Context, topic string, partitions []int32, records int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return err
	}
	defer client.Close()
	failed := make(chan error, 1)
	value := noise(replayRecord)
	for range records {
		for _, p := range partitions {
			client.Produce(ctx, &kgo.Record{Topic: topic, Partition: p, Value: value}, func(_ *kgo.Record, err error) {
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
	err = client.Flush(ctx)
	select {
	case first := <-failed:
		err = first
	default:
	}
	if err != nil {
		return fmt.Errorf("fill %s: %w", topic, err)
	}
	return nil
}

// tidy has a node merge all that the bucket has, as it would within a day, and then join it,
// as after a day. It notes the cost for each of the bytes that were written.
func (s *site) tidy(ctx context.Context, t *sheet, bytes int64) error {
	for _, step := range []struct {
		name  string
		flags []string
	}{{"merged", mergingFlags}, {"joined", joiningFlags}} {
		began := time.Now()
		if err := s.again(ctx, step.flags...); err != nil {
			return err
		}
		before, err := s.counters(ctx)
		if err != nil {
			return err
		}
		if err := s.merged(ctx); err != nil {
			return err
		}
		after, err := s.counters(ctx)
		if err != nil {
			return err
		}
		gb, took := float64(bytes)/1e9, time.Since(began)-mergedQuiet
		t.note("%s in %.0f s with %s: %s CPU s, %s PUTs, %s GETs and %s deletions a GB, %s B/B written, %s B/B read, peak %d MiB", step.name, took.Seconds(), strings.Join(step.flags, " "),
			short((after.cpu-before.cpu)/gb), short((after.puts-before.puts)/gb), short((after.gets-before.gets)/gb), short((after.deletes-before.deletes)/gb),
			short((after.putBytes-before.putBytes)/gb/1e9), short((after.getBytes-before.getBytes)/gb/1e9), after.peak>>20)
		s.say("%s in %.0f s", step.name, took.Seconds())
	}
	return nil
}

// mergedQuiet is for how long a node has done nothing before it counts as done.
const mergedQuiet = 12 * time.Second

// merged waits until a node has merged all that it has, and has stopped.
func (b *broker) merged(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	var since time.Time
	for tidied := -1.0; ; {
		c, err := b.counters(ctx)
		if err != nil {
			return err
		}
		if c.debt > 0 || c.tidied != tidied {
			since, tidied = time.Now(), c.tidied
		} else if time.Since(since) > mergedQuiet {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%.0f bytes are not merged: %w", c.debt, ctx.Err())
		case <-time.After(settlePoll):
		}
	}
}

// replays starts a node with nothing in memory, and has it serve partitions of the two kinds
// in turn.
func (s *site) replays(ctx context.Context, t *sheet, kind string, partitions, records int, flags []string) error {
	if err := s.again(ctx, flags...); err != nil {
		return err
	}
	var shared, alone []Outcome
	for i := range replayed {
		for _, of := range []struct {
			topic     string
			partition int
			out       *[]Outcome
		}{{sharedTopic, i * partitions / replayed, &shared}, {aloneTopic, i, &alone}} {
			o, err := s.replay(ctx, of.topic, int32(of.partition), records)
			if err != nil {
				return err
			}
			*of.out = append(*of.out, o)
		}
	}
	rate := func(o Outcome) float64 { return o.Value }
	for _, of := range []struct {
		name string
		all  []Outcome
	}{{fmt.Sprintf("of %d%s", partitions, kind), shared}, {"alone" + kind, alone}} {
		low, middle, high := spread(of.all, rate)
		_, base, _ := spread(alone, rate)
		gets := mean(of.all, func(o Outcome) float64 { return *o.Gets })
		read := mean(of.all, func(o Outcome) float64 { return *o.Gets * float64(o.GetSize) / 1e9 })
		cpu := mean(of.all, func(o Outcome) float64 { return o.CPU })
		t.add(of.name, short(middle), short(low)+"-"+short(high), short(middle/base), short(cpu), short(gets), short(read), fmt.Sprint(of.all[len(of.all)-1].PeakBytes>>20))
	}
	return nil
}

func mean[T any](all []T, of func(T) float64) (sum float64) {
	for _, o := range all {
		sum += of(o) / float64(len(all))
	}
	return sum
}

func spread[T any](all []T, of func(T) float64) (low, middle, high float64) {
	var values []float64
	for _, o := range all {
		values = append(values, of(o))
	}
	slices.Sort(values)
	return values[0], values[len(values)/2], values[len(values)-1]
}

// replay reads one partition from its start.
func (s *site) replay(ctx context.Context, topic string, partition int32, records int) (Outcome, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka))
	if err != nil {
		return Outcome{}, err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return Outcome{}, err
	}
	before, err := s.counters(ctx)
	if err != nil {
		return Outcome{}, err
	}
	began, bytes := time.Now(), int64(0)
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}})
	for read := 0; read < records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return Outcome{}, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			bytes += int64(len(r.Value))
		})
	}
	seconds := time.Since(began).Seconds()
	after, err := s.counters(ctx)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Value: float64(bytes) / seconds / 1e6, Cost: cost(before, after, float64(bytes)/1e9, true)}, nil
}
