package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv/history"
)

// revived: a deleted group has offsets again.
const revived history.Kind = "revived"

const (
	departedTurn  = 300 * time.Millisecond // between two groups
	departedLimit = 10 * time.Second       // of each request
	departedLooks = 5                      // earlier groups that are looked up for each new one
)

// offsetsConfigs let the offsets of groups be compacted all the while.
var offsetsConfigs = map[string]string{"min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "2000"}

const offsetsTopic = "__consumer_offsets"

// departed is groups that commit an offset and are deleted. Their tombstones are removed by
// compaction, and they must stay deleted.
type departed struct {
	history *history.History
	names   []string // of those whose deletion was acknowledged
	count   atomic.Int64
	looks   atomic.Int64 // answered, at deleted groups
}

// run goes on until ctx ends. A commit of unknown outcome may take effect later, so it is not
// repeated, and its group is not looked at again.
func (d *departed) run(ctx context.Context, seed uint64, address string) error {
	client, err := newClient(address, kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	admin, random := kadm.NewClient(client), rand.New(rand.NewPCG(seed, 5))
	for n := int64(0); ctx.Err() == nil; n++ {
		name := fmt.Sprintf("departed %d", n)
		if d.commit(ctx, admin, name, n) && d.delete(ctx, admin, name) {
			d.names = append(d.names, name)
			d.count.Add(1)
		}
		for range min(departedLooks, len(d.names)) {
			d.look(ctx, admin, d.names[random.IntN(len(d.names))])
		}
		sleep(ctx, departedTurn)
	}
	return nil
}

func (d *departed) commit(ctx context.Context, admin *kadm.Client, name string, offset int64) bool {
	turn, cancel := context.WithTimeout(ctx, departedLimit)
	defer cancel()
	committed, err := admin.CommitOffsets(turn, name, kadm.OffsetsFromRecords(kgo.Record{Topic: jobs, Offset: offset}))
	return err == nil && committed.Error() == nil
}

// delete reports whether the group is deleted. An earlier try may have deleted it.
func (d *departed) delete(ctx context.Context, admin *kadm.Client, name string) bool {
	err := try(ctx, func(ctx context.Context) error {
		_, err := admin.DeleteGroup(ctx, name)
		return err
	})
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		d.history.Note(history.Refused, "group %q is not deleted: %v", name, err)
		return false
	}
	return ctx.Err() == nil
}

func (d *departed) look(ctx context.Context, admin *kadm.Client, name string) {
	turn, cancel := context.WithTimeout(ctx, departedLimit)
	defer cancel()
	offsets, err := admin.FetchOffsets(turn, name)
	if err != nil || offsets.Error() != nil {
		return
	}
	d.looks.Add(1)
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 {
			d.history.Note(revived, "group %q is deleted, and has offset %d of partition %d", name, o.At, o.Partition)
		}
	})
}

// offsetsReading is a read of the committed offsets of all groups, in a bucket that does not
// change any more.
type offsetsReading struct {
	crew *crew
	last map[kmsg.OffsetCommitKey]int64
	bad  error
}

func newOffsetsReading(c *crew) *offsetsReading {
	return &offsetsReading{crew: c, last: map[kmsg.OffsetCommitKey]int64{}}
}

func (r *offsetsReading) take(_ int32, _ int64, key, value []byte) {
	k := kmsg.NewOffsetCommitKey()
	if err := k.ReadFrom(key); err != nil || k.Version > 1 {
		return // the key of something else than an offset
	}
	if value == nil {
		delete(r.last, k)
		return
	}
	v := kmsg.NewOffsetCommitValue()
	r.bad = errors.Join(r.bad, v.ReadFrom(value))
	r.last[k] = v.Offset
}

func (r *offsetsReading) end() {
	h := r.crew.history
	if r.bad != nil {
		h.Note(history.Corrupt, "offsets of %s: %v", offsetsTopic, r.bad)
	}
	for _, name := range r.crew.departed.names {
		if _, ok := r.last[kmsg.OffsetCommitKey{Version: 1, Group: name, Topic: jobs}]; ok {
			h.Note(revived, "group %q is deleted, and %s has an offset of it", name, offsetsTopic)
		}
	}
	for partition := range int32(r.crew.partitions) {
		want := r.crew.group.CommittedTo(partition)
		if got := r.last[kmsg.OffsetCommitKey{Version: 1, Group: workers, Topic: jobs, Partition: partition}]; got < want {
			h.Note(history.CommitWentBack, "%s has %d as the committed offset of partition %d, acknowledged is %d", offsetsTopic, got, partition, want)
		}
	}
}
