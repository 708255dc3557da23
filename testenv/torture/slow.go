package main

import (
	"context"
	"errors"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

// slowTopic has partitions that few records are written to. Their merged extents are small,
// and are joined again and again.
const slowTopic = "slow"

// slowRates are how often a record is written to each partition of the slow topic, and how large
// its value is. The last ones are so slow that small objects of their own are joined, too.
var slowRates = []struct{ turns, bytes int }{{1, 60}, {1, 100}, {1, 400}, {1, 800}, {5, 60}, {10, 60}}

// slowTurn is the time that a turn takes.
const slowTurn = 100 * time.Millisecond

// slowLog is the records of the slow topic that were acknowledged: checksums of their values,
// by partition and offset.
type slowLog struct {
	mu    sync.Mutex
	acked []map[int64]uint32
}

func newSlowLog() *slowLog {
	l := &slowLog{acked: make([]map[int64]uint32, len(slowRates))}
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
	for turn := 0; ctx.Err() == nil; turn++ {
		for partition, rate := range slowRates {
			if turn%rate.turns > 0 {
				continue
			}
			value := make([]byte, rate.bytes)
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

// check reads the topic from its beginning.
func (l *slowLog) check(ctx context.Context, h *history.History, address string) error {
	reading := l.read(h, "a reader")
	offsets := map[int32]kgo.Offset{}
	for partition := range slowRates {
		offsets[int32(partition)] = kgo.NewOffset().AtStart()
	}
	client, err := newClient(address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{slowTopic: offsets}))
	if err != nil {
		return err
	}
	defer client.Close()
	for reading.count > 0 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { reading.take(r.Partition, r.Offset, r.Key, r.Value) })
	}
	reading.end()
	return nil
}

// slowReading is a read of the whole topic. Each acknowledged record must be where it was
// acknowledged to be.
type slowReading struct {
	history *history.History
	name    string
	left    []map[int64]uint32
	count   int
}

func (l *slowLog) read(h *history.History, name string) *slowReading {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &slowReading{history: h, name: name}
	for _, acked := range l.acked {
		r.left = append(r.left, maps.Clone(acked))
		r.count += len(acked)
	}
	return r
}

func (r *slowReading) take(partition int32, offset int64, _, value []byte) {
	sum, acked := r.left[partition][offset]
	if !acked {
		return
	}
	r.count--
	if delete(r.left[partition], offset); sum != crc32.ChecksumIEEE(value) {
		r.history.Note(history.Corrupt, "%s gets another value at offset %d of partition %d of the slow topic than was acknowledged", r.name, offset, partition)
	}
}

func (r *slowReading) end() {
	if r.count > 0 {
		r.history.Note(history.Truncated, "%s does not get %d acknowledged records of the slow topic", r.name, r.count)
	}
}
