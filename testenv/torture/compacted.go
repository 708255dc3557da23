package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

// compactedTopic is compacted all the while. It has one partition, a few keys, and
// tombstones.
const compactedTopic = "compacted"

var compactedConfigs = map[string]string{
	"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "2000",
}

const (
	compactedKeys = 200
	compactedTurn = 10 * time.Millisecond // between two records
)

// compactedLog is the last record of each key that was acknowledged.
type compactedLog struct {
	mu    sync.Mutex
	last  map[string]*kgo.Record
	end   int64           // the offset after the last one
	vague map[string]bool // keys with records of unknown outcome
}

func newCompactedLog() *compactedLog {
	return &compactedLog{last: map[string]*kgo.Record{}, vague: map[string]bool{}}
}

func (l *compactedLog) note(record *kgo.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := string(record.Key)
	if err != nil {
		l.vague[key] = true
		return
	}
	l.end = max(l.end, record.Offset+1)
	if known := l.last[key]; known == nil || known.Offset < record.Offset {
		l.last[key] = record
	}
}

// produce writes until ctx ends, and returns when it knows all outcomes or hard ends.
func (l *compactedLog) produce(ctx, hard context.Context, seed uint64, address string) error {
	client, err := newClient(address)
	if err != nil {
		return err
	}
	defer client.Close()
	random := rand.New(rand.NewPCG(seed, 2))
	for n := 0; ctx.Err() == nil; n++ {
		record := &kgo.Record{Topic: compactedTopic, Key: fmt.Appendf(nil, "key %d", random.IntN(compactedKeys))}
		if random.IntN(5) > 0 {
			record.Value = fmt.Appendf(nil, "%d %0100d", n, random.Uint64())
		}
		client.Produce(hard, record, l.note)
		sleep(ctx, compactedTurn)
	}
	if err := client.Flush(hard); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// check reads the topic from its beginning. Each key must have its last value, or none if
// that is a tombstone.
func (l *compactedLog) check(ctx context.Context, h *history.History, address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	client, err := newClient(address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{compactedTopic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	read, next := map[string]*kgo.Record{}, int64(0)
	for next < l.end && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			if record.Offset < next {
				h.Note(history.NonmonotonicPoll, "offset %d of the compacted topic comes after %d", record.Offset, next-1)
			}
			read[string(record.Key)], next = record, record.Offset+1
		})
	}
	if next < l.end {
		h.Note(history.Truncated, "the compacted topic is read up to %d, acknowledged is %d: %v", next, l.end, ctx.Err())
		return nil
	}
	for key, want := range l.last {
		got := read[key]
		gone := want.Value == nil && got == nil
		if same := got != nil && got.Offset == want.Offset && bytes.Equal(got.Value, want.Value); !gone && !same && !l.vague[key] {
			h.Note(history.Corrupt, "%s of the compacted topic was acknowledged last at offset %d, and read last as %+v", key, want.Offset, got)
		}
	}
	return nil
}
