package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
)

// ListOffsets, key 2.
//
//	v1   one offset per partition
//	v2   isolation level; without transactions both levels see the same
//	v4   leader epoch (KIP-320)
//	v5   OFFSET_NOT_AVAILABLE may be answered (KIP-207); it is
//	     LEADER_NOT_AVAILABLE before
//	v6   flexible
//	v7   timestamp -3: the record with the highest timestamp (KIP-734)
//	v8   -4: earliest local, which is the log's start here (KIP-405)
//	v9   -5: latest tiered (KIP-1005)
//	v10  time-out (KIP-1075)
//	v11  -6: earliest pending upload (KIP-1023)
func init() {
	register(listener.API{
		Key: kmsg.ListOffsets, Min: 1, Max: 11,
		Shape: shape{
			num(4), num(1).From(2),
			listOf(sizeOf[kmsg.ListOffsetsRequestTopic](), str(),
				listOf(sizeOf[kmsg.ListOffsetsRequestTopicPartition](), num(4), num(4).From(4), num(8))),
			num(4).From(10),
		},
	}, func(s *services) listener.Handler { return s.reading.beginListOffsets })
}

// The special timestamps that the reader does not know.
const (
	earliestLocal         = int64(-4)
	latestTiered          = int64(-5)
	earliestPendingUpload = int64(-6)
)

// specialSince is the first version that may ask for a special timestamp.
var specialSince = map[int64]int16{
	fetch.Latest: 1, fetch.Earliest: 1, fetch.MaxTimestamp: 7, earliestLocal: 8, latestTiered: 9, earliestPendingUpload: 11,
}

const (
	listOffsetsNotAvailable = 5
	listOffsetsTimeout      = 10
)

// lookups is how many partitions of one request are looked up at once,
// allLookups how many of all requests together. lookupWait is how long one
// request may take.
const (
	lookups    = 16
	allLookups = 128
	lookupWait = 30 * time.Second
)

func (s *readService) beginListOffsets(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.ListOffsetsRequest)
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout(r, req))
		defer cancel()
		resp := kmsg.NewPtrListOffsetsResponse()
		resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
		var work []func()
		offsets := s.reader.Offsets()
		seen := make(map[namedPartition]bool)
		for i := range req.Topics {
			in, out := &req.Topics[i], &resp.Topics[i]
			out.Topic = in.Topic
			out.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(in.Partitions))
			t, unknown := s.gate.topic(r, toDescribe, byName(in.Topic))
			for j := range in.Partitions {
				key, err := namedPartition{in.Topic, in.Partitions[j].Partition}, unknown
				if seen[key] {
					err = errTwice
				}
				seen[key] = true
				work = append(work, func() { s.listOffset(ctx, r, offsets, t, err, &in.Partitions[j], &out.Partitions[j]) })
			}
		}
		inParallel(lookups, work)
		var code firstCode
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				code.note(resp.Topics[i].Partitions[j].ErrorCode)
			}
		}
		r.Reply(resp, int16(code))
	})
}

type namedPartition struct {
	topic string
	index int32
}

var errTwice = coded(kerr.InvalidRequest, "the partition stands in the request more than once")

func lookupTimeout(r *listener.Request, req *kmsg.ListOffsetsRequest) time.Duration {
	if r.Version < listOffsetsTimeout || req.TimeoutMillis <= 0 {
		return lookupWait
	}
	return min(time.Duration(req.TimeoutMillis)*time.Millisecond, lookupWait)
}

// listOffset looks one partition up. bad is an error that the request has
// already.
func (s *readService) listOffset(ctx context.Context, r *listener.Request, offsets Offsets, t *metadata.Topic, bad error, in *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) {
	out.Default()
	out.Partition = in.Partition
	out.Offset, out.Timestamp, out.LeaderEpoch = -1, -1, -1
	since, special := specialSince[in.Timestamp]
	if bad == nil {
		t, bad = s.gate.withPartition(r, t, in.Partition)
	}
	switch {
	case bad != nil:
		out.ErrorCode = s.codeFor(bad, onOffsets, "ListOffsets")
		return
	case in.Timestamp < 0 && (!special || r.Version < since):
		out.ErrorCode = kerr.UnsupportedVersion.Code
		return
	case in.Timestamp == latestTiered || in.Timestamp == earliestPendingUpload:
		return // varve does not have Kafka's tiers: there is no such offset
	}
	at := in.Timestamp
	if at == earliestLocal {
		at = fetch.Earliest
	}
	found, err := s.lookUp(ctx, offsets, partlog.Key{Topic: t.ID, Index: in.Partition}, in.CurrentLeaderEpoch, at)
	if err != nil {
		out.ErrorCode = s.codeFor(err, onOffsets, "ListOffsets")
		if out.ErrorCode == kerr.OffsetNotAvailable.Code && r.Version < listOffsetsNotAvailable {
			out.ErrorCode = kerr.LeaderNotAvailable.Code
		}
		return
	}
	out.Offset, out.LeaderEpoch = found.Offset, found.Epoch
	if at >= 0 || at == fetch.MaxTimestamp {
		out.Timestamp = found.Timestamp
	}
}

// lookUp asks the reader, which may have to read and decompress records: it
// does so for a limited number at once, whatever clients ask for. The first
// offset and the next one are known without that, and do not wait for such
// look-ups: every consumer that starts needs them.
func (s *readService) lookUp(ctx context.Context, offsets Offsets, k partlog.Key, leaderEpoch int32, at int64) (fetch.OffsetAt, error) {
	if at == fetch.Latest || at == fetch.Earliest {
		return offsets.ListOffset(ctx, k, leaderEpoch, at)
	}
	if err := s.lookingUp.Acquire(ctx, 1); err != nil {
		return fetch.OffsetAt{}, err
	}
	defer s.lookingUp.Release(1)
	return offsets.ListOffset(ctx, k, leaderEpoch, at)
}

// inParallel runs all of work, up to n at a time, and returns when it is done.
func inParallel(n int, work []func()) {
	if len(work) == 1 {
		work[0]()
		return
	}
	var next sync.Mutex
	at := 0
	take := func() func() {
		next.Lock()
		defer next.Unlock()
		if at == len(work) {
			return nil
		}
		at++
		return work[at-1]
	}
	var wg sync.WaitGroup
	for range min(n, len(work)) {
		wg.Go(func() {
			for do := take(); do != nil; do = take() {
				do()
			}
		})
	}
	wg.Wait()
}
