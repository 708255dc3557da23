package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

// refusalCounter counts refusals by reason.
type refusalCounter struct {
	listener.NoMetrics
	mu     sync.Mutex
	counts map[string]int
}

func (m *refusalCounter) Refused(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = map[string]int{}
	}
	m.counts[reason]++
}

func (m *refusalCounter) of(reason string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[reason]
}

// head is the start of a frame.
func head(size int32, key, version int16) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	return binary.BigEndian.AppendUint16(b, uint16(version))
}

func TestBadFramesCloseTheirConnectionOnly(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "events", 1, nil)
	b := c.backend()
	counter, lines := &refusalCounter{}, &logBuffer{}
	b.Metrics, b.Log = counter, slog.New(slog.NewTextHandler(lines, nil))
	r := start(t, c, Config{}, b)
	bystander := r.dial(t)
	rest := make([]byte, 64)
	cases := []struct {
		name, reason string
		bytes        []byte
	}{
		{"negative size", "frame_size", head(-1, 18, 0)},
		{"lowest size", "frame_size", head(math.MinInt32, 18, 0)},
		{"empty", "frame_size", head(0, 18, 0)},
		{"shorter than a header", "frame_size", head(7, 18, 0)},
		{"over 100 MiB", "frame_size", head(100<<20+1, 0, 9)},
		{"over the limit of its key", "frame_size", head(listener.PlainFrame+1, 18, 0)},
		{"TLS", "frame_size", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
		{"HTTP", "frame_size", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"unknown key", "unknown_key", append(head(64, 9999, 0), rest...)},
		{"negative key", "unknown_key", append(head(64, -1, 0), rest...)},
		{"key that is not served", "unknown_key", append(head(64, 68, 0), rest...)},
		{"version too high", "unsupported_version", append(head(64, 3, 99), rest...)},
		{"version too low", "unsupported_version", append(head(64, 1, 3), rest...)},
		{"negative version", "unsupported_version", append(head(64, 3, -1), rest...)},
		{"client id beyond the frame", "malformed", append(head(10, 18, 0), 0, 0, 0, 1, 0x7f, 0xff)},
		{"no client id", "malformed", append(head(8, 18, 0), 0, 0, 0, 1)},
		{"body cut short", "malformed", append(head(11, 3, 1), 0, 0, 0, 1, 0xff, 0xff, 0)},
		{"half a frame", "", head(64, 3, 1)},
		{"half a size", "", []byte{0, 0}},
		{"nothing", "", nil},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			before := counter.of(tc.reason)
			cl := r.dial(t)
			if _, err := cl.nc.Write(tc.bytes); err != nil {
				t.Fatal(err)
			}
			if tc.reason == "" {
				cl.nc.(*net.TCPConn).CloseWrite()
			}
			cl.expectClosed()
			r.waitForConns(t, 1)
			if tc.reason != "" && counter.of(tc.reason) != before+1 {
				t.Errorf("not counted as %s: %v", tc.reason, counter.counts)
			}
		})
	}
	bystander.ask(sample(18, 4, nil))
	if n := strings.Count(lines.String(), "frame_size"); n > 0 || strings.Count(lines.String(), "\n") > 8 {
		t.Errorf("log is not held back:\n%s", lines)
	}
	if !strings.Contains(lines.String(), "frame size out of range") {
		t.Errorf("log does not say why:\n%s", lines)
	}
}

func TestEveryKeyAndVersionIsAnsweredOrClosed(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	r := start(t, c, Config{}, c.backend())
	for key := int16(-1); key < 100; key++ {
		for _, version := range []int16{-1, 0, 1, 5, 12, 20, math.MaxInt16} {
			a := apis()[key]
			cl := r.dial(t)
			frame := append(head(0, key, version), 0, 0, 0, 1, 0xff, 0xff)
			if a != nil && a.Supports(version) {
				frame = encodeRequest(sample(key, version, topic), 1)
			}
			binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
			if _, err := cl.nc.Write(frame); err != nil {
				t.Fatal(err)
			}
			if a != nil && (a.Supports(version) || key == kmsg.ApiVersions.Int16()) {
				if _, _, err := cl.frame(); err != nil {
					t.Errorf("key %d v%d: %v", key, version, err)
				}
			} else {
				cl.expectClosed()
			}
			cl.nc.Close()
		}
	}
}

func TestTrickledFramesAreCutOff(t *testing.T) {
	c := newCluster()
	b := c.backend()
	counter := &refusalCounter{}
	b.Metrics = counter
	r := start(t, c, Config{Listener: listener.Config{FrameGrace: 30 * time.Millisecond, MinReadRate: 1 << 30}}, b)
	cl := r.dial(t)
	for _, b := range append(head(1000, 18, 0), make([]byte, 992)...) {
		if _, err := cl.nc.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	r.waitForConns(t, 0)
	if counter.of("slow_sender") != 1 {
		t.Errorf("refusals are %v", counter.counts)
	}
}

// heapNow is the live heap in bytes.
func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// leastHeap is heapNow while much is allocated and let go: garbage that is made during a
// collection counts until the next one.
func leastHeap() uint64 {
	least := heapNow()
	for range 9 {
		time.Sleep(10 * time.Millisecond)
		least = min(least, heapNow())
	}
	return least
}

func TestAnnouncedFramesCostNoMemoryUntilTheyArrive(t *testing.T) {
	c := newCluster()
	r := start(t, c, Config{}, c.backend())
	before := heapNow()
	const n = 200
	for range n {
		cl := r.dial(t)
		if _, err := cl.nc.Write(append(head(100<<20, 0, 9), make([]byte, 100)...)); err != nil {
			t.Fatal(err)
		}
	}
	r.waitForConns(t, n)
	if after := heapNow(); after > before+n*(8*(4<<10)) {
		t.Errorf("%d announced frames of 100 MiB cost %d bytes", n, after-before)
	}
}

func TestFlightOfPipelinedRequestsIsAnsweredInBoundedMemory(t *testing.T) {
	c := newCluster()
	r := start(t, c, Config{}, c.backend())
	cl := r.dial(t)
	const n = 100_000
	before := heapNow()
	go func() {
		frame := encodeRequest(sample(18, 3, nil), 1)
		flight := bytes.Repeat(frame, 100)
		for i := 0; i < n; i += 100 {
			if _, err := cl.nc.Write(flight); err != nil {
				return
			}
		}
	}()
	time.Sleep(50 * time.Millisecond) // the client does not read: the server must stop by itself
	if after := heapNow(); after > before+32<<20 {
		t.Errorf("answers that are not read take %d bytes", after-before)
	}
	cl.nc.SetDeadline(time.Now().Add(5 * time.Minute)) // however slow the machine is
	in := bufio.NewReader(cl.nc)
	for i := range n {
		var h [8]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := in.Discard(int(binary.BigEndian.Uint32(h[:])) - 4); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

func TestRequestMemoryHoldsBackProducers(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	b := c.backend()
	held := holdAppends(&b)
	r := start(t, c, Config{Listener: listener.Config{MaxRequestBytes: 4 << 20, RequestMemory: 4 << 20}}, b)
	record := batchtest.Values(1, strings.Repeat("x", 3<<20))
	req := produceOne(topic, -1, batchtest.Spec{Records: record})
	const n = 4
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = r.dial(t)
		go clients[i].nc.Write(encodeRequest(req, 1)) // blocks while the server does not read
	}
	call := <-held.calls
	select {
	case <-held.calls:
		t.Fatal("two requests of 3 MiB are under way in 4 MiB")
	case <-time.After(20 * time.Millisecond):
	}
	for range n - 1 {
		call.done([]ingest.Result{{}})
		call = <-held.calls
	}
	call.done([]ingest.Result{{}})
	for _, cl := range clients {
		cl.receive(req, 1)
		cl.nc.Close()
	}
	r.waitForConns(t, 0)
	r.expectMemoryUnused(t)
}

func TestSlowReaderIsCutOffAndHoldsLittle(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	b := c.backend()
	counter := &refusalCounter{}
	b.Metrics = counter
	for range 3 {
		big := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, strings.Repeat("x", 7<<20))})
		h, err := batch.Parse(big)
		if err != nil {
			t.Fatal(err)
		}
		key := partlog.Key{Topic: topic.ID}
		c.Append(t.Context(), ingest.AcksAll, []ingest.Batch{{Key: key, Data: big, Header: h}}, func([]ingest.Result) {})
	}
	r := start(t, c, Config{Listener: listener.Config{IdleTimeout: 200 * time.Millisecond, MinReadRate: 1 << 30}}, b)
	cl := r.dial(t)
	req := sample(1, 12, topic).(*kmsg.FetchRequest)
	req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 64<<20, 64<<20
	for i := range int32(50) {
		if _, err := cl.nc.Write(encodeRequest(req, i)); err != nil {
			break // cut off already
		}
	}
	r.waitForConns(t, 0)
	if counter.of("slow_reader") != 1 {
		t.Errorf("refusals are %v", counter.counts)
	}
	if n := c.unreleased.Load(); n != 0 {
		t.Errorf("records of %d answers were not released", n)
	}
}
