package main

import (
	"context"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

const (
	purgeTurn  = 2 * time.Second // between two DeleteRecords
	purgeEach  = 2               // of so many partitions, one is purged
	purgeLimit = 10 * time.Second
)

// jobsLog is the records of a round with a group.
type jobsLog struct {
	mu     sync.Mutex
	parts  []jobsPart
	purged atomic.Int64 // records, by answers
}

// jobsPart is a partition of it.
type jobsPart struct {
	acked map[int64]uint32 // checksums of values, by offset
	asked int64            // highest offset below which records were to be deleted
	start int64            // highest one that an answer said
}

func newJobsLog(partitions int) *jobsLog {
	l := &jobsLog{parts: make([]jobsPart, partitions)}
	for i := range l.parts {
		l.parts[i].acked = map[int64]uint32{}
	}
	return l
}

func (l *jobsLog) note(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[r.Partition].acked[r.Offset] = crc32.ChecksumIEEE(r.Value)
}

// purge deletes records below committed offsets until ctx ends, as programs do that have no other
// use for them. No member must ever ask for these.
func (l *jobsLog) purge(ctx context.Context, committed func(partition int32) int64, address string) error {
	client, err := newClient(address)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for ; ctx.Err() == nil; sleep(ctx, purgeTurn) {
		asked := kadm.Offsets{}
		l.mu.Lock()
		for i := 0; i < len(l.parts); i += purgeEach {
			p := &l.parts[i]
			p.asked = committed(int32(i))
			asked.Add(kadm.Offset{Topic: jobs, Partition: int32(i), At: p.asked})
		}
		l.mu.Unlock()
		turn, cancel := context.WithTimeout(ctx, purgeLimit)
		deleted, err := admin.DeleteRecords(turn, asked)
		cancel()
		if err != nil {
			continue
		}
		l.mu.Lock()
		deleted.Each(func(d kadm.DeleteRecordsResponse) {
			if p := &l.parts[d.Partition]; d.Err == nil && d.LowWatermark > p.start {
				l.purged.Add(d.LowWatermark - p.start)
				p.start = d.LowWatermark
			}
		})
		l.mu.Unlock()
	}
	return nil
}

// jobsReading is a read of the whole topic in a bucket that does not change any more.
type jobsReading struct {
	history *history.History
	log     *jobsLog
	next    []int64
}

// read begins to read from the starts that are listed.
func (l *jobsLog) read(h *history.History, listed []foreignPartition) *jobsReading {
	r := &jobsReading{history: h, log: l, next: make([]int64, len(l.parts))}
	for i, p := range listed[:min(len(listed), len(l.parts))] {
		if r.next[i] = p.Start; p.Start > l.parts[i].asked || p.Start < l.parts[i].start {
			h.Note(history.LostWrite, "partition %d of %s starts at %d; it was to start between %d and %d", i, jobs, p.Start, l.parts[i].start, l.parts[i].asked)
		}
	}
	return r
}

func (r *jobsReading) take(partition int32, offset int64, _, value []byte) {
	if want := r.next[partition]; offset != want {
		r.history.Note(history.PollSkip, "offset %d of partition %d of %s comes instead of %d", offset, partition, jobs, want)
	}
	r.next[partition] = offset + 1
	acked := r.log.parts[partition].acked
	if sum, ok := acked[offset]; ok && sum != crc32.ChecksumIEEE(value) {
		r.history.Note(history.Corrupt, "offset %d of partition %d of %s has %.40q, and another value was acknowledged", offset, partition, jobs, value)
	}
}

func (r *jobsReading) end() {
	for i, next := range r.next {
		for offset := range r.log.parts[i].acked {
			if offset >= next {
				r.history.Note(history.Truncated, "partition %d of %s is read up to %d, acknowledged is %d", i, jobs, next, offset)
				break
			}
		}
	}
}
