package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics that lose their first records while they are written to.
const (
	briefTopic   = "brief"   // by retention.ms
	boundedTopic = "bounded" // by retention.bytes
	trimmedTopic = "trimmed" // by DeleteRecords
)

const (
	fadingPartitions = 2
	fadingTurn       = 20 * time.Millisecond // between two records of a partition
	fadingSize       = 100                   // bytes of a value
	fadingOverhead   = 120                   // more than a batch of one record adds to that
	briefRetention   = 4 * time.Second
	boundedBytes     = 40_000
	trimTurn         = 2 * time.Second  // between two DeleteRecords
	keepTurn         = 10 * time.Second // for which the brief topic has its retention, or none
)

// fadingLog is such a topic as clients know it.
type fadingLog struct {
	topic   string
	configs map[string]string
	// wrong returns why the partition must not start at an offset, "" if it may. end is the
	// end that was listed after the start, at is a later time, or when retention was switched off.
	wrong func(p *fadingPart, start, end int64, at time.Time) string

	mu    sync.Mutex
	parts [fadingPartitions]fadingPart
	kept  time.Time // when it was acknowledged that retention is off; zero: it is on
}

// fadingPart is a partition of it. Nothing is compacted, so offsets have no gaps.
type fadingPart struct {
	values map[int64]string // by offset, of records that were acknowledged or read
	times  map[int64]int64  // of those acknowledged: Unix milliseconds
	end    int64            // after the last one acknowledged
	start  int64            // highest one listed
	asked  int64            // highest offset below which records were to be deleted
}

func newFadingLogs() []*fadingLog {
	logs := []*fadingLog{
		{topic: briefTopic, configs: map[string]string{"retention.ms": retentionMs(briefRetention)}, wrong: tooBrief},
		{topic: boundedTopic, configs: map[string]string{"retention.bytes": strconv.Itoa(boundedBytes)}, wrong: tooSmall},
		{topic: trimmedTopic, wrong: notAsked},
	}
	for _, l := range logs {
		for i := range l.parts {
			l.parts[i] = fadingPart{values: map[int64]string{}, times: map[int64]int64{}}
		}
	}
	return logs
}

func retentionMs(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func tooBrief(p *fadingPart, start, _ int64, at time.Time) string {
	for offset := p.start; offset < start; offset++ {
		if ms, ok := p.times[offset]; ok && at.Sub(time.UnixMilli(ms)) < briefRetention {
			return fmt.Sprintf("the record at %d was only %v old", offset, at.Sub(time.UnixMilli(ms)))
		}
	}
	return ""
}

func tooSmall(_ *fadingPart, start, end int64, _ time.Time) string {
	if most := (end - start) * (fadingSize + fadingOverhead); start > 0 && most < boundedBytes {
		return fmt.Sprintf("the log ends at %d, so only %d bytes are left at most", end, most)
	}
	return ""
}

func notAsked(p *fadingPart, start, _ int64, _ time.Time) string {
	if start > p.asked {
		return fmt.Sprintf("records were to be deleted below %d only", p.asked)
	}
	return ""
}

func (l *fadingLog) note(record *kgo.Record, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.parts[record.Partition]
	p.values[record.Offset], p.times[record.Offset] = string(record.Value), record.Timestamp.UnixMilli()
	p.end = max(p.end, record.Offset+1)
}

// produce writes until ctx ends, and returns when it knows all outcomes or hard ends.
func (l *fadingLog) produce(ctx, hard context.Context, address string) error {
	client, err := newClient(address, kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	for n := 0; ctx.Err() == nil; n++ {
		for partition := range int32(fadingPartitions) {
			value := fmt.Appendf(nil, "%s/%d/%d ", l.topic, partition, n)
			value = append(value, bytes.Repeat([]byte{'.'}, fadingSize-len(value))...)
			client.Produce(hard, &kgo.Record{Topic: l.topic, Partition: partition, Value: value}, l.note)
		}
		sleep(ctx, fadingTurn)
	}
	if err := client.Flush(hard); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// trim deletes the first records of the topic until ctx ends, at times all of them.
func (l *fadingLog) trim(ctx context.Context, seed uint64, address string) error {
	client, err := newClient(address)
	if err != nil {
		return err
	}
	defer client.Close()
	admin, random := kadm.NewClient(client), rand.New(rand.NewPCG(seed, 3))
	for ; ctx.Err() == nil; sleep(ctx, trimTurn) {
		asked := kadm.Offsets{}
		l.mu.Lock()
		for i := range l.parts {
			p := &l.parts[i]
			before := p.end
			if random.IntN(4) > 0 {
				before = p.start + random.Int64N(max(1, p.end-p.start))
			}
			p.asked = max(p.asked, before)
			asked.Add(kadm.Offset{Topic: l.topic, Partition: int32(i), At: before})
		}
		l.mu.Unlock()
		turn, cancel := context.WithTimeout(ctx, 10*time.Second)
		deleted, err := admin.DeleteRecords(turn, asked)
		cancel()
		if err != nil {
			continue
		}
		l.mu.Lock()
		deleted.Each(func(d kadm.DeleteRecordsResponse) {
			if p := &l.parts[d.Partition]; d.Err == nil {
				p.start = max(p.start, d.LowWatermark)
			}
		})
		l.mu.Unlock()
	}
	return nil
}

// keep switches the retention of the topic off and on until ctx ends. Once it is known to
// be off, only records may go that had expired before.
func (l *fadingLog) keep(ctx context.Context, address string) error {
	client, err := newClient(address)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for ctx.Err() == nil {
		sleep(ctx, keepTurn)
		if setRetention(ctx, admin, l.topic, "-1") {
			l.keepSince(time.Now())
		}
		sleep(ctx, keepTurn)
		l.keepSince(time.Time{})
		setRetention(ctx, admin, l.topic, retentionMs(briefRetention))
	}
	return nil
}

func (l *fadingLog) keepSince(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = at
}

// gone returns how many offsets were gone at the last look.
func (l *fadingLog) gone() (offsets int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.parts {
		offsets += l.parts[i].start
	}
	return offsets
}

// setRetention reports whether the change was acknowledged. It tries until ctx ends.
func setRetention(ctx context.Context, admin *kadm.Client, topic, ms string) bool {
	for ; ctx.Err() == nil; sleep(ctx, 200*time.Millisecond) {
		turn, cancel := context.WithTimeout(ctx, 5*time.Second)
		resp, err := admin.AlterTopicConfigs(turn, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &ms}}, topic)
		cancel()
		if err == nil && len(resp) == 1 && resp[0].Err == nil {
			return true
		}
	}
	return false
}
