package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

// rereadTurn is the time between two reads of a whole log.
const rereadTurn = 3 * time.Second

// rereads counts reads of a whole log that came to its end.
type rereads struct {
	whole  atomic.Int64
	behind [2]atomic.Int64 // those that began after index pages were removed, by node
}

// reread reads the log from its beginning to its end, again and again, at the leader and the
// follower in turn, until ctx ends. Whatever it reads first is merged, its objects are deleted,
// and so are index pages that led to them.
func (r *round) reread(ctx context.Context, leader, follower string) error {
	for i := 0; ctx.Err() == nil; i++ {
		c, err := newReader(r.history, fmt.Sprintf("reader from the start %d", i), []string{leader, follower}[i%2], func(int32) int64 { return 0 })
		if err != nil {
			return err
		}
		ends, removed := [partitions]int64{}, r.cluster.tidying.pagesRemoved()
		for partition := range ends {
			ends[partition] = r.history.Committed(int32(partition))
		}
		for !c.reached(ends) && ctx.Err() == nil {
			c.poll(ctx)
		}
		c.client.Close()
		if c.reached(ends) {
			r.rereads.whole.Add(1)
			if removed > 0 {
				r.rereads.behind[i%2].Add(1)
			}
		}
		sleep(ctx, rereadTurn)
	}
	return nil
}

// reread does the same with a fading topic. Its start moves while it is read.
func (l *fadingLog) reread(ctx context.Context, h *history.History, addresses ...string) error {
	for i := 0; ctx.Err() == nil; i++ {
		for partition := range int32(fadingPartitions) {
			if _, err := l.readPartition(ctx, h, addresses[i%len(addresses)], partition); err != nil {
				return err
			}
		}
		sleep(ctx, rereadTurn/4)
	}
	return nil
}

// readPartition reads a partition from its start to the last record that is acknowledged now.
// It reports false if ctx ends before.
func (l *fadingLog) readPartition(ctx context.Context, h *history.History, address string, partition int32) (bool, error) {
	client, err := newClient(address)
	if err != nil {
		return false, err
	}
	defer client.Close()
	name, admin := "reader of "+l.topic+" at "+address, kadm.NewClient(client)
	l.mu.Lock()
	to := l.parts[partition].end
	l.mu.Unlock()
	next, listed := int64(0), false
	for ctx.Err() == nil {
		start, err := l.look(ctx, h, admin, name, partition)
		if err != nil {
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		if listed && start <= next {
			h.Note(history.Refused, "%s: offset %d of partition %d is out of range, and the log starts at %d", name, next, partition, start)
			return true, nil
		}
		listed = true
		if next, err = l.readFrom(ctx, h, address, partition, start, to); next >= to || err != nil {
			return true, err
		}
	}
	return false, nil
}

// check reads the topic from each node.
func (l *fadingLog) check(ctx context.Context, h *history.History, addresses ...string) error {
	for _, address := range addresses {
		for partition := range int32(fadingPartitions) {
			done, err := l.readPartition(ctx, h, address, partition)
			if err != nil {
				return err
			}
			if !done {
				h.Note(history.Stuck, "partition %d of %s cannot be read to its end at %s in time", partition, l.topic, address)
			}
		}
	}
	return nil
}

// look lists start and end of a partition, and checks that it may start there.
func (l *fadingLog) look(ctx context.Context, h *history.History, admin *kadm.Client, name string, partition int32) (start int64, err error) {
	l.mu.Lock()
	before, kept := l.parts[partition].start, l.kept
	l.mu.Unlock()
	starts, err := admin.ListStartOffsets(ctx, l.topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		return 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, l.topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return 0, err
	}
	first, okFirst := starts.Lookup(l.topic, partition)
	end, okEnd := ends.Lookup(l.topic, partition)
	if !okFirst || !okEnd {
		return 0, fmt.Errorf("partition %d is not listed", partition)
	}
	if start = first.Offset; start < before {
		h.Note(history.StartWentBack, "%s lists %d as the start of partition %d, which was %d before", name, start, partition, before)
	}
	l.begins(h, name, partition, before, start, end.Offset, kept, time.Now())
	return start, nil
}

// begins checks that a partition may start at an offset. before is the start that was known, and
// kept since when retention was off, when start and end were asked for; at is a later time.
func (l *fadingLog) begins(h *history.History, name string, partition int32, before, start, end int64, kept, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.parts[partition]
	if !kept.IsZero() && kept.Equal(l.kept) {
		at = kept // and all the while
	}
	if end < before || start > end {
		h.Note(history.EndWentBack, "%s: partition %d of %s is listed from %d to %d, its start was %d before", name, partition, l.topic, start, end, before)
	}
	if start <= p.start {
		return
	}
	if why := l.wrong(p, start, end, at); why != "" {
		h.Note(history.LostWrite, "%s: partition %d of %s starts at %d, but %s", name, partition, l.topic, start, why)
	}
	p.start = start
}

// readFrom reads without a gap from one offset to another. It returns early, with the offset
// that is out of range.
func (l *fadingLog) readFrom(ctx context.Context, h *history.History, address string, partition int32, from, to int64) (next int64, err error) {
	if next = from; from >= to {
		return next, nil
	}
	client, err := newClient(address,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxPartitionBytes(4<<10))
	if err != nil {
		return next, err
	}
	defer client.Close()
	for out := false; next < to && !out && ctx.Err() == nil; {
		fetches := client.PollFetches(ctx)
		fetches.EachRecord(func(record *kgo.Record) {
			if record.Offset != next {
				h.Note(history.PollSkip, "offset %d of partition %d of %s comes after %d", record.Offset, partition, l.topic, next-1)
			}
			l.saw(h, partition, record.Offset, record.Value)
			next = record.Offset + 1
		})
		fetches.EachError(func(_ string, _ int32, err error) {
			switch {
			case errors.Is(err, kerr.OffsetOutOfRange):
				out = true
			case !diedAtFirstRequest(err) && ctx.Err() == nil && !errors.Is(err, kgo.ErrClientClosed):
				h.Note(history.Refused, "a reader of %s gets an error for partition %d, at offset %d: %v", l.topic, partition, next, err)
			}
		})
	}
	return next, nil
}

// saw compares a record with those that were acknowledged or read at its offset before.
func (l *fadingLog) saw(h *history.History, partition int32, offset int64, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.parts[partition]
	known, ok := p.values[offset]
	if ok && known != string(value) {
		h.Note(history.InconsistentOffset, "offset %d of partition %d of %s has %.40q, where %.40q was acknowledged or read before", offset, partition, l.topic, value, known)
	}
	p.values[offset] = string(value)
}

// fadingReading is a read of the whole topic in a bucket that does not change any more.
type fadingReading struct {
	history *history.History
	name    string
	log     *fadingLog
	next    [fadingPartitions]int64
}

// read begins to read from the starts that are listed, with the ends.
func (l *fadingLog) read(h *history.History, name string, listed []foreignPartition) *fadingReading {
	r := &fadingReading{history: h, name: name, log: l}
	for partition, p := range listed[:min(len(listed), fadingPartitions)] {
		l.begins(h, name, int32(partition), l.parts[partition].start, p.Start, p.End, time.Time{}, time.Now())
		r.next[partition] = p.Start
	}
	return r
}

func (r *fadingReading) take(partition int32, offset int64, _, value []byte) {
	if offset != r.next[partition] {
		r.history.Note(history.PollSkip, "%s gets offset %d of partition %d of %s after %d", r.name, offset, partition, r.log.topic, r.next[partition]-1)
	}
	r.log.saw(r.history, partition, offset, value)
	r.next[partition] = offset + 1
}

func (r *fadingReading) end() {
	for partition, next := range r.next {
		if end := r.log.parts[partition].end; next < end {
			r.history.Note(history.Truncated, "%s gets partition %d of %s up to %d, acknowledged is %d", r.name, partition, r.log.topic, next, end)
		}
	}
}
