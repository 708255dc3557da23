package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestFetchWaitsForTheAnswerBefore: else its records would be held for as long as that
// takes, which may be minutes for a JoinGroup.
func TestFetchWaitsForTheAnswerBefore(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	held := holdAppends(&b)
	reading := &reportingReader{Reader: c, begun: make(chan struct{}, 1)}
	b.Reader = reading
	cl := start(t, c, Config{}, b).dial(t)
	produce, fetch := produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, "a")}), sample(1, 12, topic)
	first, second := cl.send(produce), cl.send(fetch)
	call := <-held.calls
	select {
	case <-reading.begun:
		t.Error("a Fetch is begun before the answer before it")
	case <-time.After(20 * time.Millisecond):
	}
	call.done([]ingest.Result{{}})
	cl.receive(produce, first)
	cl.receive(fetch, second)
}

// TestLongPollsGiveUpTheirMemory: requests that wait for records hold memory for minutes;
// they are answered when others need it.
func TestLongPollsGiveUpTheirMemory(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	r := start(t, c, Config{Listener: listener.Config{MaxRequestBytes: 16 << 20, RequestMemory: 64 << 20}}, c.backend())
	poll := longPoll(topic)
	in := &poll.Topics[0]
	for len(in.Partitions) < 100_000 {
		in.Partitions = append(in.Partitions, in.Partitions[0])
	}
	frame := listenertest.Encode(poll, 1)
	for range 10 {
		cl := r.dial(t)
		go func() {
			for {
				if _, err := cl.Write(frame); err != nil {
					return
				}
				if _, _, err := cl.Frame(); err != nil {
					return
				}
			}
		}()
	}
	listenertest.AwaitShortage(t, r.server)
	produce := produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, strings.Repeat("x", 3<<20))})
	listenertest.ExpectAnswers(t, r.addr, listenertest.Encode(produce, 1), listenertest.Encode(sample(1, 12, topic), 1), listenertest.Encode(sample(3, 12, topic), 1))
	if n := r.counts.RefusedFor("no_memory"); n > 0 {
		t.Errorf("%d requests got no memory for a minute", n)
	}
}
