package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/senders"
)

const (
	familyShare = 0.1                    // of the rate of all, for each family
	familyTurn  = 100 * time.Millisecond // how often one sends the records that are due
)

// findFamilies finds the producers of other families that this machine has: Kafka's own in Java,
// and librdkafka. franz-go is at work in any case.
func (r *round) findFamilies(ctx context.Context) error {
	found, err := senders.Find(ctx, r.dir, r.out)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Name != "franz-go" {
			r.families = append(r.families, f)
		}
	}
	return nil
}

// produceBy sends by a producer of a family until ctx ends, and returns when it knows all outcomes
// or hard ends.
func produceBy(ctx, hard context.Context, h *history.History, f senders.Family, address string, rate float64) error {
	p := h.NewProducer(history.Promise{Name: f.Name, Acks: -1, Idempotent: true, InOrder: true})
	sender, err := f.Start(strings.Split(address, ","), topic, func(id uint64, offset int64, err error) {
		v := history.Value(id)
		if err == nil {
			p.Acked(v, offset)
			return
		}
		p.Unknown(v)
		if !tookTooLong(err) {
			h.Note(history.Refused, "producer %q gets for %v: %v", f.Name, v, err)
		}
	})
	if err != nil {
		return fmt.Errorf("start a producer of %s: %w", f.Name, err)
	}
	err = sendAt(ctx, rate, familyTurn, p.Pending, func(partition int32) error {
		v := p.Send(partition)
		return sender.Send(uint64(v), partition, v.Key(), v.Text(size(v)))
	})
	if err != nil {
		sender.Kill()
		return fmt.Errorf("the producer of %s has ended: %w", f.Name, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- sender.Close() }()
	select {
	case err := <-closed:
		return err
	case <-hard.Done():
		h.Note(history.Stuck, "producer %q does not know the outcome of some records in time", f.Name)
		sender.Kill()
		<-closed
		return nil
	}
}

// tookTooLong reports whether a client has given up on a record because of its own time limit.
func tookTooLong(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "timeout") || strings.Contains(text, "timed out")
}
