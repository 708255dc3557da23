package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/senders"
)

// partitions of each topic.
const partitions = 8

const recordSize = 100

// load is one producer, and all that is known of its records.
type load struct {
	family, topic string
	sender        senders.Sender
	history       *history.History
	producer      *history.Producer
	stop          context.CancelFunc
	done          chan struct{} // closed when the last record is sent

	mu       sync.Mutex
	sent     map[uint64]sentAt // without outcome
	last     [partitions]time.Time
	since    [partitions]time.Time // when the oldest record was sent that is acknowledged since a mark
	longest  time.Duration
	acked    int
	failed   int
	firstErr string

	lost, doubled int
}

// sentAt is when a record was sent, and to where.
type sentAt struct {
	at        time.Time
	partition int32
}

// startLoad begins to send at a rate, to all partitions in turn.
func startLoad(f senders.Family, brokers []string, rate float64) (*load, error) {
	began := time.Now()
	l := &load{family: f.Name, topic: "load-of-" + f.Name, sent: map[uint64]sentAt{}, done: make(chan struct{})}
	l.history = history.New(partitions, func() time.Duration { return time.Since(began) })
	l.producer = l.history.NewProducer(history.Promise{Name: f.Name, Acks: -1, Idempotent: true, InOrder: true})
	var err error
	if l.sender, err = f.Start(brokers, l.topic, l.outcome); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.send(ctx, rate)
	return l, nil
}

func (l *load) send(ctx context.Context, rate float64) {
	defer close(l.done)
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	for i := int32(0); ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		partition := i % partitions
		v := l.producer.Send(partition)
		l.mu.Lock()
		l.sent[uint64(v)] = sentAt{time.Now(), partition}
		l.mu.Unlock()
		if l.sender.Send(uint64(v), partition, v.Key(), v.Text(recordSize)) != nil {
			return // it has ended; Close says why
		}
	}
}

// outcome notes the outcome of a record, and how long its partition had none.
func (l *load) outcome(id uint64, offset int64, err error) {
	v, now := history.Value(id), time.Now()
	if err != nil {
		l.producer.Unknown(v)
	} else {
		l.producer.Acked(v, offset)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent[id]
	delete(l.sent, id)
	if err != nil {
		l.failed++
		if l.firstErr == "" {
			l.firstErr = err.Error()
		}
		return
	}
	l.acked++
	if last := l.last[sent.partition]; !last.IsZero() {
		l.longest = max(l.longest, now.Sub(last))
	}
	l.last[sent.partition], l.since[sent.partition] = now, sent.at
}

// mark begins to measure.
func (l *load) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = 0
}

// ackedSince reports whether each partition has a record that was sent after a moment and
// is acknowledged.
func (l *load) ackedSince(at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, sent := range l.since {
		if !sent.After(at) {
			return false
		}
	}
	return true
}

// end sends no more, and waits for all outcomes.
func (l *load) end() error {
	l.stop()
	<-l.done
	return l.sender.Close()
}

// check reads the topic and compares it with the outcomes.
func (l *load) check(ctx context.Context, brokers []string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, l.topic)
	if err = errors.Join(err, listed.Error()); err != nil {
		return err
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	reader := l.history.NewConsumer("the reader")
	listed.Each(func(o kadm.ListedOffset) {
		reader.Seek(o.Partition, 0)
		if from[o.Partition] = kgo.NewOffset().At(0); o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: from})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return errors.New("the records cannot be read back in time")
		}
		fetches.EachRecord(func(r *kgo.Record) {
			reader.Read(r.Partition, r.Offset, r.Key, r.Value)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	found := l.history.Check()
	for kind, n := range found.Counts {
		if kind == history.Duplicate {
			l.doubled += n
		} else {
			l.lost += n
		}
	}
	return nil
}
