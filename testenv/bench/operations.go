package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// warmups is how often an operation is done before it is measured: connections
// are open then, and a coordinator is loaded.
const warmups = 5

// operation is one request of a client that waits for each answer.
type operation func(ctx context.Context, client *kgo.Client) error

// setup is a client's options, and an operation that is repeated with it.
type setup struct {
	kafka string
	opts  []kgo.Opt
	do    operation
}

// repeated makes a job that does an operation again and again.
func (r *runner) repeated(ctx context.Context, s setup) (job, error) {
	client, err := kgo.NewClient(append(s.opts, kgo.SeedBrokers(s.kafka))...)
	if err != nil {
		return job{}, err
	}
	for range warmups {
		if err := s.do(ctx, client); err != nil {
			client.Close()
			return job{}, err
		}
	}
	return job{close: client.Close, run: func(ctx context.Context) (result, error) {
		began := time.Now()
		var took []time.Duration
		for time.Since(began) < r.o.duration {
			start := time.Now()
			if err := s.do(ctx, client); err != nil {
				return result{}, err
			}
			took = append(took, time.Since(start))
		}
		q := quantiles(took)
		return result{operations: int64(len(took)), seconds: time.Since(began).Seconds(), latency: &q}, nil
	}}, nil
}

// syncOperation writes a record and waits for its acknowledgement.
func syncOperation(b bench, kafka, topic string) setup {
	value := noise(int64(b.RecordSize))
	return setup{kafka: kafka, opts: []kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0)},
		do: func(ctx context.Context, client *kgo.Client) error {
			return client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
		}}
}

// commitOperation commits the next offset of a group.
func commitOperation(kafka, topic string) setup {
	group, next := "varve-bench-"+topic, int64(0)
	return setup{kafka: kafka, do: func(ctx context.Context, client *kgo.Client) error {
		next++
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, next, -1)
		return kadm.NewClient(client).CommitAllOffsets(ctx, group, offsets)
	}}
}

// offsetsOperation asks for the end of all partitions.
func offsetsOperation(b bench, kafka, topic string) setup {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for p := range b.Partitions {
		slot := kmsg.NewListOffsetsRequestTopicPartition()
		slot.Partition, slot.Timestamp = int32(p), -1
		t.Partitions = append(t.Partitions, slot)
	}
	request.Topics = append(request.Topics, t)
	return setup{kafka: kafka, do: func(ctx context.Context, client *kgo.Client) error {
		response, err := request.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		for _, t := range response.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("ask for the end of partition %d: %w", p.Partition, err)
				}
				if p.Offset < 1 {
					return fmt.Errorf("partition %d has no record", p.Partition)
				}
			}
		}
		return nil
	}}
}

// fillPartitions writes one record to each partition.
func fillPartitions(ctx context.Context, kafka, topic string, partitions int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for p := range partitions {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte("x")})
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// createTopic makes a topic that is ready for all requests, and returns a
// function that deletes it.
func (b *broker) createTopic(ctx context.Context, name string, partitions int) (remove func(), err error) {
	return b.createTopicAs(ctx, name, partitions, nil)
}

// createTopicAs is createTopic with configurations.
func (b *broker) createTopicAs(ctx context.Context, name string, partitions int, configs map[string]string) (remove func(), err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka))
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32(leadersTimeout.Milliseconds()))
	values := map[string]*string{}
	for key, value := range configs {
		values[key] = &value
	}
	_, err = admin.CreateTopic(ctx, int32(partitions), -1, values, name)
	if err == nil {
		err = awaitLeaders(ctx, admin, name, partitions)
	}
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("create topic %s: %w", name, err)
	}
	return func() {
		defer client.Close()
		_, _ = admin.DeleteTopic(context.WithoutCancel(ctx), name) // a topic that stays harms no figure
	}, nil
}

// leadersTimeout is that of thousands of Kafka's partitions, several files each,
// on a busy machine.
const leadersTimeout = 5 * time.Minute

// awaitLeaders waits until the ends of all partitions are known: Kafka makes
// partitions after it has answered.
func awaitLeaders(ctx context.Context, admin *kadm.Client, topic string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, leadersTimeout)
	defer cancel()
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil && len(ends[topic]) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(settlePoll):
		}
	}
}
