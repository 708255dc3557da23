package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

// slowTopic has partitions that few records are written to. Their merged extents are small,
// and are joined again and again.
const slowTopic = "slow"

// slowBytes are the bytes a second that are written to each partition of the slow topic.
var slowBytes = []int{600, 1000, 4000, 8000}

// slowTurn is the time between two records of a partition.
const slowTurn = 100 * time.Millisecond

// slowLog is the records of the slow topic that were acknowledged: checksums of their values,
// by partition and offset.
type slowLog struct {
	mu    sync.Mutex
	acked []map[int64]uint32
}

func newSlowLog() *slowLog {
	l := &slowLog{acked: make([]map[int64]uint32, len(slowBytes))}
	for i := range l.acked {
		l.acked[i] = map[int64]uint32{}
	}
	return l
}

func (l *slowLog) note(record *kgo.Record, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[record.Partition][record.Offset] = crc32.ChecksumIEEE(record.Value)
}

// produce writes until ctx ends, and returns when it knows all outcomes or hard ends.
func (l *slowLog) produce(ctx, hard context.Context, seed uint64, address string) error {
	client, err := newClient(address)
	if err != nil {
		return err
	}
	defer client.Close()
	random := rand.NewChaCha8([32]byte{byte(seed)})
	for ctx.Err() == nil {
		for partition, bytes := range slowBytes {
			value := make([]byte, bytes*int(slowTurn)/int(time.Second))
			_, _ = random.Read(value) // never fails
			client.Produce(hard, &kgo.Record{Topic: slowTopic, Partition: int32(partition), Value: value}, l.note)
		}
		sleep(ctx, slowTurn)
	}
	if err := client.Flush(hard); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// check reads the topic from its beginning. Each acknowledged record must be where it was
// acknowledged to be.
func (l *slowLog) check(ctx context.Context, h *history.History, address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	offsets, left := map[int32]kgo.Offset{}, 0
	for partition := range l.acked {
		offsets[int32(partition)] = kgo.NewOffset().AtStart()
		left += len(l.acked[partition])
	}
	client, err := newClient(address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{slowTopic: offsets}))
	if err != nil {
		return err
	}
	defer client.Close()
	for left > 0 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			sum, acked := l.acked[record.Partition][record.Offset]
			if !acked {
				return
			}
			left--
			if delete(l.acked[record.Partition], record.Offset); sum != crc32.ChecksumIEEE(record.Value) {
				h.Note(history.Corrupt, "offset %d of partition %d of the slow topic has another value than was acknowledged", record.Offset, record.Partition)
			}
		})
	}
	if left > 0 {
		h.Note(history.Truncated, "%d acknowledged records of the slow topic cannot be read: %v", left, ctx.Err())
	}
	return nil
}

// createSlow creates the slow topic and the compacted one.
func (r *round) createSlow(ctx context.Context) error {
	if err := r.createTopic(ctx, slowTopic, len(slowBytes), nil); err != nil {
		return fmt.Errorf("slow topic: %w", err)
	}
	if err := r.createTopic(ctx, compactedTopic, 1, compactedConfigs); err != nil {
		return fmt.Errorf("compacted topic: %w", err)
	}
	r.slow, r.keyed = newSlowLog(), newCompactedLog()
	return nil
}
