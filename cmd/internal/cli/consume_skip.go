package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/batch"
)

const (
	// stuckAfter is how long no record comes before the printer checks the
	// partitions whose ends are not reached: the client does not report some
	// batches that it cannot decode. Checks become rarer, up to one in
	// stuckMost.
	stuckAfter = 2 * time.Second
	stuckMost  = time.Minute
	// maxGaps limits how many gaps between offsets are checked in vain: a
	// compacted topic has many.
	maxGaps = 16
	// maxRecordSize limits the memory for decoding a batch.
	maxRecordSize = 64 << 20
)

// stuck finds the batches that no client can decode, and skips them if it may.
type stuck struct {
	skip    bool // go on after them; otherwise they end the command
	connect func(context.Context) (*kgo.Client, error)
	client  *kgo.Client   // for the checks: the reading client has a request under way that may take long
	cause   error         // error with which the client gave a partition up
	wait    time.Duration // silence until the next check; 0 is stuckAfter
	looks   int           // checks of gaps without an undecodable batch
	batches int
	offsets int64
}

// undecodable is a batch that cannot be decoded.
type undecodable struct {
	topic       string
	partition   int32
	first, last int64 // the offsets of it that are wanted
	err         error
}

func (u *undecodable) Error() string {
	return fmt.Sprintf("the batch with offsets %d to %d of %s/%d cannot be decoded: %v", u.first, u.last, u.topic, u.partition, u.err)
}

// find is findUndecodable with a client of its own.
func (s *stuck) find(ctx context.Context, at map[string]map[int32]int64) (found []*undecodable, err error) {
	if s.client == nil {
		if s.client, err = s.connect(ctx); err != nil {
			return nil, err
		}
	}
	return findUndecodable(ctx, s.client, at)
}

func (s *stuck) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// due reports whether it is time to check why no record comes.
func (s *stuck) due(silent time.Duration) bool {
	if s.cause == nil && silent < max(s.wait, stuckAfter) {
		return false
	}
	s.wait = silent + min(max(silent, stuckAfter), stuckMost)
	return true
}

// pass looks for batches that keep partitions from going on, and skips them or
// returns an error about them. passed reports that it skipped one.
func (p *printer) pass(ctx context.Context, client *kgo.Client) (passed bool, err error) {
	cause := p.stuck.cause
	p.stuck.cause = nil
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	bad, err := p.stuck.find(ctx, p.positions())
	switch {
	case cause != nil && (err != nil || len(bad) == 0):
		return false, cause
	case err != nil:
		p.trouble = err
		return false, nil
	case len(bad) > 0 && !p.stuck.skip:
		return false, refuse(bad[0])
	}
	for _, u := range bad {
		p.skip(client, u)
	}
	return len(bad) > 0, nil
}

// skip goes on after a batch.
func (p *printer) skip(client *kgo.Client, u *undecodable) {
	if p.members != nil {
		p.members.mu.Lock()
		defer p.members.mu.Unlock()
	}
	s := p.spans[u.topic][u.partition]
	if s == nil || s.next > u.last {
		return
	}
	s.next = u.last + 1
	client.SetOffsets(map[string]map[int32]kgo.EpochOffset{u.topic: {u.partition: {Epoch: -1, Offset: s.next}}})
	p.stuck.skipped(u, p.meter)
}

func (s *stuck) skipped(u *undecodable, m *meter) {
	s.batches++
	s.offsets += u.last - u.first + 1
	m.note("skipped: %s", oneLine(u))
}

// refuse is the error about a batch that is not to be skipped.
func refuse(u *undecodable) error {
	return fmt.Errorf("%w; its bytes are as a client wrote them; --skip-undecodable goes on after it", u)
}

// checkGaps checks the offsets that are left out: the client passes over some
// batches that it cannot decode, and does not report them. It removes the
// records after such a batch from the fetches, unless the batch is to be
// skipped; the error says why.
func (p *printer) checkGaps(ctx context.Context, fetches kgo.Fetches) error {
	for i := range fetches {
		for j := range fetches[i].Topics {
			topic := &fetches[i].Topics[j]
			for k := range topic.Partitions {
				part := &topic.Partitions[k]
				next, ok := p.position(topic.Topic, part.Partition)
				if !ok || len(part.Records) == 0 {
					continue
				}
				n, err := p.checkGap(ctx, part.Records, next)
				if err != nil {
					part.Records = part.Records[:n]
					return err
				}
			}
		}
	}
	return nil
}

// checkGap is checkGaps for one partition, of which next is wanted. With an
// error it returns how many records stand before the batch.
func (p *printer) checkGap(ctx context.Context, records []*kgo.Record, next int64) (n int, err error) {
	for n, r := range records {
		if r.Offset > next && p.stuck.looks < maxGaps {
			bad, err := p.stuck.find(ctx, map[string]map[int32]int64{r.Topic: {r.Partition: next}})
			switch {
			case err != nil || len(bad) == 0: // also if the check fails: the gap then counts as a gap
				p.stuck.looks++
			case !p.stuck.skip:
				return n, refuse(bad[0])
			default:
				p.stuck.skipped(bad[0], p.meter)
			}
		}
		next = max(next, r.Offset+1)
	}
	return len(records), nil
}

// summary prints how many offsets were skipped.
func (p *printer) summary() {
	if p.stuck.batches > 0 {
		p.meter.note("skipped %d offsets in %s, because their records cannot be decoded", p.stuck.offsets, batches(p.stuck.batches))
	}
}

func batches(n int) string {
	if n == 1 {
		return "one batch"
	}
	return fmt.Sprintf("%d batches", n)
}

// position returns the next wanted offset of a partition; false if there is
// none.
func (p *printer) position(topic string, partition int32) (next int64, ok bool) {
	if p.members != nil {
		p.members.mu.Lock()
		defer p.members.mu.Unlock()
	}
	s := p.spans[topic][partition]
	if s == nil || s.done() {
		return 0, false
	}
	return s.next, true
}

// positions returns the next wanted offsets, by topic and partition.
func (p *printer) positions() map[string]map[int32]int64 {
	if p.members != nil {
		p.members.mu.Lock()
		defer p.members.mu.Unlock()
	}
	at := map[string]map[int32]int64{}
	for topic, byPartition := range p.spans {
		at[topic] = map[int32]int64{}
		for partition, s := range byPartition {
			if !s.done() {
				at[topic][partition] = s.next
			}
		}
	}
	return at
}

// findUndecodable checks the next batch of each partition that has one.
func findUndecodable(ctx context.Context, client *kgo.Client, at map[string]map[int32]int64) (found []*undecodable, err error) {
	for topic, next := range at {
		ends, err := listed(kadm.NewClient(client).ListEndOffsets(ctx, topic))
		if err != nil {
			return nil, fmt.Errorf("find offsets of topic %q: %w", topic, err)
		}
		var meta *kmsg.MetadataResponseTopic
		for partition, offset := range next {
			if end, ok := ends.Lookup(topic, partition); !ok || end.Offset <= offset {
				continue
			}
			if meta == nil {
				t, err := askTopic(ctx, client, topic)
				if err != nil {
					return nil, err
				}
				meta = &t
			}
			bad, err := lookAt(ctx, client, meta, partition, offset)
			if err != nil {
				return nil, fmt.Errorf("look at offset %d of %s/%d: %w", offset, topic, partition, err)
			}
			if bad != nil {
				bad.topic, bad.partition = topic, partition
				found = append(found, bad)
			}
		}
	}
	return found, nil
}

// lookAt reads the batch that holds an offset, and returns why it cannot be
// decoded, or nil if it can.
func lookAt(ctx context.Context, client *kgo.Client, topic *kmsg.MetadataResponseTopic, partition int32, offset int64) (*undecodable, error) {
	b, err := fetchRaw(ctx, client, topic, partition, offset)
	if err != nil {
		return nil, err
	}
	for len(b) > 0 {
		h, err := batch.Parse(b)
		switch {
		case errors.Is(err, batch.ErrShort): // it was cut by the limit of the request
			return nil, nil
		case err != nil:
			return nil, err
		case h.LastOffset() < offset:
			b = b[h.Size():]
			continue
		}
		err = batch.Records(b, maxRecordSize, func(batch.Record) bool { return true })
		if err == nil || errors.Is(err, batch.ErrDecompress) {
			return nil, nil
		}
		return &undecodable{first: max(offset, h.BaseOffset), last: h.LastOffset(), err: err}, nil
	}
	return nil, nil
}

// fetchRaw reads at least the batch that holds an offset, with one request.
func fetchRaw(ctx context.Context, client *kgo.Client, topic *kmsg.MetadataResponseTopic, partition int32, offset int64) ([]byte, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes = -1, 1, fetchPartitionBytes
	ofTopic, ofPartition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	if topic.Topic != nil {
		ofTopic.Topic = *topic.Topic
	}
	ofTopic.TopicID = topic.TopicID
	ofPartition.Partition, ofPartition.FetchOffset, ofPartition.PartitionMaxBytes = partition, offset, 1 // one batch comes in any case
	ofPartition.CurrentLeaderEpoch = -1
	ofTopic.Partitions = append(ofTopic.Partitions, ofPartition)
	req.Topics = append(req.Topics, ofTopic)
	leader := int32(-1)
	for _, p := range topic.Partitions {
		if p.Partition == partition {
			leader = p.Leader
		}
	}
	got, err := client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := got.(*kmsg.FetchResponse)
	if !ok || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.Join(errors.New("the broker answers for other partitions"), kerr.ErrorForCode(resp.ErrorCode))
	}
	answer := &resp.Topics[0].Partitions[0]
	return answer.RecordBatches, errors.Join(kerr.ErrorForCode(resp.ErrorCode), kerr.ErrorForCode(answer.ErrorCode))
}
