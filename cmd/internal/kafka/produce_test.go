package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

func plain() batchtest.Spec {
	return batchtest.Spec{Records: batchtest.Values(1_600_000_000_000, "a", "b")}
}

// patched is a batch with bytes of its header changed, and its CRC right again.
func patched(at int, b ...byte) []byte {
	out := batchtest.Build(plain())
	copy(out[at:], b)
	return batchtest.FixCRC(out)
}

func TestProduceRefusesBadBatchesWithTheCodeOfKafka(t *testing.T) {
	now := newCluster().now.UnixMilli()
	good := batchtest.Build(plain())
	corrupt := bytes.Clone(good)
	corrupt[len(corrupt)-1] ^= 1
	control, transactional := plain(), plain()
	control.Control, control.ProducerID = true, 5
	transactional.Transactional, transactional.ProducerID = true, 5
	noSequence := plain()
	noSequence.ProducerID, noSequence.Sequence = 5, -1
	future := batchtest.Spec{Records: batchtest.Values(now+3_600_001, "a")}
	cases := []struct {
		name    string
		records []byte
		want    *kerr.Error
	}{
		{"good", good, nil},
		{"null", nil, kerr.InvalidRecord},
		{"empty", []byte{}, kerr.InvalidRecord},
		{"two batches", append(bytes.Clone(good), good...), kerr.InvalidRecord},
		{"cut short", good[:len(good)-1], kerr.InvalidRecord},
		{"magic 1", patched(16, 1), kerr.InvalidRecord},
		{"flipped bit", corrupt, kerr.CorruptMessage},
		{"base offset", patched(0, 0, 0, 0, 0, 0, 0, 0, 1), kerr.InvalidRecord},
		{"count against delta", patched(57, 0, 0, 0, 9), kerr.InvalidRecord},
		{"no records", patched(57, 0, 0, 0, 0), kerr.InvalidRecord},
		{"unknown codec", patched(21, 0, 7), kerr.UnsupportedCompressionType},
		{"log append time", patched(21, 0, 8), kerr.InvalidTimestamp},
		{"control batch", batchtest.Build(control), kerr.InvalidRecord},
		{"no sequence", batchtest.Build(noSequence), kerr.InvalidRecord},
		{"transactional", batchtest.Build(transactional), kerr.InvalidTxnState},
		{"an hour and more ahead", batchtest.Build(future), kerr.InvalidTimestamp},
		{"too large", batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, strings.Repeat("x", 1<<20+100))}), kerr.MessageTooLarge},
	}
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for _, tc := range cases {
		req := sample(0, 9, topic).(*kmsg.ProduceRequest)
		req.Topics[0].Partitions[0].Records = tc.records
		p := cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		var want int16
		if tc.want != nil {
			want = tc.want.Code
		}
		if p.ErrorCode != want {
			t.Errorf("%s: error %d, want %d", tc.name, p.ErrorCode, want)
		}
		if (p.BaseOffset >= 0) != (want == 0) || (p.ErrorMessage == nil) != (want == 0) {
			t.Errorf("%s: offset %d, message %v", tc.name, p.BaseOffset, p.ErrorMessage)
		}
	}
}

func TestOneBadPartitionDoesNotSpoilTheOthers(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 2, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := sample(0, 9, topic).(*kmsg.ProduceRequest)
	good := req.Topics[0].Partitions[0]
	bad, beyond, negative, second := good, good, good, good
	bad.Records, beyond.Partition, negative.Partition, second.Partition = nil, 2, -1, 1
	second.Records = batchtest.Build(plain())
	req.Topics[0].Partitions = []kmsg.ProduceRequestTopicPartition{bad, beyond, good, negative, second}
	req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: "none", Partitions: []kmsg.ProduceRequestTopicPartition{good}})
	resp := cl.ask(req).(*kmsg.ProduceResponse)
	var got []int16
	for _, tp := range resp.Topics {
		for _, p := range tp.Partitions {
			got = append(got, p.ErrorCode)
		}
	}
	want := []int16{87, 3, 0, 3, 0, 3}
	if !slices.Equal(got, want) {
		t.Fatalf("codes %v, want %v", got, want)
	}
}

func TestProduceMapsWhatIngestAnswers(t *testing.T) {
	cases := map[error]*kerr.Error{
		ingest.ErrNotLeader:                       kerr.NotLeaderForPartition,
		ingest.ErrClosed:                          kerr.NotLeaderForPartition,
		ingest.ErrUnavailable:                     kerr.RequestTimedOut,
		ingest.ErrNoRoom:                          kerr.RequestTimedOut,
		partlog.ErrOutOfOrder:                     kerr.OutOfOrderSequenceNumber,
		partlog.ErrProducerEpoch:                  kerr.InvalidProducerEpoch,
		partlog.ErrDuplicateSequence:              kerr.DuplicateSequenceNumber,
		errors.New("connection refused by store"): kerr.RequestTimedOut,
	}
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for err, want := range cases {
		c.change(func() { c.fails = err })
		p := cl.ask(sample(0, 9, topic)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != want.Code || p.BaseOffset != -1 {
			t.Errorf("%v: error %d, offset %d, want error %d", err, p.ErrorCode, p.BaseOffset, want.Code)
		}
	}
}

func TestProduceOfWrongAcksAndTransactionsIsRefused(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for _, acks := range []int16{-2, 2, math.MaxInt16} {
		req := sample(0, 9, topic).(*kmsg.ProduceRequest)
		req.Acks = acks
		if p := cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.InvalidRequiredAcks.Code {
			t.Errorf("acks %d: error %d", acks, p.ErrorCode)
		}
	}
	req := sample(0, 9, topic).(*kmsg.ProduceRequest)
	req.TransactionID = kmsg.StringPtr("tx")
	if p := cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.InvalidTxnState.Code {
		t.Errorf("transaction: error %d", p.ErrorCode)
	}
	init := &kmsg.InitProducerIDRequest{Version: 4, TransactionalID: kmsg.StringPtr("tx"), ProducerID: -1, ProducerEpoch: -1}
	if resp := cl.ask(init).(*kmsg.InitProducerIDResponse); resp.ErrorCode != kerr.TransactionalIDAuthorizationFailed.Code || resp.ProducerID != -1 {
		t.Errorf("InitProducerId with a transactional id: %+v", resp)
	}
}

func TestZstdNeedsAVersionThatKnowsIt(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	spec := plain()
	spec.Codec = batch.Zstd
	for version, want := range map[int16]int16{3: 76, 6: 76, 7: 0, 13: 0} {
		req := sample(0, version, topic).(*kmsg.ProduceRequest)
		req.Topics[0].Partitions[0].Records = batchtest.Build(spec)
		if p := cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != want {
			t.Errorf("Produce v%d of zstd: error %d, want %d", version, p.ErrorCode, want)
		}
	}
	for version, want := range map[int16]int16{4: 76, 9: 76, 10: 0, 18: 0} {
		if p := cl.ask(sample(1, version, topic)).(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.ErrorCode != want || (len(p.RecordBatches) > 0) != (want == 0) {
			t.Errorf("Fetch v%d of zstd: error %d, want %d, %d bytes", version, p.ErrorCode, want, len(p.RecordBatches))
		}
	}
	cl.ask(produceOne(topic, -1, plain()))
	mixed := bytes.Join([][]byte{batchtest.Build(plain()), batchtest.Build(spec), batchtest.Build(plain())}, nil)
	for _, pieces := range [][][]byte{{mixed}, {mixed, mixed}, {mixed[:10], mixed[10:]}, {mixed[:len(mixed)-10], mixed[len(mixed)-10:]}} {
		if got := bytes.Join(beforeZstd(pieces), nil); len(got) != len(batchtest.Build(plain())) {
			t.Errorf("%d bytes before the first zstd batch", len(got))
		}
	}
}

func TestLogAppendTimeIsTheBrokersAndAnswered(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	create := c.addTopic(t, "created", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	p := cl.ask(produceOne(topic, -1, plain())).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if p.LogAppendTime != c.now.UnixMilli() {
		t.Errorf("log append time is %d, want %d", p.LogAppendTime, c.now.UnixMilli())
	}
	if p := cl.ask(produceOne(create, -1, plain())).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.LogAppendTime != -1 {
		t.Errorf("log append time of a topic with CreateTime is %d", p.LogAppendTime)
	}
	results, release := c.Fetch(t.Context(), fetch.Request{MaxBytes: 1 << 20, Partitions: []fetch.Partition{{Key: partlog.Key{Topic: topic.ID}}}})
	defer release()
	stored := results[0].Records[0]
	h, err := batch.Parse(stored)
	if err != nil || !h.LogAppendTime() || h.MaxTimestamp != c.now.UnixMilli() || !batch.CheckCRC(stored, h) {
		t.Errorf("stored header is %+v, error %v", h, err)
	}
}

func TestTimestampsAreBoundedAsTheTopicSays(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{
		"message.timestamp.before.max.ms": "1000", "message.timestamp.after.max.ms": "2000",
	})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for offset, want := range map[time.Duration]int16{
		-1000 * time.Millisecond: 0, -1001 * time.Millisecond: 32, 2000 * time.Millisecond: 0, 2001 * time.Millisecond: 32,
	} {
		spec := batchtest.Spec{Records: batchtest.Values(c.now.Add(offset).UnixMilli(), "a")}
		if p := cl.ask(produceOne(topic, -1, spec)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != want {
			t.Errorf("timestamp %v off: error %d, want %d", offset, p.ErrorCode, want)
		}
	}
}

func TestCompactedTopicNamesRecordsWithoutAKey(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"cleanup.policy": "compact"})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	spec := batchtest.Spec{Codec: batch.Gzip, Records: []batchtest.Record{
		{Key: []byte("k"), Timestamp: 1}, {Value: []byte("v"), Timestamp: 1}, {Key: []byte{}, Timestamp: 1}, {Timestamp: 1},
	}}
	p := cl.ask(produceOne(topic, -1, spec)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if p.ErrorCode != kerr.InvalidRecord.Code || len(p.ErrorRecords) != 2 || p.ErrorRecords[0].RelativeOffset != 1 || p.ErrorRecords[1].RelativeOffset != 3 {
		t.Errorf("answer is %+v", p)
	}
	spec.Records = spec.Records[:1]
	if p := cl.ask(produceOne(topic, -1, spec)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		t.Errorf("records with keys: error %d", p.ErrorCode)
	}
}

func TestProduceElsewhereNamesTheLeader(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 2, nil)
	c.away[topic.Partitions[0].Journal] = true
	c.place.Store(&Placement{Leader: 8, Epoch: 4, Replicas: []int32{8}})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for version := int16(3); version <= 13; version++ {
		req := sample(0, version, topic).(*kmsg.ProduceRequest)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
		req.Topics[0].Partitions[1].Partition = 1
		resp := cl.ask(req).(*kmsg.ProduceResponse)
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != kerr.NotLeaderForPartition.Code {
			t.Fatalf("v%d: error %d", version, p.ErrorCode)
		}
		named := p.CurrentLeader.LeaderID == 8 && p.CurrentLeader.LeaderEpoch == 4 && len(resp.Brokers) == 1 && resp.Brokers[0].Host == "elsewhere"
		if named != (version >= 10) {
			t.Errorf("v%d: leader %+v, brokers %+v", version, p.CurrentLeader, resp.Brokers)
		}
	}
}

// A leadership may end while records wait for their commit.
func TestProduceThatWaitsForALostLeadershipNamesTheLeader(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	c.fails = fmt.Errorf("%w: fenced", ingest.ErrNotLeader)
	c.place.Store(&Placement{Leader: 8, Epoch: 4, Replicas: []int32{8}})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	resp := cl.ask(sample(0, 13, topic).(*kmsg.ProduceRequest)).(*kmsg.ProduceResponse)
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != kerr.NotLeaderForPartition.Code || p.CurrentLeader.LeaderID != 8 || p.CurrentLeader.LeaderEpoch != 4 || len(resp.Brokers) != 1 {
		t.Errorf("answer %+v, brokers %+v", p, resp.Brokers)
	}
	c.change(func() { c.fails = ingest.ErrUnavailable })
	if resp := cl.ask(sample(0, 13, topic).(*kmsg.ProduceRequest)).(*kmsg.ProduceResponse); len(resp.Brokers) != 0 {
		t.Errorf("another error names brokers: %+v", resp.Brokers)
	}
}

// An answer that sends a client away waits until the node knows where to, and no other one
// does: the client might not ask again for seconds.
func TestAnswersWaitForTheNextLeader(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	c.place.Store(&Placement{Leader: -1, Epoch: 4})
	var awaited atomic.Int32
	b := c.backend()
	b.AwaitLeaders = func(_ context.Context, journals []uint32) {
		if len(journals) != 1 || journals[0] != topic.Partitions[0].Journal {
			t.Errorf("waits for %v", journals)
		}
		awaited.Add(1)
		c.place.Store(&Placement{Leader: 8, Epoch: 5, Replicas: []int32{8}})
	}
	cl := start(t, c, Config{}, b).dial(t)
	name := "events"
	resp := cl.ask(&kmsg.MetadataRequest{Version: 9, Topics: []kmsg.MetadataRequestTopic{{Topic: &name}}}).(*kmsg.MetadataResponse)
	if p := resp.Topics[0].Partitions[0]; p.Leader != 8 || p.LeaderEpoch != 5 || awaited.Load() != 1 {
		t.Errorf("metadata: %+v after %d waits", p, awaited.Load())
	}
	cl.ask(sample(0, 13, topic))
	cl.ask(sample(1, 16, topic))
	if awaited.Load() != 1 {
		t.Error("an answer without an error waits for a leader")
	}
	for version, names := range map[int16]bool{9: false, 13: true} {
		c.place.Store(&Placement{Leader: -1, Epoch: 4})
		c.change(func() { c.fails = ingest.ErrNotLeader })
		awaited.Store(0)
		p := cl.ask(sample(0, version, topic)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != kerr.NotLeaderForPartition.Code || (p.CurrentLeader.LeaderID == 8) != names || (awaited.Load() == 1) != names {
			t.Errorf("produce v%d: %+v after %d waits", version, p, awaited.Load())
		}
	}
	c.place.Store(&Placement{Leader: -1, Epoch: 4})
	b.Reader = lostReader{c}
	cl = start(t, c, Config{}, b).dial(t)
	awaited.Store(0)
	p := cl.ask(sample(1, 16, topic)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if p.ErrorCode != kerr.NotLeaderForPartition.Code || p.CurrentLeader.LeaderID != 8 || awaited.Load() != 1 {
		t.Errorf("fetch: %+v after %d waits", p, awaited.Load())
	}
}

// lostReader reads partitions that are led elsewhere.
type lostReader struct{ *cluster }

func (lostReader) Fetch(_ context.Context, req fetch.Request) ([]fetch.Result, func()) {
	results := make([]fetch.Result, len(req.Partitions))
	for i := range results {
		results[i] = fetch.Result{HighWatermark: -1, LogStart: -1, Epoch: -1, Err: fetch.ErrNotLeader}
	}
	return results, func() {}
}

func TestTopicIDsAreKnownOrUnknown(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	stranger := *topic
	stranger.ID[3] = 1
	cl := start(t, c, Config{}, c.backend()).dial(t)
	if p := cl.ask(sample(0, 13, &stranger)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("Produce: error %d", p.ErrorCode)
	}
	if p := cl.ask(sample(1, 13, &stranger)).(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.UnknownTopicID.Code || p.HighWatermark != -1 {
		t.Errorf("Fetch: error %d, high watermark %d", p.ErrorCode, p.HighWatermark)
	}
	if resp := cl.ask(sample(0, 13, topic)).(*kmsg.ProduceResponse); resp.Topics[0].TopicID != topic.ID || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("Produce by id: %+v", resp.Topics[0])
	}
}

func TestRecordsOfSeveralJournalsAreAnsweredTogether(t *testing.T) {
	c := newCluster()
	first, second := c.addTopic(t, "first", 1, nil), c.addTopic(t, "second", 1, nil)
	b := c.backend()
	held := holdAppends(&b)
	cl := start(t, c, Config{}, b).dial(t)
	req := sample(0, 9, first).(*kmsg.ProduceRequest)
	req.Topics = append(req.Topics, sample(0, 9, second).(*kmsg.ProduceRequest).Topics...)
	id := cl.send(req)
	one, two := <-held.calls, <-held.calls
	two.done([]ingest.Result{{BaseOffset: 2, LogStart: 1}})
	one.done([]ingest.Result{{Err: ingest.ErrUnavailable}})
	resp := cl.receive(req, id).(*kmsg.ProduceResponse)
	if p := resp.Topics[0].Partitions[0]; p.ErrorCode != kerr.RequestTimedOut.Code || p.BaseOffset != -1 {
		t.Errorf("first topic: %+v", p)
	}
	if p := resp.Topics[1].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 2 || p.LogStartOffset != 1 {
		t.Errorf("second topic: %+v", p)
	}
}

func TestInitProducerIDGivesNewIDs(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	seen := map[int64]bool{}
	for version := range int16(6) {
		req := &kmsg.InitProducerIDRequest{Version: version, ProducerID: -1, ProducerEpoch: -1}
		if version == 5 {
			req.ProducerID, req.ProducerEpoch = 1, 3 // recovers: gets a new id
		}
		resp := cl.ask(req).(*kmsg.InitProducerIDResponse)
		if resp.ErrorCode != 0 || resp.ProducerEpoch != 0 || seen[resp.ProducerID] {
			t.Errorf("v%d: %+v", version, resp)
		}
		seen[resp.ProducerID] = true
	}
	half := &kmsg.InitProducerIDRequest{Version: 3, ProducerID: 1, ProducerEpoch: -1}
	if resp := cl.ask(half).(*kmsg.InitProducerIDResponse); resp.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("id without epoch: %+v", resp)
	}
	c.change(func() { c.adminUp = false })
	lost := &kmsg.InitProducerIDRequest{Version: 3, ProducerID: -1, ProducerEpoch: -1}
	if resp := cl.ask(lost).(*kmsg.InitProducerIDResponse); resp.ErrorCode != kerr.CoordinatorLoadInProgress.Code || resp.ProducerID != -1 {
		t.Errorf("without a controller: %+v", resp)
	}
}
