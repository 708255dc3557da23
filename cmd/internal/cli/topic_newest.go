package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/twmb/franz-go/pkg/kgo"
)

// lastRead limits the time for reading the last records to delete.
const lastRead = 30 * time.Second

// errNotRead: a record did not arrive in time.
var errNotRead = fmt.Errorf("it did not come within %v", lastRead)

// readLast reads the last record that each part of a plan deletes. It notes the
// record's time there, or why it is not known.
func readLast(ctx context.Context, client *kgo.Client, topic string, plan []truncation) error {
	waiting := map[int32]*truncation{}
	from := map[int32]kgo.Offset{}
	for i := range plan {
		if t := &plan[i]; t.Before > t.Start {
			waiting[t.Partition], t.lastErr = t, errNotRead
			from[t.Partition] = kgo.NewOffset().At(t.Before - 1)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	defer client.PurgeTopicsFromConsuming(topic)
	reading, cancel := context.WithTimeout(ctx, lastRead)
	defer cancel()
	for len(waiting) > 0 && reading.Err() == nil {
		fetches := client.PollFetches(reading)
		fetches.EachRecord(func(r *kgo.Record) {
			t := waiting[r.Partition]
			if t == nil {
				return
			}
			delete(waiting, r.Partition)
			if t.lastErr = errNotThere; r.Offset == t.Before-1 {
				t.LastDeleted, t.lastErr = r.Timestamp.UTC().Format(timeLayout), nil
				t.last = r.Timestamp
			}
		})
		fetches.EachError(func(_ string, p int32, err error) {
			if t := waiting[p]; t != nil && reading.Err() == nil {
				t.lastErr = err
				delete(waiting, p)
			}
		})
	}
	return context.Cause(ctx)
}

// errNotThere: the log continues after the offset without a record at it.
var errNotThere = errors.New("there is no record at the offset before")

// timeLayout is a time in UTC, with the precision of records.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// checkTimes compares a plan made by time with the times of the records. It
// refuses to empty a partition because no newer record was found: a wrong date,
// or a clock that is ahead, looks the same.
func checkTimes(d *deletion, at from, plan []truncation) error {
	for _, t := range plan {
		switch {
		case at.kind != fromTime || t.Before == t.Start:
		case t.lastErr != nil:
			return fmt.Errorf("partition %d: the time of the last record to delete, at offset %d, could not be read: %w; delete up to an offset instead (--before %d)",
				t.Partition, t.Before-1, t.lastErr, t.Before)
		case t.last.UnixMilli() >= at.time.UnixMilli():
			return fmt.Errorf("partition %d: the last record to delete, at offset %d, is of %s, which is not before %s; delete up to an offset instead",
				t.Partition, t.Before-1, t.LastDeleted, at.time.UTC().Format(timeLayout))
		case t.nothingNewer && !d.allowEmpty:
			return usagef("partition %d has no record of %s or later: all its records would be deleted, at %s offsets, the last one of %s; add --allow-empty to delete them",
				t.Partition, at.time.UTC().Format(timeLayout), humanize.Comma(t.Before-t.Start), t.LastDeleted)
		}
	}
	return nil
}
