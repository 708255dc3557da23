package kafka

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// siege is a server with little memory, and clients that hold it.
type siege struct {
	*running
	cluster *cluster
	topic   *metadata.Topic
	lines   *logBuffer
	refused *refusalCounter
	stop    chan struct{}
}

func besiege(t *testing.T) *siege {
	c := newCluster()
	s := &siege{cluster: c, lines: &logBuffer{}, refused: &refusalCounter{}, stop: make(chan struct{})}
	s.topic = c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	b := c.backend()
	b.Log, b.Metrics = slog.New(slog.NewTextHandler(s.lines, nil)), s.refused
	s.running = start(t, c, Config{Listener: listener.Config{MaxRequestBytes: 16 << 20, RequestMemory: 64 << 20}}, b)
	t.Cleanup(func() { close(s.stop) })
	return s
}

// attack opens connections that announce a frame of size bytes, send some of it, and
// go on with a byte each second if they trickle.
func (s *siege) attack(t *testing.T, connections int, size int32, sent int, trickle bool) {
	for range connections {
		cl := s.dial(t)
		go func() {
			frame := append(head(size, 0, 9), 0, 0, 0, 1, 0, 4, 'e', 'v', 'i', 'l')
			if _, err := cl.nc.Write(append(frame, make([]byte, max(0, sent-len(frame)))...)); err != nil {
				return
			}
			for trickle {
				select {
				case <-time.After(time.Second):
				case <-s.stop:
					return
				}
				if _, err := cl.nc.Write([]byte{0}); err != nil {
					return
				}
			}
		}()
	}
}

// awaitShortage waits until requests wait for memory.
func (s *siege) awaitShortage(t *testing.T) {
	for range 10_000 {
		if slices.ContainsFunc(s.server.Memory(), func(p listener.PartUse) bool { return p.Waiting > 0 }) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("memory is not used up")
}

// goesOn fails unless a client can write a batch of size bytes and read, several times.
// One whose connection is closed tries again with another, as clients do.
func (s *siege) goesOn(t *testing.T, size int) {
	t.Helper()
	produce := produceOne(s.topic, -1, batchtest.Spec{Records: batchtest.Values(1, strings.Repeat("x", size))})
	requests := []kmsg.Request{produce, sample(1, 12, s.topic), sample(3, 12, s.topic)}
	cl := s.dial(t)
	for done, tries := 0, 0; done < 5*len(requests); {
		_, err := cl.nc.Write(encodeRequest(requests[done%len(requests)], 1))
		if err == nil {
			_, _, err = cl.frame()
		}
		if err == nil {
			done++
			continue
		}
		if tries++; tries == 20 {
			t.Fatalf("batches of %d bytes cannot be written: %v", size, err)
		}
		cl.nc.Close()
		cl = s.dial(t)
	}
	cl.nc.Close()
}

// TestFramesThatDoNotArriveStopNobody: however much of a frame is announced, or
// sent and then no more, other clients go on. A connection that holds memory
// that others need is cut, and named.
func TestFramesThatDoNotArriveStopNobody(t *testing.T) {
	for name, attack := range map[string]struct {
		size    int32
		sent    int
		trickle bool
		cuts    bool // they can use all of a part
	}{
		"only announced":       {size: 16 << 20, sent: 8},
		"a tiny part":          {size: 16 << 20, sent: 4 << 10},
		"a quarter":            {size: 16 << 20, sent: 4 << 20},
		"almost all":           {size: 4 << 20, sent: 4<<20 - 100, cuts: true},
		"almost all, trickled": {size: 4 << 20, sent: 4<<20 - 100, trickle: true, cuts: true},
		"small ones":           {size: 1 << 20, sent: 200 << 10},
		"small ones, trickled": {size: 128 << 10, sent: 120 << 10, trickle: true, cuts: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t)
			s.attack(t, 80, attack.size, attack.sent, attack.trickle)
			if attack.cuts {
				s.awaitShortage(t)
			}
			s.goesOn(t, 100)
			s.goesOn(t, 100<<10)
			s.goesOn(t, 3<<20)
			if cut := s.refused.of("holds_memory"); cut == 0 && attack.cuts || cut > 0 && attack.sent <= (4<<10) {
				t.Errorf("%d connections were cut", cut)
			}
			if attack.cuts && !strings.Contains(s.lines.String(), "requests wait for memory") {
				t.Errorf("log does not say what holds the memory:\n%s", s.lines)
			}
		})
	}
}

// TestAnswersThatAreNotReadStopNobody: a small request may ask for a large answer.
func TestAnswersThatAreNotReadStopNobody(t *testing.T) {
	s := besiege(t)
	for i := range 2000 {
		s.cluster.addTopic(t, fmt.Sprintf("a-topic-with-quite-a-long-name-%0100d", i), 1, nil)
	}
	s.goesOn(t, 100) // and the server knows how large the answers are
	before := heapNow()
	everything := kmsg.NewPtrMetadataRequest()
	everything.SetVersion(12)
	flight := bytes.Repeat(encodeRequest(everything, 1), inFlight)
	for range 80 {
		cl := s.dial(t)
		go cl.nc.Write(flight)
	}
	s.awaitShortage(t)
	if after := leastHeap(); after > before+200<<20 { // 16 MiB for each client without a bound
		t.Errorf("answers that are not read take %d bytes", after-before)
	}
	s.goesOn(t, 100)
	for tries := 0; s.refused.of("takes_slowly") == 0; tries++ {
		if tries == 10_000 {
			t.Fatal("no client is cut")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestAnswersThatWaitHoldWhatTheyHave: small answers behind one that waits for the bucket
// do not hold memory for large ones, which others need.
func TestAnswersThatWaitHoldWhatTheyHave(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	for i := range 2000 {
		c.addTopic(t, fmt.Sprintf("a-topic-with-quite-a-long-name-%0100d", i), 1, nil)
	}
	b := c.backend()
	held := holdAppends(&b)
	s := start(t, c, Config{Listener: listener.Config{MaxRequestBytes: 16 << 20, RequestMemory: 64 << 20}}, b)
	everything, one := kmsg.NewPtrMetadataRequest(), sample(3, 12, topic)
	everything.SetVersion(12)
	s.dial(t).ask(everything) // the server knows how large the answers are
	first := s.dial(t)
	first.send(produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, "a")}))
	call := <-held.calls
	for range 40 {
		first.send(one)
	}
	other := s.dial(t)
	for range 40 { // by then, those before have been begun
		other.ask(one)
	}
	call.done([]ingest.Result{{}})
}

// TestFetchWaitsForTheAnswerBefore: else its records would be held for as long as that
// takes, which may be minutes for a JoinGroup.
func TestFetchWaitsForTheAnswerBefore(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	held := holdAppends(&b)
	reading := &tellingReader{Reader: c, begun: make(chan struct{}, 1)}
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
	s := besiege(t)
	poll := longPoll(s.topic)
	in := &poll.Topics[0]
	for len(in.Partitions) < 100_000 {
		in.Partitions = append(in.Partitions, in.Partitions[0])
	}
	frame := encodeRequest(poll, 1)
	for range 10 {
		cl := s.dial(t)
		go func() {
			for {
				if _, err := cl.nc.Write(frame); err != nil {
					return
				}
				if _, _, err := cl.frame(); err != nil {
					return
				}
			}
		}()
	}
	s.awaitShortage(t)
	s.goesOn(t, 3<<20)
	if n := s.refused.of("no_memory"); n > 0 {
		t.Errorf("%d requests got no memory for a minute", n)
	}
}
