// Command kafkago is kafka-go for the tests of clients.
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/varvelog/varve/testenv/clients/golang/driver"
)

func main() {
	driver.Main(driver.Operations{Produce: produce, Consume: consume, Member: member, Admin: administer})
}

var codecs = map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

func produce(ctx context.Context, spec driver.Spec, records []driver.Record) ([]driver.Record, error) {
	messages := make([]kafka.Message, len(records))
	for i, r := range records {
		messages[i] = kafka.Message{Key: []byte(r.Key), Value: []byte(r.Value), Time: time.UnixMilli(r.Timestamp), WriterData: i}
		for key, value := range r.Headers {
			messages[i].Headers = append(messages[i].Headers, kafka.Header{Key: key, Value: []byte(value)})
		}
	}
	writer := &kafka.Writer{Addr: kafka.TCP(spec.Bootstrap), Topic: spec.Topic, Compression: codecs[spec.Compression],
		RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond, Transport: &kafka.Transport{ClientID: spec.Client},
		Balancer: kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(records[m.WriterData.(int)].Partition) })}
	var mu sync.Mutex
	writer.Completion = func(sent []kafka.Message, err error) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range sent {
			records[m.WriterData.(int)].Offset = m.Offset
		}
	}
	return records, errors.Join(writer.WriteMessages(ctx, messages...), writer.Close())
}

func newReader(spec driver.Spec, config kafka.ReaderConfig) *kafka.Reader {
	config.Brokers, config.Topic = []string{spec.Bootstrap}, spec.Topic
	config.Dialer = &kafka.Dialer{ClientID: spec.Client, Timeout: 10 * time.Second}
	config.MaxWait = 500 * time.Millisecond
	return kafka.NewReader(config)
}

func consume(ctx context.Context, spec driver.Spec) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, failed := make(chan kafka.Message), make(chan error, spec.Partitions)
	for partition := range spec.Partitions {
		reader := newReader(spec, kafka.ReaderConfig{Partition: partition})
		if spec.Since >= 0 {
			if err := reader.SetOffsetAt(ctx, time.UnixMilli(spec.Since)); err != nil {
				return err
			}
		}
		go func() {
			for {
				m, err := reader.ReadMessage(ctx)
				if err != nil {
					failed <- err
					return
				}
				messages <- m
			}
		}()
	}
	for range spec.Count {
		select {
		case m := <-messages:
			print(m)
		case err := <-failed:
			return err
		}
	}
	return nil
}

func print(m kafka.Message) {
	out := driver.Record{Event: "record", Partition: int32(m.Partition), Offset: m.Offset, Key: string(m.Key), Value: string(m.Value),
		Timestamp: m.Time.UnixMilli(), Headers: map[string]string{}}
	for _, h := range m.Headers {
		out.Headers[h.Key] = string(h.Value)
	}
	driver.Print(out)
}

func member(ctx context.Context, spec driver.Spec) error {
	reader := newReader(spec, kafka.ReaderConfig{GroupID: spec.Group, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: time.Duration(spec.Session) * time.Millisecond})
	for {
		m, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return reader.Close()
		}
		if err != nil {
			return errors.Join(err, reader.Close())
		}
		print(m)
		if err := reader.CommitMessages(context.WithoutCancel(ctx), m); err != nil {
			driver.Print(driver.Assignment{Event: "uncommitted", Error: err.Error()})
			continue
		}
		driver.Print(driver.Assignment{Event: "committed"})
	}
}
