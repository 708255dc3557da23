// Command sarama is sarama for the tests of clients.
package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/varvelog/varve/testenv/clients/golang/driver"
)

func main() {
	driver.Main(driver.Operations{Produce: produce, Consume: consume, Member: member, Admin: administer})
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func newConfig(spec driver.Spec) *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = spec.Client
	return config
}

func produce(_ context.Context, spec driver.Spec, records []driver.Record) ([]driver.Record, error) {
	config := newConfig(spec)
	config.Producer.Compression = codecs[spec.Compression]
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	if spec.Idempotent {
		config.Producer.Idempotent, config.Producer.RequiredAcks, config.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	}
	producer, err := sarama.NewSyncProducer([]string{spec.Bootstrap}, config)
	if err != nil {
		return nil, err
	}
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, r := range records {
		messages[i] = &sarama.ProducerMessage{Topic: spec.Topic, Partition: r.Partition, Key: sarama.StringEncoder(r.Key),
			Value: sarama.StringEncoder(r.Value), Timestamp: time.UnixMilli(r.Timestamp)}
		for key, value := range r.Headers {
			messages[i].Headers = append(messages[i].Headers, sarama.RecordHeader{Key: []byte(key), Value: []byte(value)})
		}
	}
	if err := errors.Join(producer.SendMessages(messages), producer.Close()); err != nil {
		return nil, err
	}
	for i, m := range messages {
		records[i].Partition, records[i].Offset = m.Partition, m.Offset
	}
	return records, nil
}

func consume(_ context.Context, spec driver.Spec) error {
	client, err := sarama.NewClient([]string{spec.Bootstrap}, newConfig(spec))
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage)
	for partition := range int32(spec.Partitions) {
		from := sarama.OffsetOldest
		if spec.Since >= 0 {
			if from, err = client.GetOffset(spec.Topic, partition, spec.Since); err != nil {
				return err
			}
		}
		reader, err := consumer.ConsumePartition(spec.Topic, partition, from)
		if err != nil {
			return err
		}
		go func() {
			for m := range reader.Messages() {
				messages <- m
			}
		}()
	}
	for range spec.Count {
		print(<-messages)
	}
	return nil
}

func print(m *sarama.ConsumerMessage) {
	out := driver.Record{Event: "record", Partition: m.Partition, Offset: m.Offset, Key: string(m.Key), Value: string(m.Value),
		Timestamp: m.Timestamp.UnixMilli(), Headers: map[string]string{}}
	for _, h := range m.Headers {
		out.Headers[string(h.Key)] = string(h.Value)
	}
	driver.Print(out)
}

var strategies = map[string]sarama.BalanceStrategy{
	"range": sarama.NewBalanceStrategyRange(), "roundrobin": sarama.NewBalanceStrategyRoundRobin(),
	"sticky": sarama.NewBalanceStrategySticky(),
}

func member(ctx context.Context, spec driver.Spec) error {
	config := newConfig(spec)
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = time.Duration(spec.Session) * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.InstanceId = spec.Instance
	if spec.Strategy != "" {
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategies[spec.Strategy]}
	}
	group, err := sarama.NewConsumerGroup([]string{spec.Bootstrap}, spec.Group, config)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{spec.Topic}, handler{}); err != nil {
			return errors.Join(err, group.Close())
		}
	}
	return group.Close()
}

// handler receives sarama's calls.
type handler struct{}

func (handler) Setup(session sarama.ConsumerGroupSession) error {
	for _, partitions := range session.Claims() {
		slices.Sort(partitions)
		driver.Print(driver.Assignment{Event: "assigned", Partitions: partitions})
	}
	return nil
}

func (handler) Cleanup(sarama.ConsumerGroupSession) error {
	driver.Print(driver.Assignment{Event: "revoked"})
	return nil
}

func (handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			print(m)
			session.MarkMessage(m, "")
			if len(claim.Messages()) > 0 { // a commit is a request, and the claims wait for each other's
				continue
			}
			session.Commit()
			driver.Print(driver.Assignment{Event: "committed"})
		}
	}
}
