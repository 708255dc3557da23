package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// idsConnections is how many connections the case of many producers has, each
// with one request under way.
const idsConnections = 256

// prepareIDs makes a job that writes one batch of each of many producers to a
// partition. The requests are made by hand: a client has one producer id. No
// broker checks that an id was handed out.
func prepareIDs(ctx context.Context, b bench, kafka, topic string) (job, error) {
	if err := fillPartitions(ctx, kafka, topic, b.Partitions); err != nil {
		return job{}, err
	}
	var conns []net.Conn
	j := job{close: func() {
		for _, conn := range conns {
			conn.Close()
		}
	}}
	for range idsConnections {
		conn, err := net.Dial("tcp", kafka)
		if err != nil {
			j.close()
			return job{}, err
		}
		conns = append(conns, conn)
	}
	j.run = func(ctx context.Context) (result, error) {
		began := time.Now()
		var next atomic.Int64
		group, ctx := errgroup.WithContext(ctx)
		defer context.AfterFunc(ctx, j.close)() // ends the waiting for answers
		for _, conn := range conns {
			group.Go(func() error {
				for ctx.Err() == nil {
					id := next.Add(1)
					if id > int64(b.Producers) {
						return nil
					}
					if err := produceAs(conn, topic, id); err != nil {
						return fmt.Errorf("write as producer %d: %w", id, err)
					}
				}
				return ctx.Err()
			})
		}
		err := group.Wait()
		return result{operations: int64(b.Producers), seconds: time.Since(began).Seconds()}, err
	}
	return j, nil
}

// produceAs writes the first batch of a producer, with acks=1, and reads the
// answer.
func produceAs(conn net.Conn, topic string, producer int64) error {
	request := kmsg.NewPtrProduceRequest()
	request.Version = 8 // the last whose answer has a header of a fixed size
	request.Acks, request.TimeoutMillis = 1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batchOf(producer, time.Now())
	t.Partitions = append(t.Partitions, p)
	request.Topics = append(request.Topics, t)
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, request, 1)); err != nil {
		return err
	}
	var header [8]byte // length and correlation id
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return err
	}
	body := make([]byte, max(4, binary.BigEndian.Uint32(header[:]))-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	response := request.ResponseKind().(*kmsg.ProduceResponse)
	if err := response.ReadFrom(body); err != nil {
		return err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return errors.New("the answer lacks the partition")
	}
	return kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
}

// batchOf returns a batch of one record with the producer's first sequence
// number.
func batchOf(producer int64, now time.Time) []byte {
	const (
		header   = 61 // bytes before the records
		length   = 12 // bytes up to the end of the length field
		checked  = 21 // where the CRC's bytes begin
		crcField = 17
	)
	value := []byte("one record of a producer")
	record := []byte{0, 0, 0, 1} // attributes, deltas of time and offset, no key
	record = append(binary.AppendVarint(record, int64(len(value))), value...)
	record = append(record, 0) // no headers
	b := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: now.UnixMilli(), MaxTimestamp: now.UnixMilli(),
		ProducerID: producer, NumRecords: 1, Records: append(binary.AppendVarint(nil, int64(len(record))), record...)}
	b.Length = int32(header + len(b.Records) - length)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[crcField:], crc32.Checksum(raw[checked:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// idleRate is how many records a second the case of idle partitions writes, all
// partitions together.
const idleRate = 100

// prepareIdle makes a job in which one consumer reads many partitions, and a
// producer writes few records to them.
func prepareIdle(ctx context.Context, b bench, kafka, topic string, span time.Duration) (job, error) {
	if err := fillPartitions(ctx, kafka, topic, b.Partitions); err != nil {
		return job{}, err
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return job{}, err
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		consumer.Close()
		return job{}, err
	}
	j := job{close: func() { producer.Close(); consumer.Close() }}
	// The first records: all partitions are in the consumer's fetches then.
	if err := consume(ctx, consumer, b.Partitions); err != nil {
		j.close()
		return job{}, err
	}
	j.run = func(ctx context.Context) (result, error) {
		return trickle(ctx, b, producer, consumer, span)
	}
	return j, nil
}

func trickle(ctx context.Context, b bench, producer, consumer *kgo.Client, span time.Duration) (result, error) {
	began := time.Now()
	records := int(span.Seconds() * idleRate)
	value := noise(int64(b.RecordSize))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		var failed atomic.Pointer[error]
		for n := range records {
			time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / idleRate)))
			// A step that is prime to the number visits all partitions.
			record := &kgo.Record{Partition: int32(n * 7919 % b.Partitions), Value: value}
			producer.Produce(ctx, record, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
			})
		}
		err := producer.Flush(ctx)
		if first := failed.Load(); first != nil {
			err = *first
		}
		return err
	})
	group.Go(func() error { return consume(ctx, consumer, records) })
	err := group.Wait()
	return result{operations: int64(records), seconds: time.Since(began).Seconds()}, err
}

// consume reads a number of records.
func consume(ctx context.Context, client *kgo.Client, records int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for read := 0; read < records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		if all := fetches.Errors(); len(all) > 0 {
			return all[0].Err
		}
		read += fetches.NumRecords()
	}
	return nil
}
