package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Latency defines at which pace to write records that are read at the same
// time. It is an open loop: record n is due at a time that only the plan
// decides, and its latencies count from then.
type Latency struct {
	Topic       string
	Partitions  []int32 // written to in turn
	RecordBytes int     // at least MinTimed
	Rate        float64 // records a second
	Duration    time.Duration
	Warmup      time.Duration // at the beginning, not counted
	Patience    time.Duration // how long to wait for the last record to be read
	Seed        uint64
}

// MinTimed is the smallest size of a record that holds the time it was due.
const MinTimed = 8

// Latencies are the result.
type Latencies struct {
	Rate
	Ack Quantiles `json:"acknowledged"` // due to acknowledged
	End Quantiles `json:"end_to_end"`   // due to read
}

// Run writes with producer, which must partition manually, and reads with
// consumer, which must be at the end of the topic and see no other records.
func (o Latency) Run(ctx context.Context, producer, consumer *kgo.Client, progress *Progress) (Latencies, error) {
	reading, stop := context.WithCancel(ctx)
	began := time.Now()
	s := &sending{client: producer, topic: o.Topic, progress: progress}
	r := &timing{began: began, warmup: o.Warmup, sent: make(chan int64, 1)}
	read := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { read <- r.run(reading, consumer) })

	n := o.sendAll(ctx, s, began)
	err := producer.Flush(context.Background())
	took := time.Since(began)
	r.sent <- n
	if err = errors.Join(err, s.failure()); err == nil {
		err = o.await(ctx, read)
	}
	stop()
	running.Wait()
	return Latencies{Rate: progress.rate(took), Ack: s.latency.quantiles(), End: r.latency.quantiles()}, err
}

// await waits until the reader has read all records.
func (o Latency) await(ctx context.Context, read <-chan error) error {
	patience := time.NewTimer(o.Patience)
	defer patience.Stop()
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return fmt.Errorf("records that were acknowledged could not be read within %v", o.Patience)
	}
}

// sendAll sends every record when it is due, or at once if that is past, and
// returns how many there were.
func (o Latency) sendAll(ctx context.Context, s *sending, began time.Time) (n int64) {
	all := values(o.RecordBytes, o.Seed)
	total := int64(o.Duration.Seconds() * o.Rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ; n < total && s.failure() == nil; n++ {
		due := time.Duration(float64(n) / o.Rate * float64(time.Second))
		if wait := due - time.Since(began); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return n
			}
		}
		value := append([]byte(nil), all[n%payloads]...)
		binary.BigEndian.PutUint64(value, uint64(due))
		r := &kgo.Record{Topic: s.topic, Value: value, Partition: o.Partitions[n%int64(len(o.Partitions))]}
		s.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			if due >= o.Warmup {
				s.latency.add(time.Since(began) - due)
			}
			s.outcome(r, err)
		})
	}
	return n
}

// timing reads records and measures their latencies.
type timing struct {
	began   time.Time
	warmup  time.Duration
	latency sample
	sent    chan int64 // how many records were sent, once known
}

func (t *timing) run(ctx context.Context, client *kgo.Client) error {
	total, got := int64(-1), int64(0)
	for total < 0 || got < total {
		polling, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		fetches := client.PollFetches(polling)
		cancel()
		now := time.Since(t.began)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := firstError(fetches); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		for _, r := range fetches.Records() {
			if len(r.Value) < MinTimed {
				return fmt.Errorf("partition %d, offset %d: a record that another client wrote; use a topic that only this measurement writes to", r.Partition, r.Offset)
			}
			got++
			if due := time.Duration(binary.BigEndian.Uint64(r.Value)); due >= t.warmup {
				t.latency.add(now - due)
			}
		}
		select {
		case total = <-t.sent:
		default:
		}
	}
	return nil
}
