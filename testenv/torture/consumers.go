package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

// reader is a client that reads all partitions.
type reader struct {
	client *kgo.Client
	*history.Consumer
	history *history.History
	name    string
	epochs  [partitions]int32 // of the last record read
}

// newReader begins to read each partition at the offset that from returns.
func newReader(h *history.History, name, address string, from func(partition int32) int64) (*reader, error) {
	r := &reader{Consumer: h.NewConsumer(name), history: h, name: name}
	offsets := map[int32]kgo.Offset{}
	for partition := range int32(partitions) {
		at := from(partition)
		offsets[partition] = kgo.NewOffset().At(at)
		r.Seek(partition, at)
	}
	var err error
	r.client, err = newClient(address,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // nothing is ever out of range here
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxPartitionBytes(1<<20))
	return r, err
}

// poll reads the next records. It returns with none when ctx ends.
func (r *reader) poll(ctx context.Context) {
	fetches := r.client.PollFetches(ctx)
	fetches.EachError(func(_ string, partition int32, err error) {
		if !diedAtFirstRequest(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, kgo.ErrClientClosed) {
			r.history.Note(history.Refused, "%s gets an error for partition %d, at offset %d: %v", r.name, partition, r.nextOf(partition), err)
		}
	})
	fetches.EachRecord(func(record *kgo.Record) {
		if r.nextOf(record.Partition) >= 0 {
			if last := &r.epochs[record.Partition]; record.LeaderEpoch < *last {
				r.history.Note(epochWentBack, "%s gets a record of epoch %d at offset %d of partition %d, after one of epoch %d", r.name, record.LeaderEpoch, record.Offset, record.Partition, *last)
			} else {
				*last = record.LeaderEpoch
			}
		}
		r.Read(record.Partition, record.Offset, record.Key, record.Value)
	})
}

func (r *reader) nextOf(partition int32) int64 {
	if partition < 0 || partition >= partitions {
		return -1
	}
	return r.Next(partition)
}

// reached reports whether the reader has reached an offset of every partition.
func (r *reader) reached(ends [partitions]int64) bool {
	for partition, end := range ends {
		if r.Next(int32(partition)) < end {
			return false
		}
	}
	return true
}

func (r *reader) String() string {
	var next [partitions]int64
	for partition := range next {
		next[partition] = r.Next(int32(partition))
	}
	return fmt.Sprintf("%s is at %v", r.name, next)
}

// tail reads from the beginning on until ctx ends, and from then until it has
// read up to the ends that ends returns, or hard ends.
func tail(ctx, hard context.Context, h *history.History, name, address string, ends func() [partitions]int64) error {
	r, err := newReader(h, name, address, func(int32) int64 { return 0 })
	if err != nil {
		return err
	}
	defer r.client.Close()
	for ctx.Err() == nil {
		r.poll(ctx)
	}
	for !r.reached(ends()) {
		if hard.Err() != nil {
			h.Note(history.Stuck, "%v, and does not get to %v in time", r, ends())
			return nil
		}
		turn, cancel := context.WithTimeout(hard, time.Second)
		r.poll(turn)
		cancel()
	}
	return nil
}

// hop runs one consumer after the other. Each begins at a random committed
// offset and reads for some seconds, from one node or the other.
func hop(ctx context.Context, h *history.History, seed uint64, addresses ...string) error {
	random := rand.New(rand.NewPCG(seed, 2))
	for i := 0; ctx.Err() == nil; i++ {
		r, err := newReader(h, fmt.Sprintf("hopping reader %d", i), addresses[i%len(addresses)], func(partition int32) int64 {
			end := h.Committed(partition)
			if random.IntN(2) == 0 {
				return max(0, end-random.Int64N(1000))
			}
			return random.Int64N(end + 1)
		})
		if err != nil {
			return err
		}
		turn, cancel := context.WithTimeout(ctx, time.Second+time.Duration(random.Int64N(int64(4*time.Second))))
		for turn.Err() == nil {
			r.poll(turn)
		}
		cancel()
		r.client.Close()
	}
	return nil
}

// readAll reads all records from the beginning to the ends that the node lists.
func readAll(ctx context.Context, h *history.History, name, address string) error {
	ends, err := listEnds(ctx, h, name, address)
	if err != nil {
		h.Note(history.Stuck, "%s: %v", name, err)
		return nil
	}
	r, err := newReader(h, name, address, func(int32) int64 { return 0 })
	if err != nil {
		return err
	}
	defer r.client.Close()
	for !r.reached(ends) && ctx.Err() == nil {
		r.poll(ctx)
	}
	if !r.reached(ends) {
		h.Note(history.Stuck, "%v, and does not get to %v in time", r, ends)
		return nil
	}
	for partition, end := range ends {
		r.Complete(int32(partition), end)
	}
	return nil
}

// listEnds asks a node for the ends, and keeps the answer in the history.
func listEnds(ctx context.Context, h *history.History, name, address string) (ends [partitions]int64, err error) {
	client, err := newClient(address)
	if err != nil {
		return ends, err
	}
	defer client.Close()
	for {
		if ends, err = askEnds(ctx, kadm.NewClient(client), h, name); err == nil || ctx.Err() != nil {
			return ends, err
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

func askEnds(ctx context.Context, admin *kadm.Client, h *history.History, name string) (ends [partitions]int64, err error) {
	question := h.Ask()
	listed, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err == nil && len(listed[topic]) != partitions {
		err = fmt.Errorf("%d partitions listed, not %d", len(listed[topic]), partitions)
	}
	if err != nil {
		return ends, fmt.Errorf("list end offsets: %w", err)
	}
	listed.Each(func(o kadm.ListedOffset) {
		ends[o.Partition] = o.Offset
		question.End(name, o.Partition, o.Offset)
	})
	return ends, nil
}

// askOffsets lists starts and ends of one node after the other until ctx ends.
// A missing answer is not an anomaly.
func askOffsets(ctx context.Context, h *history.History, answered func(), addresses ...string) error {
	var admins []*kadm.Client
	for _, address := range addresses {
		client, err := newClient(address)
		if err != nil {
			return err
		}
		defer client.Close()
		admins = append(admins, kadm.NewClient(client))
	}
	for i := 0; ctx.Err() == nil; i++ {
		turn, cancel := context.WithTimeout(ctx, 5*time.Second)
		name := "look-up at " + addresses[i%len(addresses)]
		if _, err := askEnds(turn, admins[i%len(admins)], h, name); err == nil {
			answered()
		}
		question := h.Ask()
		if listed, err := admins[i%len(admins)].ListStartOffsets(turn, topic); err == nil && listed.Error() == nil {
			listed.Each(func(o kadm.ListedOffset) { question.Start(name, o.Partition, o.Offset) })
			answered()
		}
		cancel()
		sleep(ctx, 100*time.Millisecond)
	}
	return nil
}
