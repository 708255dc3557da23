package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce defines how much to write. Records and Duration are both limits; one
// of them must be set.
type Produce struct {
	Topic       string
	Partitions  []int32 // written to in turn, record by record
	RecordBytes int     // of each value; there is no key
	Records     int64   // 0: no limit
	Duration    time.Duration
	Seed        uint64
}

// Produced is the result. A record's latency lasts from its hand-over to the
// client to its acknowledgement. With a client that is always full that is
// mostly the client's own queue; Latency is another measure.
type Produced struct {
	Rate
	Latency Quantiles `json:"latency"`
}

// sampled: the latency of one record in so many is measured.
const sampled = 128

const slabSize = 512 // records allocated at once

// Run sends as fast as client takes records, which must partition manually
// (kgo.ManualPartitioner), until a limit is reached or ctx ends. It returns
// when the outcome of every record that counts is known. When the time is over,
// those that the client has not sent yet do not count.
func (o Produce) Run(ctx context.Context, client *kgo.Client, progress *Progress) (Produced, error) {
	s := &sending{client: client, topic: o.Topic, progress: progress}
	began := time.Now()
	var err error
	if o.sendAll(ctx, s, began) {
		err = client.Flush(context.Background()) // the client's own limits end it
	} else {
		s.over.Store(true)
		err = client.AbortBufferedRecords(context.Background())
	}
	took := time.Since(began)
	return Produced{Rate: progress.rate(took), Latency: s.latency.quantiles()}, errors.Join(s.failure(), err)
}

// sendAll reports whether it has sent all wanted records.
func (o Produce) sendAll(ctx context.Context, s *sending, began time.Time) bool {
	all := values(o.RecordBytes, o.Seed)
	var slab []kgo.Record
	for n := int64(0); o.Records == 0 || n < o.Records; n++ {
		if n%sampled == 0 && (ctx.Err() != nil || s.failure() != nil || o.Duration > 0 && time.Since(began) >= o.Duration) {
			return false
		}
		if len(slab) == 0 {
			slab = make([]kgo.Record, slabSize)
		}
		r := &slab[0]
		slab = slab[1:]
		r.Value = all[n%payloads]
		r.Partition = o.Partitions[n%int64(len(o.Partitions))]
		s.send(r, n%sampled == 0)
	}
	return true
}

// sending receives the reports of the client's goroutines.
type sending struct {
	client   *kgo.Client
	topic    string
	progress *Progress
	latency  sample
	over     atomic.Bool // records not sent yet do not count

	mu    sync.Mutex
	first error // why the first record failed
}

// send hands a record over. It ignores the end of the command's context: a
// record that was begun is finished, or fails by the client's own limits.
func (s *sending) send(r *kgo.Record, timed bool) {
	r.Topic = s.topic
	if !timed {
		s.client.Produce(context.Background(), r, s.outcome)
		return
	}
	began := time.Now()
	s.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if err == nil {
			s.latency.add(time.Since(began))
		}
		s.outcome(r, err)
	})
}

func (s *sending) outcome(r *kgo.Record, err error) {
	if err != nil && errors.Is(err, kgo.ErrAborting) && s.over.Load() {
		return
	}
	if err != nil {
		s.fail(fmt.Errorf("write to partition %d: %w", r.Partition, err))
		return
	}
	s.progress.add(1, int64(len(r.Value)))
}

func (s *sending) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = err
	}
}

func (s *sending) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}
