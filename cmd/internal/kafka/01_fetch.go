package kafka

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/session"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// Fetch, key 1.
//
//	v4     record batches of format 2, isolation level, last stable offset (KIP-98)
//	v5     log start offset (KIP-107)
//	v6     KAFKA_STORAGE_ERROR may be answered; it becomes
//	       NOT_LEADER_OR_FOLLOWER before (KIP-112)
//	v7     sessions (KIP-227). A request with epoch 0 or -1 is a full one, and closes
//	       the session that it names, if there is one. Epoch 0 opens a session, and
//	       session id 0 in the answer says that there is no room for it. Any other
//	       epoch continues a session: see runIncremental
//	v9     the client's leader epoch (KIP-320)
//	v10    zstd (KIP-110)
//	v11    rack and preferred read replica (KIP-392); see elsewhere
//	v12    flexible, last fetched epoch, cluster id, which is ignored
//	v13    topic ids (KIP-516)
//	v15    replica state in place of the replica id; both are ignored: every client is
//	       served as a consumer and sees nothing above the high watermark
//	v16    leaders and their addresses in answers (KIP-951)
//	v17-18 replica directories and high watermark of followers, ignored
func init() {
	register(listener.API{
		Key: kmsg.Fetch, Min: 4, Max: 18,
		Shape: shape{
			num(4).To(14), num(4), num(4), num(4), num(1), num(4).From(7), num(4).From(7),
			listOf(sizeOf[kmsg.FetchRequestTopic](),
				str().To(12), num(16).From(13),
				listOf(sizeOf[kmsg.FetchRequestTopicPartition](),
					num(4), num(4).From(9), num(8), num(4).From(12), num(8).From(5), num(4),
					tag(0, num(16)).From(17), tag(1, num(8)).From(18))),
			listOf(sizeOf[kmsg.FetchRequestForgottenTopic](), str().To(12), num(16).From(13), ints()).From(7),
			str().From(11),
			tag(0, str()), tag(1, structOf(num(4), num(8))).From(15),
		},
	}, func(s *services) listener.Handler { return s.reading.beginFetch })
}

// The first versions of Fetch with these features.
const (
	fetchStorageError = 6
	fetchSessions     = 7
	fetchZstd         = 10
	fetchFlexible     = 12
	fetchTopicIDs     = 13
	fetchLeaders      = 16
)

// shortPoll is how long a poll may wait without an offer to free its memory.
const shortPoll = time.Second

// maxFetchWait limits the long poll that a client may ask for.
const maxFetchWait = 5 * time.Minute

// readCommitted is the isolation level for which aborted transactions are
// listed: none, as long as there are no transactions.
const readCommitted = 1

// fetching is one Fetch request under way.
type fetching struct {
	service *readService
	request *listener.Request
	body    *kmsg.FetchRequest
	answer  fetchAnswer
	ask     fetch.Request
	slots   []fetchSlot // slots for the results of ask
	code    firstCode
}

type fetchSlot struct {
	topic *metadata.Topic // nil if it is not known
	out   *fetchedPartition
}

// beginFetch starts a Fetch when the answer before it on the connection has
// been written. So a client can make the server hold only one answer. None of
// it waits for the answer to another request, such as a JoinGroup that waits
// for members.
func (s *readService) beginFetch(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		if err := r.AfterPrevious(ctx); err != nil {
			r.HangUp(err)
			return
		}
		f := &fetching{service: s, request: r, body: r.Body.(*kmsg.FetchRequest)}
		f.run()
	})
}

func (f *fetching) run() {
	f.answer = fetchAnswer{version: f.request.Version, readCommitted: f.body.IsolationLevel == readCommitted}
	if f.request.Version >= fetchSessions && !session.Full(f.body.SessionEpoch) {
		f.runIncremental()
		return
	}
	opens := false
	if f.request.Version >= fetchSessions {
		f.service.sessions.close(f.request.Client, f.body.SessionID)
		opens = f.body.SessionEpoch == session.Initial
	}
	f.plan()
	results, release := f.poll(f.request.Waits())
	defer release()
	f.awaitLeaders(results, func(i int) *metadata.Topic { return f.slots[i].topic })
	for i, slot := range f.slots {
		f.fill(slot, results[i])
	}
	if f.cutShort() {
		f.request.HangUp(listener.ErrStopping)
		return
	}
	if opens {
		f.openSession()
	}
	f.reply()
	f.request.AwaitWritten() // the records must stay until they are written
}

// cutShort reports whether there may be more records than the answer has.
func (f *fetching) cutShort() bool { return f.request.Waits().Err() != nil && f.failed() }

// poll reads until waits ends. A long poll ends early if other requests need its memory.
func (f *fetching) poll(waits context.Context) (results []fetch.Result, release func()) {
	reader := f.service.reader
	if f.ask.MaxWait <= shortPoll {
		return reader.Fetch(waits, f.ask)
	}
	ctx, end := context.WithCancel(waits)
	defer end()
	f.request.MayEnd(end)
	results, release = reader.Fetch(ctx, f.ask)
	f.request.MayEnd(nil)
	if ctx.Err() != nil && waits.Err() == nil {
		return f.complete(results, release)
	}
	return results, release
}

// complete reads once more, without a wait, if a poll may have been cut while it read: its
// results may lack records.
func (f *fetching) complete(results []fetch.Result, release func()) ([]fetch.Result, func()) {
	if !slices.ContainsFunc(results, func(r fetch.Result) bool { return r.Err != nil }) {
		return results, release
	}
	release()
	f.ask.MaxWait = 0
	return f.service.reader.Fetch(f.request.Waits(), f.ask)
}

// failed reports whether a partition could not be read.
func (f *fetching) failed() bool { return f.code != 0 }

func (f *fetching) reply() {
	f.request.ReplyBuffers(f.answer.encode(f.request.AppendHead(nil, f.request.Version >= fetchFlexible)), int16(f.code))
}

// plan prepares the answer and the request to the reader.
func (f *fetching) plan() {
	f.answer.topics = make([]fetchedTopic, len(f.body.Topics))
	f.ask = f.limits()
	for i := range f.body.Topics {
		f.planTopic(&f.body.Topics[i], &f.answer.topics[i])
	}
	if f.failed() || len(f.slots) == 0 {
		f.ask.MaxWait = 0
	}
}

// limits returns the request to the reader, without partitions.
func (f *fetching) limits() fetch.Request {
	return fetch.Request{
		OnShort:  f.request.FreeAnswers,
		MinBytes: max(0, f.body.MinBytes),
		MaxBytes: min(max(0, f.body.MaxBytes), f.service.maxBytes),
		MaxWait:  min(time.Duration(max(0, f.body.MaxWaitMillis))*time.Millisecond, maxFetchWait),

		Elsewhere: f.elsewhere(),
	}
}

func (f *fetching) planTopic(in *kmsg.FetchRequestTopic, out *fetchedTopic) {
	out.name, out.id = in.Topic, in.TopicID
	out.partitions = make([]fetchedPartition, len(in.Partitions))
	t, err := f.service.gate.topic(f.request, toRead, topicRef{in.Topic, in.TopicID, f.request.Version >= fetchTopicIDs})
	for i := range in.Partitions {
		p, slot := &in.Partitions[i], &out.partitions[i]
		*slot = emptyPartition(p.Partition)
		err := err
		if err == nil {
			t, err = f.service.gate.withPartition(f.request, t, p.Partition)
		}
		if err != nil {
			slot.code = f.code.note(f.service.codeFor(err, onFetch, "Fetch"))
		} else {
			f.slots = append(f.slots, fetchSlot{topic: t, out: slot})
			f.ask.Partitions = append(f.ask.Partitions, fetch.Partition{
				Key: partlog.Key{Topic: t.ID, Index: p.Partition}, Offset: p.FetchOffset,
				MaxBytes: max(0, p.PartitionMaxBytes), LeaderEpoch: p.CurrentLeaderEpoch,
			})
		}
	}
}

// awaitLeaders waits for the leaders of partitions that are led elsewhere, so that the answer
// can name them. topic returns the topic of a result, nil if it is not known.
func (f *fetching) awaitLeaders(results []fetch.Result, topic func(i int) *metadata.Topic) {
	if f.request.Version < fetchLeaders {
		return
	}
	var topics []*metadata.Topic
	for i := range results {
		if errors.Is(results[i].Err, fetch.ErrNotLeader) {
			if t := topic(i); t != nil && !slices.Contains(topics, t) {
				topics = append(topics, t)
			}
		}
	}
	if len(topics) > 0 {
		f.service.topology.awaitLeaders(f.request.Waits(), topics...)
	}
}

// fill puts a partition's result into its slot.
func (f *fetching) fill(slot fetchSlot, result fetch.Result) {
	out := slot.out
	out.highWatermark, out.logStart = result.HighWatermark, result.LogStart
	if result.Err != nil {
		if !f.sentBack(slot, result.Err) {
			f.fillError(slot, result.Err)
		}
		return
	}
	out.preferred = result.Elsewhere
	out.records = result.Records
	if f.request.Version < fetchZstd {
		out.records = beforeZstd(result.Records)
		if len(out.records) == 0 && len(result.Records) > 0 {
			out.code = f.code.note(kerr.UnsupportedCompressionType.Code)
		}
	}
}

func (f *fetching) fillError(slot fetchSlot, err error) {
	out := slot.out
	code := f.service.codeFor(err, onFetch, "Fetch")
	if code == kerr.KafkaStorageError.Code && f.request.Version < fetchStorageError {
		code = kerr.NotLeaderForPartition.Code
	}
	out.code = f.code.note(code)
	if slot.topic != nil && f.request.Version >= fetchLeaders && (code == kerr.NotLeaderForPartition.Code || code == kerr.FencedLeaderEpoch.Code) {
		if l, ok := f.service.topology.leaderOf(f.request.Client, slot.topic, out.index); ok {
			out.leader, out.leaderEpoch = l.node.id, l.epoch
			f.answer.addNode(l.node)
		}
	}
}

// beforeZstd returns the batches before the first that is compressed with zstd,
// which old clients cannot read. Pieces may end inside a batch, so several are
// copied into one.
func beforeZstd(records [][]byte) [][]byte {
	if len(records) == 0 {
		return nil
	}
	all := records[0]
	if len(records) > 1 {
		all = bytes.Join(records, nil)
	}
	end := len(all)
	_ = batch.Walk(all, func(pos int, h batch.Header) error { // they were walked before
		if h.Compression() == batch.Zstd {
			end = pos
			return errZstd
		}
		return nil
	})
	if end == 0 {
		return nil
	}
	return [][]byte{all[:end:end]}
}

var errZstd = errors.New("zstd")
