package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

const (
	soakRecord = 1024 // bytes of a value
	soakKeys   = 2000 // of a compacted partition
	// soakCheckers is how many partitions are read at once in the end.
	soakCheckers = 8
	// soakPatience is how long a replay waits for records before it asks whether any are left.
	soakPatience = 10 * time.Second
	// One of so many records of a compacted partition is a tombstone.
	soakTombstones = 7
)

// soakTopic is one kind of retention.
type soakTopic struct {
	name       string
	partitions int
	share      int // of 100 bytes
	configs    func(partition int64, span time.Duration) map[string]string
}

var soakTopics = []soakTopic{
	{"keep", 80, 40, func(int64, time.Duration) map[string]string { return nil }},
	{"time", 60, 30, func(_ int64, span time.Duration) map[string]string {
		return map[string]string{"retention.ms": fmt.Sprint((span / 6).Milliseconds())}
	}},
	{"size", 40, 20, func(bytes int64, _ time.Duration) map[string]string {
		return map[string]string{"retention.bytes": fmt.Sprint(bytes / 4)}
	}},
	{"compact", 20, 10, func(int64, time.Duration) map[string]string {
		return map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.3", "delete.retention.ms": "10000"}
	}},
}

func soakPartitions() (n int) {
	for _, t := range soakTopics {
		n += t.partitions
	}
	return n
}

// soakLoad writes records whose content follows from topic, partition and offset, and checks
// those that it reads.
type soakLoad struct {
	site  *site
	span  time.Duration
	parts []*soakPart
	noise []byte

	bytes, readBytes, readSeconds atomic.Int64 // the last one in ms
	replays                       atomic.Int64
	mu                            sync.Mutex
	found                         []error
}

type soakPart struct {
	topic     *soakTopic
	partition int32
	records   int64        // to write
	acked     atomic.Int64 // the offset up to which all are acknowledged
}

func newSoakLoad(ctx context.Context, s *site, total int64, span time.Duration) (*soakLoad, error) {
	l := &soakLoad{site: s, span: span, noise: noise(1 << 20)}
	for i := range soakTopics {
		t := &soakTopics[i]
		each := total * int64(t.share) / 100 / int64(t.partitions)
		if _, err := s.createTopicAs(ctx, t.name, t.partitions, t.configs(each, span)); err != nil {
			return nil, err
		}
		for p := range t.partitions {
			l.parts = append(l.parts, &soakPart{topic: t, partition: int32(p), records: max(1, each/soakRecord)})
		}
	}
	return l, nil
}

func (l *soakLoad) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.found) < 100 {
		l.found = append(l.found, fmt.Errorf(format, args...))
	}
}

func (l *soakLoad) failures() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.found...)
}

// hash is a number that follows from a record's place.
func (p *soakPart) hash(offset int64) uint64 {
	place := binary.BigEndian.AppendUint64(append([]byte(p.topic.name), byte(p.partition)), uint64(offset))
	sum := sha256.Sum256(place)
	return binary.BigEndian.Uint64(sum[:])
}

func (p *soakPart) compacted() bool { return p.topic.name == "compact" }

// record is the record at an offset.
func (l *soakLoad) record(p *soakPart, offset int64) *kgo.Record {
	h := p.hash(offset)
	r := &kgo.Record{Topic: p.topic.name, Partition: p.partition, Key: binary.BigEndian.AppendUint64(nil, h%soakKeys)}
	if p.compacted() && h/soakKeys%soakTombstones == 0 {
		return r
	}
	at := h % uint64(len(l.noise)-soakRecord)
	r.Value = append([]byte(nil), l.noise[at:at+soakRecord]...)
	binary.BigEndian.PutUint64(r.Value, h)
	return r
}

// same reports whether a record is the one that belongs at its offset.
func (l *soakLoad) same(p *soakPart, got *kgo.Record) bool {
	want := l.record(p, got.Offset)
	return bytes.Equal(got.Key, want.Key) && bytes.Equal(got.Value, want.Value) && (got.Value == nil) == (want.Value == nil)
}

// write writes all records at a steady pace, one to each partition in turn by their shares,
// and returns when all are acknowledged.
func (l *soakLoad) write(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.site.kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(50_000), kgo.RecordDeliveryTimeout(0), kgo.RetryTimeout(10*time.Minute))
	if err != nil {
		return err
	}
	defer client.Close()
	const turns = 10_000
	began := time.Now()
	for turn := range int64(turns) {
		for _, p := range l.parts {
			for at := p.records * turn / turns; at < p.records*(turn+1)/turns; at++ {
				client.Produce(ctx, l.record(p, at), func(r *kgo.Record, err error) { l.acknowledged(p, at, r, err) })
			}
		}
		if err := l.failures(); err != nil {
			return err
		}
		if ahead := l.span*time.Duration(turn+1)/turns - time.Since(began); ahead > 0 && !pause(ctx, ahead) {
			return ctx.Err()
		}
	}
	return client.Flush(ctx)
}

func (l *soakLoad) acknowledged(p *soakPart, at int64, r *kgo.Record, err error) {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed): // the run ends with another error
	case err != nil:
		l.fail("%s/%d: record %d is not acknowledged: %w", p.topic.name, p.partition, at, err)
	case r.Offset != at:
		l.fail("%s/%d: record %d is acknowledged at offset %d: one was lost or doubled", p.topic.name, p.partition, at, r.Offset)
	default:
		p.acked.Store(at + 1)
		l.bytes.Add(int64(len(r.Value) + len(r.Key)))
	}
}

// readOn replays partitions at random until ctx ends.
func (l *soakLoad) readOn(ctx context.Context, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 1))
	for pause(ctx, time.Second) {
		p := l.parts[random.IntN(len(l.parts))]
		if _, err := l.replay(ctx, p); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// replay reads a partition from its start to the offset that is acknowledged now, and checks
// it. It returns the last record of each key.
func (l *soakLoad) replay(ctx context.Context, p *soakPart) (last map[string]int64, err error) {
	end := p.acked.Load()
	if end == 0 {
		return nil, nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(l.site.kafka), kgo.RetryTimeout(10*time.Minute),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic.name: {p.partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	l.replays.Add(1)
	began, next := time.Now(), int64(0)
	last = map[string]int64{}
	for next < end {
		fetches := pollFor(ctx, client, soakPatience)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if fetches.NumRecords() == 0 && startOf(ctx, client, p) >= end {
			break // the rest has expired, and nothing more comes
		}
		if err := answered(fetches.Err()); err != nil {
			l.fail("%s/%d from %d: %w", p.topic.name, p.partition, next, err)
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			l.check(ctx, client, p, next, r)
			next = r.Offset + 1
			last[string(r.Key)] = r.Offset
			l.readBytes.Add(int64(len(r.Key) + len(r.Value)))
		})
	}
	l.readSeconds.Add(time.Since(began).Milliseconds())
	return last, nil
}

func pollFor(ctx context.Context, client *kgo.Client, d time.Duration) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return client.PollFetches(ctx)
}

// startOf is where a partition starts, -1 if that cannot be read now.
func startOf(ctx context.Context, client *kgo.Client, p *soakPart) int64 {
	starts, err := kadm.NewClient(client).ListStartOffsets(ctx, p.topic.name)
	start, ok := starts.Lookup(p.topic.name, p.partition)
	if err != nil || !ok || start.Err != nil {
		return -1
	}
	return start.Offset
}

// answered returns an error that a node has answered with, and that no restart explains.
func answered(err error) error {
	var code *kerr.Error
	if !errors.As(err, &code) || code == kerr.NotLeaderForPartition || code == kerr.UnknownTopicOrPartition || code == kerr.RequestTimedOut {
		return nil // the client goes on
	}
	return err
}

// check checks one record. Offsets may be missing at the start of partitions with retention,
// and anywhere in compacted ones.
func (l *soakLoad) check(ctx context.Context, client *kgo.Client, p *soakPart, next int64, r *kgo.Record) {
	switch {
	case r.Offset < next:
		l.fail("%s/%d: offset %d comes after %d", p.topic.name, p.partition, r.Offset, next-1)
	case !l.same(p, r):
		l.fail("%s/%d: offset %d has another record than was written", p.topic.name, p.partition, r.Offset)
	case r.Offset == next || p.compacted():
	case p.topic.name == "keep":
		l.fail("%s/%d: offsets %d to %d are missing", p.topic.name, p.partition, next, r.Offset-1)
	default:
		if start := startOf(ctx, client, p); start >= 0 && start < r.Offset {
			l.fail("%s/%d: offsets %d to %d are missing, and the start is %d", p.topic.name, p.partition, next, r.Offset-1, start)
		}
	}
}

// checkAll replays all partitions, and compares the compacted ones with the last record of
// each key.
func (l *soakLoad) checkAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(soakCheckers)
	for _, p := range l.parts {
		group.Go(func() error {
			last, err := l.replay(ctx, p)
			if err == nil {
				l.checkLast(p, last)
			}
			return err
		})
	}
	return errors.Join(group.Wait(), l.failures())
}

func (l *soakLoad) checkLast(p *soakPart, last map[string]int64) {
	if p.acked.Load() != p.records {
		l.fail("%s/%d: %d of %d records are acknowledged", p.topic.name, p.partition, p.acked.Load(), p.records)
	}
	if !p.compacted() {
		return
	}
	want := map[string]int64{}
	for at := range p.records {
		want[string(binary.BigEndian.AppendUint64(nil, p.hash(at)%soakKeys))] = at
	}
	for key, at := range want {
		got, there := last[key]
		gone := !there && l.record(p, at).Value == nil
		if got != at && !gone {
			l.fail("%s/%d: key %x was written last at offset %d, and is read last at %d (%v)", p.topic.name, p.partition, key, at, got, there)
		}
	}
}
