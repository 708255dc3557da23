package senders

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is a sender in this process.
type franz struct {
	client *kgo.Client
	topic  string
	done   Outcome
}

func startFranz(brokers []string, topic string, outcome Outcome) (Sender, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return &franz{client: client, topic: topic, done: outcome}, err
}

func (f *franz) Send(id uint64, partition int32, key, value []byte) error {
	f.client.Produce(context.Background(), &kgo.Record{Topic: f.topic, Partition: partition, Key: key, Value: value},
		func(r *kgo.Record, err error) { f.done(id, r.Offset, err) })
	return nil
}

func (f *franz) Close() error {
	err := f.client.Flush(context.Background())
	f.client.Close()
	return err
}

func (f *franz) Kill() { f.client.Close() }
