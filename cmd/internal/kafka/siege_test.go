package kafka

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// siege is a server with little memory, and clients that hold it.
type siege struct {
	*running
	topic   *metadata.Topic
	lines   *logBuffer
	refused *refusalCounter
	stop    chan struct{}
}

func besiege(t *testing.T) *siege {
	c := newCluster()
	s := &siege{lines: &logBuffer{}, refused: &refusalCounter{}, stop: make(chan struct{})}
	s.topic = c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	b := c.backend()
	b.Log, b.Metrics = slog.New(slog.NewTextHandler(s.lines, nil)), s.refused
	s.running = start(t, c, Config{MaxRequestBytes: 16 << 20, RequestMemory: 64 << 20}, b)
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
		b := s.server.budget
		b.mu.Lock()
		short := slices.ContainsFunc(b.parts[:], func(p pool) bool { return len(p.waiting) > 0 })
		b.mu.Unlock()
		if short {
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

// TestFramesThatDoNotArriveStopNobody: however much of a frame is announced, or sent
// and then no more, others go on. What holds memory that others need is cut, and named.
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
			if cut := s.refused.of("holds_memory"); cut == 0 && attack.cuts || cut > 0 && attack.sent <= tinyFrame {
				t.Errorf("%d connections were cut", cut)
			}
			if attack.cuts && !strings.Contains(s.lines.String(), "requests wait for memory") {
				t.Errorf("log does not say what holds the memory:\n%s", s.lines)
			}
		})
	}
}
