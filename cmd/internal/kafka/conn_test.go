package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// heldAppends is an Appender whose answers the test gives.
type heldAppends struct {
	Appender // deletes nothing
	calls    chan heldAppend
}

type heldAppend struct {
	acks    ingest.Acks
	batches []ingest.Batch
	done    func([]ingest.Result)
}

func (h *heldAppends) Append(_ context.Context, acks ingest.Acks, batches []ingest.Batch, done func([]ingest.Result)) {
	h.calls <- heldAppend{acks, batches, done}
}

func holdAppends(b *Backend) *heldAppends {
	h := &heldAppends{calls: make(chan heldAppend, 256)}
	b.Appender = func(uint32) Appender { return h }
	return h
}

func produceOne(t *metadata.Topic, acks int16, spec batchtest.Spec) *kmsg.ProduceRequest {
	req := sample(0, 9, t).(*kmsg.ProduceRequest)
	req.Acks = acks
	req.Topics[0].Partitions[0].Records = batchtest.Build(spec)
	return req
}

func TestPipelinedProducesAreAppendedInOrderAndAnsweredInOrder(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	held := holdAppends(&b)
	cl := start(t, c, Config{}, b).dial(t)
	const n = 5
	var requests []*kmsg.ProduceRequest
	var calls []heldAppend
	for i := range n {
		req := produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, "a"), ProducerID: 1, Sequence: int32(i)})
		requests = append(requests, req)
		cl.send(req)
	}
	for i := range n { // all five are under way before the first is answered
		call := <-held.calls
		if got := call.batches[0].Header.BaseSequence; got != int32(i) {
			t.Fatalf("append %d has sequence %d", i, got)
		}
		calls = append(calls, call)
	}
	for i, call := range slices.Backward(calls) {
		call.done([]ingest.Result{{BaseOffset: int64(100 + i)}})
	}
	for i, req := range requests {
		resp := cl.receive(req, int32(i+1)).(*kmsg.ProduceResponse)
		if got := resp.Topics[0].Partitions[0].BaseOffset; got != int64(100+i) {
			t.Errorf("answer %d has offset %d", i, got)
		}
	}
}

func TestOtherRequestsAreWorkedOnWhileAProduceWaits(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	held := holdAppends(&b)
	cl := start(t, c, Config{}, b).dial(t)
	produce := produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, "a")})
	create := sample(19, 7, topic)
	first, second := cl.send(produce), cl.send(create)
	call := <-held.calls
	for made := false; !made; time.Sleep(time.Millisecond) {
		_, made = c.Topic("made-by-v7")
	}
	call.done([]ingest.Result{{}})
	cl.receive(produce, first)
	cl.receive(create, second)
}

func TestAcks0IsNotAnswered(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	cl.send(produceOne(topic, 0, batchtest.Spec{Records: batchtest.Values(1, "a")}))
	cl.ask(sample(18, 0, topic)) // receives the answer to this one only
}

func TestFailedAcks0ClosesTheConnection(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	c.change(func() { c.fails = ingest.ErrUnavailable })
	cl := start(t, c, Config{}, c.backend()).dial(t)
	before := sample(18, 0, topic)
	id := cl.send(before)
	cl.send(produceOne(topic, 0, batchtest.Spec{Records: batchtest.Values(1, "a")}))
	cl.receive(before, id) // answers before it still go out
	cl.ExpectClosed()
}

func TestClientThatLeavesEndsItsLongPoll(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	r := start(t, c, Config{}, c.backend())
	cl := r.dial(t)
	cl.send(longPoll(topic))
	cl.Close()
	r.counts.AwaitOpen(t, 0)
}

func longPoll(topic *metadata.Topic) *kmsg.FetchRequest {
	req := sample(1, 12, topic).(*kmsg.FetchRequest)
	req.MaxWaitMillis = 300_000
	return req
}

func TestServerAnswersWhatIsUnderWayBeforeItStops(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	held := holdAppends(&b)
	reading := &reportingReader{Reader: c, begun: make(chan struct{}, 1)}
	b.Reader = reading
	r := start(t, c, Config{}, b)
	producer, consumer, partial := r.dial(t), r.dial(t), r.dial(t)
	produce, poll := produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, "a")}), longPoll(topic)
	id, pollID := producer.send(produce), consumer.send(poll)
	if _, err := partial.Write([]byte{0, 0}); err != nil {
		t.Fatal(err)
	}
	call := <-held.calls
	<-reading.begun
	r.stop()
	partial.ExpectClosed()
	consumer.receive(poll, pollID)
	consumer.ExpectClosed()
	call.done([]ingest.Result{{BaseOffset: 42}})
	if resp := producer.receive(produce, id).(*kmsg.ProduceResponse); resp.Topics[0].Partitions[0].BaseOffset != 42 {
		t.Errorf("answer is %+v", resp)
	}
	producer.ExpectClosed()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if nc, err := net.Dial("tcp", r.addr); err == nil {
		nc.Close()
		t.Error("the port is still open")
	}
}

// reportingReader reports when a Fetch has begun.
type reportingReader struct {
	Reader
	begun chan struct{}
}

func (r *reportingReader) Fetch(ctx context.Context, req fetch.Request) ([]fetch.Result, func()) {
	r.begun <- struct{}{}
	return r.Reader.Fetch(ctx, req)
}

// turns is a Reader that notes when it is asked while it works. Its first Fetch
// waits until the server has received all.
type turns struct {
	Reader
	received   chan struct{} // closed when all are
	working    atomic.Int32
	asked      atomic.Int32
	overlapped chan struct{} // has one in it when two were worked on at once
}

func (o *turns) Fetch(ctx context.Context, req fetch.Request) ([]fetch.Result, func()) {
	defer o.working.Add(-1)
	if o.working.Add(1) > 1 {
		select {
		case o.overlapped <- struct{}{}:
		default:
		}
	}
	if o.asked.Add(1) == 1 {
		<-o.received
		select {
		case <-o.overlapped:
			o.overlapped <- struct{}{}
		case <-time.After(50 * time.Millisecond): // only to give the others a chance to be wrong
		}
	}
	return o.Reader.Fetch(ctx, req)
}

func TestFetchesOfAConnectionAreWorkedOnOneByOne(t *testing.T) {
	const fetches = 20
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	o := &turns{Reader: c, received: make(chan struct{}), overlapped: make(chan struct{}, 1)}
	var requests atomic.Int32
	b := c.backend()
	b.Reader = o
	b.Now = func() time.Time { // once for each request that is received, then for each answer
		if requests.Add(1) == fetches+1 {
			close(o.received)
		}
		return c.now
	}
	cl := start(t, c, Config{}, b).dial(t)
	var ids []int32
	req := sample(1, 12, topic).(*kmsg.FetchRequest)
	req.MaxWaitMillis = 1
	for range fetches {
		ids = append(ids, cl.send(req))
	}
	last := sample(18, 0, nil) // its arrival shows that the server has begun the others
	lastID := cl.send(last)
	for _, id := range ids {
		cl.receive(req, id)
	}
	cl.receive(last, lastID)
	if n := o.asked.Load(); n != fetches {
		t.Errorf("the reader was asked %d times, want %d", n, fetches)
	}
	if len(o.overlapped) > 0 {
		t.Error("a Fetch was worked on together with the one before it")
	}
}

// lent is a Reader whose records are of no use once they are released.
type lent struct {
	Reader
	records  []byte
	released chan struct{}
}

func (l *lent) Fetch(_ context.Context, req fetch.Request) ([]fetch.Result, func()) {
	results := make([]fetch.Result, len(req.Partitions))
	results[0].Records = [][]byte{l.records}
	return results, func() {
		clear(l.records)
		close(l.released)
	}
}

func TestRecordsAreHeldUntilTheyAreWritten(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	// More than the buffers of a socket take, so that writing waits for the client.
	l := &lent{Reader: c, records: bytes.Repeat([]byte("r"), 24<<20), released: make(chan struct{})}
	b := c.backend()
	b.Reader = l
	cl := start(t, c, Config{}, b).dial(t)
	req := sample(1, 12, topic).(*kmsg.FetchRequest)
	id := cl.send(req)
	select {
	case <-l.released:
		t.Error("records were released before they were written")
	case <-time.After(50 * time.Millisecond): // only to give the server a chance to be wrong
	}
	resp := cl.receive(req, id).(*kmsg.FetchResponse)
	if got := resp.Topics[0].Partitions[0].RecordBatches; len(got) != len(l.records) || bytes.Count(got, []byte("r")) != len(got) {
		t.Errorf("got %d bytes, want %d, all of them as they were", len(got), len(l.records))
	}
	<-l.released
}

func TestUnforeseenErrorsAreRetriable(t *testing.T) {
	for on := range surfaces {
		code, known := codeOf(fmt.Errorf("wrapped: %w", errors.New("new")), on)
		if known || code == kerr.UnknownServerError.Code || !kerr.IsRetriable(kerr.ErrorForCode(code)) {
			t.Errorf("surface %d: code %d, known %v", on, code, known)
		}
	}
	allowed := []int16{1, 3, 6, 9, 29, 56, 74, 75, 78, 100, 103, 2, -1} // by Java's FetchCollector
	for _, row := range codesOf {
		if code := row.codes[onFetch]; code != nil && !slices.Contains(allowed, code.Code) {
			t.Errorf("%v becomes %d in a fetch, on which Java consumers throw", row.err, code.Code)
		}
	}
}
