package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

// cannedReader answers as the test says.
type cannedReader struct {
	asked chan fetch.Request

	mu     sync.Mutex
	result fetch.Result
	offset fetch.OffsetAt
	end    fetch.EpochEnd
	err    error
}

func (r *cannedReader) Fetch(_ context.Context, req fetch.Request) ([]fetch.Result, func()) {
	r.asked <- req
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]fetch.Result, len(req.Partitions))
	for i := range out {
		out[i] = r.result
	}
	return out, func() {}
}

func (r *cannedReader) Offsets() Offsets { return r }

func (r *cannedReader) ListOffset(_ context.Context, _ partlog.Key, _ int32, ts int64) (fetch.OffsetAt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.offset
	found.Timestamp = ts
	return found, r.err
}

func (r *cannedReader) EpochEnd(context.Context, partlog.Key, int32, int32) (fetch.EpochEnd, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end, r.err
}

// set changes the answers.
func (r *cannedReader) set(change func(*cannedReader)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func canned(b *Backend) *cannedReader {
	r := &cannedReader{asked: make(chan fetch.Request, 100)}
	b.Reader = r
	return r
}

func TestFetchAsksForWhatTheClientAsks(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 2, nil)
	b := c.backend()
	reader := canned(&b)
	cl := start(t, c, Config{FetchMaxBytes: 1000}, b).dial(t)
	req := sample(1, 12, topic).(*kmsg.FetchRequest)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 70, 9, 800
	p := &req.Topics[0].Partitions[0]
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1, 12, 34, 5
	cl.ask(req)
	got := <-reader.asked
	want := fetch.Partition{Key: partlog.Key{Topic: topic.ID, Index: 1}, Offset: 12, MaxBytes: 34, LeaderEpoch: 5}
	if got.MaxWait.Milliseconds() != 70 || got.MinBytes != 9 || got.MaxBytes != 800 || got.Partitions[0] != want {
		t.Errorf("asked %+v", got)
	}
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 1<<30, -1, -1
	cl.ask(req)
	if got := <-reader.asked; got.MaxBytes != 1000 || got.MinBytes != 0 || got.MaxWait != 0 {
		t.Errorf("asked %+v", got)
	}
}

// TestFetchIsFullByItsSessionEpoch: a request is a full one by its epoch,
// whatever session it names (kafka-go's Client names -1).
func TestFetchIsFullByItsSessionEpoch(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	reader := canned(&b)
	reader.result.Records = [][]byte{batchtest.Build(batchtest.Spec{Records: batchtest.Values(1_600_000_000_000, "a")})}
	cl := start(t, c, Config{}, b).dial(t)
	for _, id := range []int32{-1, 0, 1, 77, math.MaxInt32, math.MinInt32} {
		for _, epoch := range []int32{-1, 0, 1, 2, math.MaxInt32, -2, math.MinInt32} {
			for _, version := range []int16{7, 11, 18} {
				req := sample(1, version, topic).(*kmsg.FetchRequest)
				req.SessionID, req.SessionEpoch = id, epoch
				resp := cl.ask(req).(*kmsg.FetchResponse)
				full := epoch == 0 || epoch == -1
				switch {
				case full && (resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions[0].RecordBatches) == 0):
					t.Errorf("v%d, session %d, epoch %d: error %d, %d topics", version, id, epoch, resp.ErrorCode, len(resp.Topics))
				case !full && (resp.ErrorCode != kerr.FetchSessionIDNotFound.Code || len(resp.Topics) > 0):
					t.Errorf("v%d, session %d, epoch %d: error %d, %d topics", version, id, epoch, resp.ErrorCode, len(resp.Topics))
				case (resp.SessionID != 0) != (epoch == 0):
					t.Errorf("v%d, session %d, epoch %d: got session %d", version, id, epoch, resp.SessionID)
				}
				if resp.ErrorCode == 0 {
					<-reader.asked
				}
			}
		}
	}
}

func TestFetchWithABadPartitionDoesNotWait(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	reader := canned(&b)
	cl := start(t, c, Config{}, b).dial(t)
	req := longPoll(topic)
	second := req.Topics[0].Partitions[0]
	second.Partition = 9
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
	resp := cl.ask(req).(*kmsg.FetchResponse)
	if got := <-reader.asked; got.MaxWait != 0 || len(got.Partitions) != 1 {
		t.Errorf("asked %+v", got)
	}
	if p := resp.Topics[0].Partitions[1]; p.ErrorCode != kerr.UnknownTopicOrPartition.Code || p.RecordBatches == nil {
		t.Errorf("answer is %+v", p)
	}
}

func TestFetchErrorsHaveTheirCodesAndNoInventedOffsets(t *testing.T) {
	cases := []struct {
		err     error
		version int16
		want    *kerr.Error
		offset  int64 // as the reader knows it
	}{
		{fetch.ErrOutOfRange, 12, kerr.OffsetOutOfRange, 50},
		{fetch.ErrFencedEpoch, 12, kerr.FencedLeaderEpoch, -1},
		{fetch.ErrUnknownEpoch, 12, kerr.UnknownLeaderEpoch, -1},
		{fetch.ErrUnknownPartition, 12, kerr.UnknownTopicOrPartition, -1},
		{fetch.ErrNotReady, 12, kerr.OffsetNotAvailable, -1},
		{fetch.ErrStorage, 12, kerr.KafkaStorageError, -1},
		{fetch.ErrStorage, 5, kerr.NotLeaderForPartition, -1},
		{errors.New("bucket on fire"), 12, kerr.KafkaStorageError, -1},
		{fmt.Errorf("read object: %w", fetch.ErrNotReady), 12, kerr.OffsetNotAvailable, -1},
	}
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	reader := canned(&b)
	cl := start(t, c, Config{}, b).dial(t)
	for _, tc := range cases {
		reader.set(func(r *cannedReader) {
			r.result = fetch.Result{HighWatermark: tc.offset, LogStart: tc.offset, Err: tc.err}
		})
		p := cl.ask(sample(1, tc.version, topic)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if p.ErrorCode != tc.want.Code || p.HighWatermark != tc.offset || p.LogStartOffset != tc.offset || p.RecordBatches == nil {
			t.Errorf("%v in v%d: %+v", tc.err, tc.version, p)
		}
	}
}

func TestFencedFetchNamesTheLeader(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	c.place.Store(&Placement{Leader: 8, Epoch: 4, Replicas: []int32{8}})
	b := c.backend()
	canned(&b).result.Err = fetch.ErrFencedEpoch
	cl := start(t, c, Config{}, b).dial(t)
	for version := int16(12); version <= 18; version++ {
		resp := cl.ask(sample(1, version, topic)).(*kmsg.FetchResponse)
		p := resp.Topics[0].Partitions[0]
		named := p.CurrentLeader.LeaderID == 8 && p.CurrentLeader.LeaderEpoch == 4 && len(resp.Brokers) == 1 && resp.Brokers[0].NodeID == 8
		if named != (version >= 16) {
			t.Errorf("v%d: leader %+v, brokers %+v", version, p.CurrentLeader, resp.Brokers)
		}
	}
}

func TestLongPollAnswersWhenRecordsArrive(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	reading := &reportingReader{Reader: c, begun: make(chan struct{}, 1)}
	b.Reader = reading
	r := start(t, c, Config{}, b)
	consumer, producer := r.dial(t), r.dial(t)
	poll := longPoll(topic)
	id := consumer.send(poll)
	<-reading.begun
	producer.ask(produceOne(topic, -1, plain()))
	resp := consumer.receive(poll, id).(*kmsg.FetchResponse)
	if p := resp.Topics[0].Partitions[0]; len(p.RecordBatches) == 0 || p.HighWatermark != 2 || p.LastStableOffset != 2 {
		t.Errorf("answer is %+v", p)
	}
}

func TestListOffsetsKnowsItsSpecialTimestamps(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	cl.ask(produceOne(topic, -1, plain()))
	cases := []struct {
		version           int16
		ask               int64
		code              int16
		offset, timestamp int64
	}{
		{1, fetch.Latest, 0, 2, -1},
		{1, fetch.Earliest, 0, 0, -1},
		{1, 1000, 0, 5, 55},
		{6, fetch.MaxTimestamp, 35, -1, -1},
		{7, fetch.MaxTimestamp, 0, 5, 55},
		{7, earliestLocal, 35, -1, -1},
		{8, earliestLocal, 0, 0, -1},
		{8, latestTiered, 35, -1, -1},
		{9, latestTiered, 0, -1, -1},
		{10, earliestPendingUpload, 35, -1, -1},
		{11, earliestPendingUpload, 0, -1, -1},
		{11, -7, 35, -1, -1},
	}
	for _, tc := range cases {
		req := sample(2, tc.version, topic).(*kmsg.ListOffsetsRequest)
		req.Topics[0].Partitions[0].Timestamp = tc.ask
		p := cl.ask(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if p.ErrorCode != tc.code || p.Offset != tc.offset || p.Timestamp != tc.timestamp {
			t.Errorf("v%d of %d: %+v", tc.version, tc.ask, p)
		}
		if tc.version >= 4 && tc.offset >= 0 && p.LeaderEpoch != 3 {
			t.Errorf("v%d of %d: leader epoch %d", tc.version, tc.ask, p.LeaderEpoch)
		}
	}
}

func TestListOffsetsOfAPartitionTwiceIsInvalid(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := sample(2, 5, topic).(*kmsg.ListOffsetsRequest)
	req.Topics = append(req.Topics, req.Topics[0])
	resp := cl.ask(req).(*kmsg.ListOffsetsResponse)
	if a, b := resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[1].Partitions[0].ErrorCode; a != 0 || b != kerr.InvalidRequest.Code {
		t.Errorf("errors %d and %d", a, b)
	}
}

func TestLookupErrorsHaveTheirCodes(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	reader := canned(&b)
	cl := start(t, c, Config{}, b).dial(t)
	for err, want := range map[error]*kerr.Error{
		fetch.ErrNotReady: kerr.OffsetNotAvailable, fetch.ErrStorage: kerr.KafkaStorageError, fetch.ErrFencedEpoch: kerr.FencedLeaderEpoch,
		fetch.ErrUnknownEpoch: kerr.UnknownLeaderEpoch, errors.New("new"): kerr.OffsetNotAvailable, context.DeadlineExceeded: kerr.OffsetNotAvailable,
	} {
		reader.set(func(r *cannedReader) { r.err = err })
		if p := cl.ask(sample(2, 5, topic)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.ErrorCode != want.Code || p.Offset != -1 {
			t.Errorf("ListOffsets, %v: %+v", err, p)
		}
		if p := cl.ask(sample(23, 4, topic)).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]; p.ErrorCode != want.Code || p.EndOffset != -1 {
			t.Errorf("OffsetForLeaderEpoch, %v: %+v", err, p)
		}
	}
	reader.set(func(r *cannedReader) { r.err = fetch.ErrNotReady })
	if p := cl.ask(sample(2, 4, topic)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.LeaderNotAvailable.Code {
		t.Errorf("ListOffsets v4: error %d, which it does not know", p.ErrorCode)
	}
	reader.set(func(r *cannedReader) { r.err, r.end = nil, fetch.EpochEnd{Epoch: 2, End: 77} })
	if p := cl.ask(sample(23, 4, topic)).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]; p.LeaderEpoch != 2 || p.EndOffset != 77 {
		t.Errorf("OffsetForLeaderEpoch: %+v", p)
	}
}

func TestManyPartitionsAreLookedUpInTheirPlaces(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 100, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	produce := sample(0, 9, topic).(*kmsg.ProduceRequest)
	list := sample(2, 5, topic).(*kmsg.ListOffsetsRequest)
	produce.Topics[0].Partitions, list.Topics[0].Partitions = nil, nil
	for i := range int32(101) { // the last does not exist
		spec := batchtest.Spec{Records: batchtest.Values(1, make([]string, i+1)...)}
		produce.Topics[0].Partitions = append(produce.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: i, Records: batchtest.Build(spec)})
		list.Topics[0].Partitions = append(list.Topics[0].Partitions, kmsg.ListOffsetsRequestTopicPartition{Partition: i, Timestamp: fetch.Latest})
	}
	cl.ask(produce)
	for i, p := range cl.ask(list).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		if exists := i < 100; p.Partition != int32(i) || exists && p.Offset != int64(i+1) || !exists && p.ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("place %d: %+v", i, p)
		}
	}
}

// stuckReader finds no record by its time until it is let go on.
type stuckReader struct {
	Reader
	asked chan struct{}
	goOn  chan struct{}
}

func (r *stuckReader) Offsets() Offsets { return stuckOffsets{r.Reader.Offsets(), r} }

type stuckOffsets struct {
	Offsets
	reader *stuckReader
}

func (r stuckOffsets) ListOffset(ctx context.Context, k partlog.Key, epoch int32, ts int64) (fetch.OffsetAt, error) {
	if ts >= 0 {
		select {
		case r.reader.asked <- struct{}{}:
			<-r.reader.goOn
		case <-r.reader.goOn:
		}
	}
	return r.Offsets.ListOffset(ctx, k, epoch, ts)
}

// TestLookUpsByTimeHoldUpNoConsumerThatStarts fills the places there are for them.
func TestLookUpsByTimeHoldUpNoConsumerThatStarts(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", lookups, nil)
	b := c.backend()
	stuck := &stuckReader{Reader: c, asked: make(chan struct{}), goOn: make(chan struct{})}
	b.Reader = stuck
	server := start(t, c, Config{}, b)
	defer close(stuck.goOn)
	ask := func(cl *client, ts int64, partitions int32) (*kmsg.ListOffsetsRequest, int32) {
		req := sample(2, 7, topic).(*kmsg.ListOffsetsRequest)
		req.Topics[0].Partitions = nil
		for p := range partitions {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = p, -1, ts
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, rp)
		}
		return req, cl.send(req)
	}
	for range allLookups/lookups + 1 {
		ask(server.dial(t), 1, lookups)
	}
	for range allLookups {
		<-stuck.asked
	}
	for _, ts := range []int64{fetch.Latest, fetch.Earliest} {
		cl := server.dial(t)
		req, id := ask(cl, ts, 1)
		if p := cl.receive(req, id).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.Offset != 0 {
			t.Errorf("timestamp %d: %+v", ts, p)
		}
	}
}
