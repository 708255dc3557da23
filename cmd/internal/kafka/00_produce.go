package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// Produce, key 0.
//
//	v0-2   message formats 0 and 1: advertised, because librdkafka before 2.11.1
//	       otherwise turns compression off silently (KAFKA-18659), and refused
//	       partition by partition
//	v3     record batches of format 2, transactional id (KIP-98)
//	v4     KAFKA_STORAGE_ERROR may be answered
//	v5     log start offset (KIP-207)
//	v7     zstd (KIP-110)
//	v8     error messages and errors of records (KIP-467)
//	v9     flexible
//	v10    current leader in answers (KIP-951)
//	v11-12 TRANSACTION_ABORTABLE, implicit adding to transactions (KIP-890)
//	v13    topic ids (KIP-516)
func init() {
	register(listener.API{
		Key: kmsg.Produce, Min: 0, Max: 13, Pooled: true,
		Shape: shape{
			str().From(3), num(2), num(4),
			listOf(sizeOf[kmsg.ProduceRequestTopic](),
				str().To(12), num(16).From(13),
				listOf(sizeOf[kmsg.ProduceRequestTopicPartition](), num(4), raw())),
		},
	}, func(s *services) listener.Handler { return s.writing.beginProduce })
}

// The first versions of Produce with these features.
const (
	produceBatches  = 3
	produceZstd     = 7
	produceMessages = 8
	produceLeader   = 10
	produceTopicIDs = 13
)

// produce is one Produce request under way.
type produce struct {
	service *writeService
	request *listener.Request
	body    *kmsg.ProduceRequest
	nowMs   int64
	answer  *kmsg.ProduceResponse
	topics  []*metadata.Topic // of the answer; nil for those that are not known
	groups  []*produceGroup   // by journal, in the order of the request
	waiting atomic.Int32      // groups not answered yet, and the one that counts them
}

// produceGroup is the part of a request for one journal.
type produceGroup struct {
	journal  uint32
	appender Appender
	batches  []ingest.Batch
	slots    []*kmsg.ProduceResponseTopicPartition // slots for the results
}

// beginProduce checks every batch and enqueues those that pass, journal by
// journal. It runs in the connection's reader, so batches reach a journal in
// the order in which they arrived.
func (s *writeService) beginProduce(ctx context.Context, r *listener.Request) {
	p := &produce{service: s, request: r, body: r.Body.(*kmsg.ProduceRequest), nowMs: s.now().UnixMilli()}
	p.answer = kmsg.NewPtrProduceResponse()
	p.answer.SetVersion(r.Version)
	p.answer.Topics = make([]kmsg.ProduceResponseTopic, 0, len(p.body.Topics))
	for i := range p.body.Topics {
		p.topic(ctx, &p.body.Topics[i])
	}
	p.enqueue(ctx)
}

func (p *produce) topic(ctx context.Context, in *kmsg.ProduceRequestTopic) {
	out := kmsg.NewProduceResponseTopic()
	out.Topic, out.TopicID = in.Topic, in.TopicID
	out.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(in.Partitions))
	t, unknown := p.service.gate.topic(p.request, toWrite, topicRef{in.Topic, in.TopicID, p.request.Version >= produceTopicIDs})
	for i := range in.Partitions {
		slot := &out.Partitions[i]
		slot.Default()
		slot.Partition = in.Partitions[i].Partition
		slot.BaseOffset = -1
		var err error
		switch {
		case p.refusal() != nil:
			err = p.refusal()
		case unknown != nil:
			err = unknown
		default:
			err = p.partition(ctx, t, in.Partitions[i].Records, slot)
		}
		if err != nil {
			p.fail(slot, err)
		}
	}
	p.answer.Topics = append(p.answer.Topics, out)
	p.topics = append(p.topics, t)
}

// refusal returns why the request as a whole is refused, or nil.
func (p *produce) refusal() error {
	switch {
	case p.service.readsOnly():
		return metadata.ErrReadsOnly
	case p.request.Version < produceBatches:
		return coded(kerr.UnsupportedVersion, "Produce v%d writes message formats before 2, use a client of Kafka 0.11 or later", p.request.Version)
	case p.body.Acks < -1 || p.body.Acks > 1:
		return coded(kerr.InvalidRequiredAcks, "acks is %d, must be -1, 0 or 1", p.body.Acks)
	case p.body.TransactionID != nil:
		return coded(kerr.InvalidTxnState, "transactions are not supported yet")
	}
	return nil
}

// partition checks one batch, in Kafka's order of checks, and adds it to the
// group of its journal.
func (p *produce) partition(ctx context.Context, t *metadata.Topic, records []byte, slot *kmsg.ProduceResponseTopicPartition) error {
	t, err := p.service.gate.withPartition(p.request, t, slot.Partition)
	if err != nil {
		return err
	}
	if t.Internal() {
		return metadata.ErrInternalTopic
	}
	h, err := batch.Validate(records, int(t.Values.MaxMessageBytes))
	if err != nil {
		return err
	}
	switch {
	case h.Compression() == batch.Zstd && p.request.Version < produceZstd:
		return coded(kerr.UnsupportedCompressionType, "zstd needs Produce v%d or later", produceZstd)
	case h.Transactional():
		return coded(kerr.InvalidTxnState, "transactions are not supported yet")
	}
	group, err := p.group(t.Partitions[slot.Partition].Journal)
	if err != nil {
		return err
	}
	if h, err = p.checkRecords(ctx, t, records, h, slot); err != nil {
		return err
	}
	group.batches = append(group.batches, ingest.Batch{
		Key: partlog.Key{Topic: t.ID, Index: slot.Partition}, Data: records, Header: h, Memory: p.request.Memory(),
	})
	group.slots = append(group.slots, slot)
	return nil
}

// group returns the group of a journal that is led here.
func (p *produce) group(journal uint32) (*produceGroup, error) {
	for _, g := range p.groups {
		if g.journal == journal {
			return g, nil
		}
	}
	appender := p.service.appender(journal)
	if appender == nil {
		return nil, ingest.ErrNotLeader
	}
	g := &produceGroup{journal: journal, appender: appender}
	p.groups = append(p.groups, g)
	return g, nil
}

// hint names the leader of a partition that is led elsewhere, so that the client need not
// ask (KIP-951).
func (p *produce) hint(t *metadata.Topic, slot *kmsg.ProduceResponseTopicPartition) {
	if p.request.Version < produceLeader || slot.ErrorCode != kerr.NotLeaderForPartition.Code {
		return
	}
	leader, ok := p.service.topology.leaderOf(p.request.Client, t, slot.Partition)
	if !ok {
		return
	}
	slot.CurrentLeader.LeaderID, slot.CurrentLeader.LeaderEpoch = leader.node.id, leader.epoch
	for _, b := range p.answer.Brokers {
		if b.NodeID == leader.node.id {
			return
		}
	}
	b := kmsg.NewProduceResponseBroker()
	b.NodeID, b.Host, b.Port, b.Rack = leader.node.id, leader.node.Host, leader.node.Port, leader.node.rack
	p.answer.Brokers = append(p.answer.Brokers, b)
}

// checkRecords walks the records of a batch, and sets its times: the true
// maximum, or the broker's time. It returns the changed header.
func (p *produce) checkRecords(ctx context.Context, t *metadata.Topic, records []byte, h batch.Header, slot *kmsg.ProduceResponseTopicPartition) (batch.Header, error) {
	newest, err := p.walk(ctx, records, h, rulesOf(&t.Values, p.nowMs))
	switch {
	case err != nil:
		return h, p.nameRecords(slot, &t.Values, err)
	case t.Values.LogAppendTime:
		batch.SetLogAppendTime(records, p.nowMs)
		slot.LogAppendTime = p.nowMs
	case newest != h.MaxTimestamp:
		batch.SetMaxTimestamp(records, newest) // the client's own value does not count
	default:
		return h, nil
	}
	return batch.Parse(records)
}

// walkWait limits the wait for memory to decompress records.
const walkWait = time.Minute

var errWalkMemory = errors.New("no memory to decompress records")

// walk walks the records of a batch, in memory of the budget if they have to be
// decompressed.
func (p *produce) walk(ctx context.Context, records []byte, h batch.Header, rules batch.Rules) (maxTimestamp int64, err error) {
	if h.Compression() == batch.None {
		return batch.Check(ctx, nil, records, h, rules)
	}
	waiting, cancel := context.WithTimeoutCause(ctx, walkWait, fmt.Errorf("%w within %v", errWalkMemory, walkWait))
	defer cancel()
	return batch.Check(waiting, p.service.walk, records, h, rules)
}

// rulesOf returns a topic's rules for records. Limits of timestamps apply only
// to topics that keep the producers' timestamps.
func rulesOf(c *topicconfig.Values, nowMs int64) batch.Rules {
	rules := batch.Rules{Keys: c.Compact, Oldest: math.MinInt64, Newest: math.MaxInt64}
	if !c.LogAppendTime {
		rules.Oldest = nowMs - c.TimestampBeforeMaxMs
		rules.Newest = nowMs + min(c.TimestampAfterMaxMs, math.MaxInt64-nowMs)
	}
	return rules
}

// nameRecords names the records at fault, as KIP-467 describes, and returns the
// error of the whole batch. Other errors stay as they are.
func (p *produce) nameRecords(slot *kmsg.ProduceResponseTopicPartition, c *topicconfig.Values, err error) error {
	var bad batch.BadRecords
	if !errors.As(err, &bad) {
		return err
	}
	code := kerr.InvalidRecord
	if errors.Is(bad, batch.ErrTimestamp) {
		code = kerr.InvalidTimestamp
	}
	for _, r := range bad {
		text := r.Err.Error()
		if errors.Is(r.Err, batch.ErrTimestamp) {
			text = outOfBounds(c, r.Timestamp, p.nowMs)
		}
		named := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		named.RelativeOffset, named.ErrorMessage = r.Index, kmsg.StringPtr(text)
		slot.ErrorRecords = append(slot.ErrorRecords, named)
	}
	first := slot.ErrorRecords[0]
	if more := len(bad) - 1; more > 0 {
		return coded(code, "record %d: %s; and %d more records", first.RelativeOffset, *first.ErrorMessage, more)
	}
	return coded(code, "record %d: %s", first.RelativeOffset, *first.ErrorMessage)
}

// outOfBounds says which setting of the topic a timestamp violates.
func outOfBounds(c *topicconfig.Values, ts, nowMs int64) string {
	if ts > nowMs {
		return fmt.Sprintf("timestamp %d is %d ms ahead of the broker's clock; message.timestamp.after.max.ms of the topic is %d", ts, ts-nowMs, c.TimestampAfterMaxMs)
	}
	return fmt.Sprintf("timestamp %d is %d ms behind the broker's clock; message.timestamp.before.max.ms of the topic is %d", ts, nowMs-ts, c.TimestampBeforeMaxMs)
}

func (p *produce) fail(slot *kmsg.ProduceResponseTopicPartition, err error) {
	slot.BaseOffset, slot.LogAppendTime = -1, -1
	slot.ErrorCode = p.service.codeFor(err, onProduce, "Produce")
	if p.request.Version >= produceMessages && slot.ErrorCode != kerr.RequestTimedOut.Code {
		slot.ErrorMessage = kmsg.StringPtr(err.Error())
	}
}

// Limits of the time that a request waits for room; within them it is the
// request's time-out.
const (
	minRoomWait = time.Second
	maxRoomWait = 5 * time.Minute
)

// enqueue waits for room no longer than the client waits for the answer. Until
// then no more is read from the connection.
func (p *produce) enqueue(ctx context.Context) {
	wait := time.Duration(p.body.TimeoutMillis) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, min(max(wait, minRoomWait), maxRoomWait))
	defer cancel()
	p.waiting.Store(int32(len(p.groups)) + 1)
	p.answer.ThrottleMillis = p.service.throttleMillis(p.groups)
	for _, g := range p.groups {
		g.appender.Append(ctx, ingest.Acks(p.body.Acks), g.batches, func(results []ingest.Result) {
			for i, slot := range g.slots {
				p.settle(slot, results[i])
			}
			p.groupDone()
		})
	}
	p.groupDone()
}

// throttleMillis is how long the client should wait before its next request (KIP-219).
func (s *writeService) throttleMillis(groups []*produceGroup) int32 {
	var wait time.Duration
	if s.throttle != nil {
		for _, g := range groups {
			wait = max(wait, s.throttle(g.journal))
		}
	}
	return int32(wait.Milliseconds())
}

func (p *produce) settle(slot *kmsg.ProduceResponseTopicPartition, result ingest.Result) {
	if result.Err != nil {
		p.fail(slot, result.Err)
		return
	}
	slot.BaseOffset = result.BaseOffset
	slot.LogStartOffset = result.LogStart
}

// groupDone answers once the last group is done. The counter orders the groups'
// writes to their slots before the answer.
func (p *produce) groupDone() {
	switch {
	case p.waiting.Add(-1) > 0:
	case p.request.Version >= produceLeader && p.body.Acks != 0 && len(p.ledElsewhere()) > 0:
		p.request.Go(func() { // this is the goroutine of a journal
			p.service.topology.awaitLeaders(p.request.Waits(), p.ledElsewhere()...)
			p.reply()
		})
	default:
		p.reply()
	}
}

// ledElsewhere lists the topics of the partitions that are led elsewhere.
func (p *produce) ledElsewhere() (topics []*metadata.Topic) {
	for i := range p.answer.Topics {
		if slices.ContainsFunc(p.answer.Topics[i].Partitions, func(slot kmsg.ProduceResponseTopicPartition) bool {
			return slot.ErrorCode == kerr.NotLeaderForPartition.Code
		}) {
			topics = append(topics, p.topics[i])
		}
	}
	return topics
}

func (p *produce) reply() {
	var code firstCode
	for i := range p.answer.Topics {
		for j := range p.answer.Topics[i].Partitions {
			slot := &p.answer.Topics[i].Partitions[j]
			code.note(slot.ErrorCode)
			p.hint(p.topics[i], slot)
		}
	}
	switch {
	case p.body.Acks != 0:
		p.request.Reply(p.answer, int16(code))
	case code != 0:
		p.request.HangUp(fmt.Errorf("%w: %w", listener.ErrUnacked, kerr.ErrorForCode(int16(code))))
	default:
		p.request.ReplyNothing()
	}
}
