package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

const (
	topic      = "events"
	partitions = 6
	// maxBuffered limits the records that a producer has under way; at the
	// limit it sends no more.
	maxBuffered = 5000
)

// newClient is a client that soon notices when a node is back. Address has one node, or
// several joined by commas.
func newClient(address string, more ...kgo.Opt) (*kgo.Client, error) {
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(address, ",")...),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(time.Duration(tries)*50*time.Millisecond, time.Second) }),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProduceRequestTimeout(10 * time.Second),
		kgo.UnknownTopicRetries(-1),
		kgo.MaxBufferedRecords(2 * maxBuffered),
		kgo.ProducerLinger(0),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return c, nil
}

// size returns the size of a value's record: most are small.
func size(v history.Value) int {
	switch n := uint64(v) * 0x9e3779b97f4a7c15 >> 32; {
	case n%100 == 0:
		return 8 << 10
	case n%10 == 0:
		return 1000
	default:
		return 60 + int(n%100)
	}
}

// record returns the record of a value.
func record(v history.Value, partition int32) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Key: v.Key(), Value: v.Text(size(v))}
}

// clients run side by side.
type clients struct {
	running sync.WaitGroup
	mu      sync.Mutex
	err     error
}

func (c *clients) start(run func() error) {
	c.running.Go(func() {
		if err := run(); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.err = errors.Join(c.err, err)
		}
	})
}

func (c *clients) wait() error {
	c.running.Wait()
	return c.err
}
