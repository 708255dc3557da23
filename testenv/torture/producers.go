package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

// burst is how often a producer sends the records that are due.
const burst = 20 * time.Millisecond

// workload is a way to produce.
type workload struct {
	promise   history.Promise
	share     float64 // of the rate of all
	options   []kgo.Opt
	shortTerm bool // a new client every few seconds
}

var inOrderOneByOne = []kgo.Opt{kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1)}

// workloads are all at work in every partition, at the same time.
func workloads() []workload {
	return []workload{
		{promise: history.Promise{Name: "idempotent", Acks: -1, Idempotent: true, InOrder: true}, share: 0.25},
		{promise: history.Promise{Name: "idempotent with lz4", Acks: -1, Idempotent: true, InOrder: true}, share: 0.15,
			options: []kgo.Opt{kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(5 * time.Millisecond)}},
		{promise: history.Promise{Name: "idempotent that gives up", Acks: -1, Idempotent: true, InOrder: true}, share: 0.1,
			options: []kgo.Opt{kgo.RecordDeliveryTimeout(5 * time.Second)}},
		{promise: history.Promise{Name: "idempotent, new ones", Acks: -1, Idempotent: true, InOrder: true}, share: 0.1, shortTerm: true},
		{promise: history.Promise{Name: "acks=all, one in flight", Acks: -1, InOrder: true}, share: 0.15, options: inOrderOneByOne},
		{promise: history.Promise{Name: "acks=1, one in flight", Acks: 1, InOrder: true}, share: 0.25,
			options: append([]kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck())}, inOrderOneByOne...)},
	}
}

// produce sends at a rate until ctx ends, and returns when it knows all outcomes
// or hard ends.
func (w workload) produce(ctx, hard context.Context, h *history.History, address string, rate float64) error {
	for ctx.Err() == nil {
		turn, cancel := ctx, context.CancelFunc(func() {})
		if w.shortTerm {
			turn, cancel = context.WithTimeout(ctx, 3*time.Second)
		}
		err := w.turn(turn, hard, h, address, rate*w.share)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// turn is the life of one client.
func (w workload) turn(ctx, hard context.Context, h *history.History, address string, rate float64) error {
	client, err := newClient(address, w.options...)
	if err != nil {
		return err
	}
	p := h.NewProducer(w.promise)
	err = sendAt(ctx, rate, burst, func() int { return int(client.BufferedProduceRecords()) }, func(partition int32) error {
		w.send(client, h, p, partition)
		return nil
	})
	err = errors.Join(err, client.Flush(hard))
	client.Close() // records still under way get an unknown outcome
	if err != nil {
		h.Note(history.Stuck, "producer %q does not know the outcome of some records in time", w.promise.Name)
	}
	return nil
}

// sendAt sends to all partitions in turn at a rate, until ctx ends. Every so often it sends the
// records that are due. While too many are under way, these are left out.
func sendAt(ctx context.Context, rate float64, every time.Duration, underWay func() int, send func(partition int32) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	began, sent := time.Now(), 0
	for ctx.Err() == nil {
		due := int(time.Since(began).Seconds() * rate)
		if underWay() >= maxBuffered {
			sent = due
		}
		for ; sent < due && ctx.Err() == nil; sent++ {
			if err := send(int32(sent % partitions)); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (w workload) send(client *kgo.Client, h *history.History, p *history.Producer, partition int32) {
	v := p.Send(partition)
	client.Produce(context.Background(), record(v, partition), func(r *kgo.Record, err error) {
		if err == nil {
			p.Acked(v, r.Offset)
			return
		}
		p.Unknown(v)
		if !expected(err) {
			h.Note(history.Refused, "producer %q gets for %v: %v", p.Name, v, err)
		}
	})
}

// expected reports whether a producer that sends nothing wrong may get this
// error.
func expected(err error) bool {
	var network *net.OpError // a producer that gives up may do so while the node is away, or waits for the store
	return diedAtFirstRequest(err) || errors.As(err, &network) && (network.Op == "dial" || network.Timeout()) || errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, kgo.ErrRecordTimeout) || kerr.IsRetriable(err)
}

// diedAtFirstRequest: the node was killed at the first request of a new
// connection. franz-go takes that for a node that wants SASL, and reports it to
// the application.
func diedAtFirstRequest(err error) bool {
	var firstRead *kgo.ErrFirstReadEOF
	return errors.As(err, &firstRead)
}

// produceRefused sends records that must be refused, now and then, until ctx
// ends: their timestamps are a day ahead.
func produceRefused(ctx context.Context, h *history.History, address string) error {
	client, err := newClient(address, inOrderOneByOne...)
	if err != nil {
		return err
	}
	defer client.Close()
	p := h.NewProducer(history.Promise{Name: "of records to be refused", Acks: -1})
	for i := int32(0); ctx.Err() == nil; i++ {
		v := p.Send(i % partitions)
		r := record(v, i%partitions)
		r.Timestamp = time.Now().Add(24 * time.Hour)
		switch err := client.ProduceSync(ctx, r).FirstErr(); {
		case err == nil:
			h.Note(history.Refused, "no: %v was accepted although its timestamp is a day ahead", v)
			p.Acked(v, r.Offset)
		case errors.Is(err, kerr.InvalidTimestamp):
			p.Failed(v)
		default:
			p.Unknown(v)
		}
		sleep(ctx, 250*time.Millisecond)
	}
	return nil
}
