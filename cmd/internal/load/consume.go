package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Consume selects the records to read: of each partition, every record from
// Start to before End, and again from the beginning until Duration is over.
type Consume struct {
	Topic      string
	Start, End map[int32]int64
	Duration   time.Duration // 0: once
}

// Consumed is the result.
type Consumed struct {
	Rate
	Rounds int `json:"rounds"` // how often all records were read
}

// errNothing: there is nothing to measure.
var errNothing = errors.New("the topic has no records to read")

// Run reads with clients that dial makes, a new one for each round. It always
// finishes a round, unless ctx ends.
func (o Consume) Run(ctx context.Context, dial func(...kgo.Opt) (*kgo.Client, error), progress *Progress) (Consumed, error) {
	var c Consumed
	from, left := o.plan()
	if left == 0 {
		return c, errNothing
	}
	began := time.Now()
	for c.Rounds == 0 || time.Since(began) < o.Duration {
		client, err := dial(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: from}))
		if err != nil {
			return c, err
		}
		err = o.round(ctx, client, progress)
		client.Close()
		if err != nil {
			c.Rate = progress.rate(time.Since(began))
			return c, err
		}
		c.Rounds++
	}
	c.Rate = progress.rate(time.Since(began))
	return c, nil
}

// plan returns where to begin in the partitions that have records, and the
// number of those partitions.
func (o Consume) plan() (from map[int32]kgo.Offset, partitions int) {
	from = map[int32]kgo.Offset{}
	for p, end := range o.End {
		if end > o.Start[p] {
			from[p] = kgo.NewOffset().At(o.Start[p])
		}
	}
	return from, len(from)
}

// round reads all records once.
func (o Consume) round(ctx context.Context, client *kgo.Client, progress *Progress) error {
	_, left := o.plan()
	done := map[int32]bool{}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := firstError(fetches); err != nil {
			return err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			end := o.End[p.Partition]
			var records, bytes int64
			for _, r := range p.Records {
				if r.Offset < end {
					records, bytes = records+1, bytes+int64(len(r.Key)+len(r.Value))
				}
			}
			progress.add(records, bytes)
			if n := len(p.Records); n > 0 && !done[p.Partition] && p.Records[n-1].Offset >= end-1 {
				done[p.Partition] = true
				left--
			}
		})
	}
	return nil
}

func firstError(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		return fmt.Errorf("read partition %d: %w", e.Partition, e.Err)
	}
	return nil
}
