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

// check reads the topic from its beginning.
func (l *compactedLog) check(ctx context.Context, h *history.History, address string) error {
	client, err := newClient(address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{compactedTopic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	reading := l.read(h, "a reader")
	for reading.next < l.end && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { reading.take(r.Partition, r.Offset, r.Key, r.Value) })
	}
	reading.end()
	return nil
}

// compactedReading is a read of the whole topic. Each key must have its last value, or none
// if that is a tombstone.
type compactedReading struct {
	history *history.History
	name    string
	log     *compactedLog
	last    map[string]*kgo.Record
	next    int64
}

func (l *compactedLog) read(h *history.History, name string) *compactedReading {
	return &compactedReading{history: h, name: name, log: l, last: map[string]*kgo.Record{}}
}

func (r *compactedReading) take(_ int32, offset int64, key, value []byte) {
	if offset < r.next {
		r.history.Note(history.NonmonotonicPoll, "%s gets offset %d of the compacted topic after %d", r.name, offset, r.next-1)
	}
	r.last[string(key)], r.next = &kgo.Record{Offset: offset, Value: value}, offset+1
}

func (r *compactedReading) end() {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.next < l.end {
		r.history.Note(history.Truncated, "%s gets the compacted topic up to %d, acknowledged is %d", r.name, r.next, l.end)
		return
	}
	for key, want := range l.last {
		got := r.last[key]
		gone := want.Value == nil && got == nil
		if same := got != nil && got.Offset == want.Offset && bytes.Equal(got.Value, want.Value); !gone && !same && !l.vague[key] {
			r.history.Note(history.Corrupt, "%s of the compacted topic was acknowledged last at offset %d, and %s gets %+v last", key, want.Offset, r.name, got)
		}
	}
}
