// Command franz is franz-go for the tests of clients.
package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/clients/golang/driver"
)

func main() {
	driver.Main(driver.Operations{Produce: produce, Consume: consume, Member: member, Admin: administer})
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func newClient(spec driver.Spec, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(spec.Bootstrap), kgo.ClientID(spec.Client))...)
}

func produce(ctx context.Context, spec driver.Spec, records []driver.Record) ([]driver.Record, error) {
	options := []kgo.Opt{kgo.ProducerBatchCompression(codecs[spec.Compression]), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if !spec.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := newClient(spec, options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{Topic: spec.Topic, Partition: r.Partition, Key: []byte(r.Key), Value: []byte(r.Value),
			Timestamp: time.UnixMilli(r.Timestamp)}
		for key, value := range r.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	if err := client.ProduceSync(ctx, out...).FirstErr(); err != nil {
		return nil, err
	}
	for i, r := range out {
		records[i].Partition, records[i].Offset = r.Partition, r.Offset
	}
	return records, nil
}

func consume(ctx context.Context, spec driver.Spec) error {
	from := kgo.NewOffset().AtStart()
	if spec.Since >= 0 {
		from = kgo.NewOffset().AfterMilli(spec.Since)
	}
	client, err := newClient(spec, kgo.ConsumeTopics(spec.Topic), kgo.ConsumeResetOffset(from))
	if err != nil {
		return err
	}
	defer client.Close()
	for left := spec.Count; left > 0; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) { print(r); left-- })
	}
	return nil
}

func print(r *kgo.Record) {
	out := driver.Record{Event: "record", Partition: r.Partition, Offset: r.Offset,
		Key: string(r.Key), Value: string(r.Value), Timestamp: r.Timestamp.UnixMilli(), Headers: map[string]string{}}
	for _, h := range r.Headers {
		out.Headers[h.Key] = string(h.Value)
	}
	driver.Print(out)
}

var balancers = map[string]kgo.GroupBalancer{
	"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
	"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

func member(ctx context.Context, spec driver.Spec) error {
	has := assignment{partitions: map[int32]bool{}}
	options := []kgo.Opt{kgo.ConsumeTopics(spec.Topic), kgo.ConsumerGroup(spec.Group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(time.Duration(spec.Session) * time.Millisecond), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(has.changed("assigned", true)), kgo.OnPartitionsRevoked(has.changed("revoked", false)),
		kgo.OnPartitionsLost(has.changed("revoked", false))}
	if spec.Strategy != "" {
		options = append(options, kgo.Balancers(balancers[spec.Strategy]))
	}
	if spec.Instance != "" {
		options = append(options, kgo.InstanceID(spec.Instance))
	}
	client, err := newClient(spec, options...)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(print)
		commit(ctx, client, fetches.Records())
	}
}

// commit prints the outcome: a rebalance may have been faster.
func commit(ctx context.Context, client *kgo.Client, records []*kgo.Record) {
	if len(records) == 0 {
		return
	}
	if err := client.CommitRecords(context.WithoutCancel(ctx), records...); err != nil {
		driver.Print(driver.Assignment{Event: "uncommitted", Error: err.Error()})
		return
	}
	driver.Print(driver.Assignment{Event: "committed"})
}

// assignment is the partitions that a member has.
type assignment struct {
	mu         sync.Mutex
	partitions map[int32]bool
}

func (a *assignment) changed(event string, have bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, changes map[string][]int32) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, partitions := range changes {
			for _, partition := range partitions {
				if delete(a.partitions, partition); have {
					a.partitions[partition] = true
				}
			}
		}
		driver.Print(driver.Assignment{Event: event, Partitions: slices.Sorted(maps.Keys(a.partitions))})
	}
}

func administer(ctx context.Context, spec driver.Spec) (func(driver.Op) (driver.Result, error), error) {
	client, err := newClient(spec, kgo.MetadataMinAge(metadataAge))
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(client)
	return func(op driver.Op) (driver.Result, error) {
		if do, ok := topicOps[op.Op]; ok {
			return do(ctx, admin, op)
		}
		if do, ok := groupOps[op.Op]; ok {
			return do(ctx, admin, op)
		}
		return driver.Result{}, fmt.Errorf("no operation %q", op.Op)
	}, nil
}
