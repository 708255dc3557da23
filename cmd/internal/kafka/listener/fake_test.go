package listener_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/tiering/buffer"
)

// fake is a server of four keys whose handlers know nothing.
type fake struct {
	held  chan *listener.Request // Produce, if the test answers it; else it is answered at once
	large int                    // bytes of an answer to Metadata
	ended chan string            // connections of nodes
	lines *listenertest.Lines

	server *listener.Server
	counts *listenertest.Counts
	memory *buffer.Pool // of the frames of Produce
	addr   string
	stop   context.CancelFunc
	done   chan error
}

// The versions of fakes are those whose bodies need no shape to be read.
func (f *fake) apis() []listener.API {
	return append(f.proving(), []listener.API{
		{Key: kmsg.ApiVersions, Min: 0, Max: 2, MaxFrame: listener.PlainFrame, Begin: func(_ context.Context, r *listener.Request) {
			r.Reply(kmsg.NewPtrApiVersionsResponse(), 0)
		}},
		{Key: kmsg.Produce, Min: 3, Max: 8, Pooled: true, Begin: func(_ context.Context, r *listener.Request) {
			if f.held == nil {
				r.Reply(kmsg.NewPtrProduceResponse(), 0)
				return
			}
			f.held <- r
		}},
		{Key: kmsg.Metadata, Min: 1, Max: 8, Bulky: true, Shape: listener.Shape{listener.ListOf(100, listener.Str())}, Begin: func(_ context.Context, r *listener.Request) {
			resp := kmsg.NewPtrMetadataResponse()
			resp.Topics = append(resp.Topics, kmsg.MetadataResponseTopic{Topic: kmsg.StringPtr("")})
			if all := r.Body.(*kmsg.MetadataRequest).Topics == nil; all {
				for range f.large >> 10 {
					resp.Topics = append(resp.Topics, kmsg.MetadataResponseTopic{Topic: kmsg.StringPtr(strings.Repeat("x", 1<<10))})
				}
			}
			r.Reply(resp, 0)
		}},
		{Key: kmsg.Fetch, Min: 4, Max: 11, Begin: func(_ context.Context, r *listener.Request) {
			r.Go(func() {
				<-r.Waits().Done()
				r.Reply(kmsg.NewPtrFetchResponse(), 0)
			})
		}},
	}...)
}

// start runs the server until the test ends.
func (f *fake) start(t testing.TB, config listener.Config, around listener.Surroundings) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.lines, f.counts = &listenertest.Lines{}, listenertest.CountInto(nil)
	f.memory, f.ended = buffer.NewPool(64<<20), make(chan string, 8)
	around.Memory, around.Metrics, around.Log = f.memory, f.counts, slog.New(slog.NewTextHandler(f.lines, nil))
	if f.server, err = listener.New(config, f.apis(), around); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	f.addr, f.done = ln.Addr().String(), make(chan error, 1)
	go func() { f.done <- f.server.Serve(ctx, listener.Endpoint{Name: "TEST", Listener: ln}) }()
	t.Cleanup(func() {
		f.stop()
		f.server.Close()
		if part := listenertest.MemoryUsed(f.server); part != "" {
			t.Errorf("%s memory was not given back", part)
		}
		if n := f.memory.InUse(); n != 0 {
			t.Errorf("%d bytes of frames were not released", n)
		}
	})
	return f
}

func (f *fake) dial(t testing.TB) *listenertest.Client { return listenertest.Dial(t, f.addr) }

func versions() []byte { return listenertest.Encode(&kmsg.ApiVersionsRequest{Version: 2}, 1) }

func poll() []byte { return listenertest.Encode(&kmsg.FetchRequest{Version: 11}, 1) }

// everything asks for an answer as large as the fake gives.
func everything() []byte { return listenertest.Encode(&kmsg.MetadataRequest{Version: 8}, 1) }

func one() []byte {
	return listenertest.Encode(&kmsg.MetadataRequest{Version: 8, Topics: []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("t")}}}, 1)
}

// produce is a request of n bytes and a little more.
func produce(n int) []byte {
	return listenertest.Encode(&kmsg.ProduceRequest{Version: 8, Acks: -1, Topics: []kmsg.ProduceRequestTopic{{
		Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, n)}},
	}}}, 1)
}

// answer answers a Produce that was held.
func answer(r *listener.Request) { r.Reply(kmsg.NewPtrProduceResponse(), 0) }

// expectAnswer reads one answer.
func expectAnswer(t testing.TB, c *listenertest.Client) {
	t.Helper()
	if _, _, err := c.Frame(); err != nil {
		t.Fatal(err)
	}
}
