package listener_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
)

// A request of nodes ends a connection that has not proved to be one, before its body is read.
// It is served once the connection has.
func TestRequestsOfNodesAreForNodes(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{}, around())
	stranger := f.dial(t)
	stranger.Send(listenertest.Head(1<<20, kmsg.Heartbeat.Int16(), 0))
	stranger.ExpectClosed()
	if n := f.counts.RefusedFor("not_a_node"); n != 1 {
		t.Errorf("%d refusals", n)
	}
	c := f.dial(t)
	c.Send(listenertest.Encode(&kmsg.SASLHandshakeRequest{Version: 0}, 1))
	expectAnswer(t, c)
	c.Send(listenertest.Encode(&kmsg.HeartbeatRequest{Version: 0}, 2))
	expectAnswer(t, c)
}

// proving are a request that proves a connection to be a node, and one for nodes.
func proving() []listener.API {
	return []listener.API{
		{Key: kmsg.SASLHandshake, Shape: listener.Shape{listener.Str()}, Begin: func(_ context.Context, r *listener.Request) {
			r.Show(func(c *listener.Client) { c.Peer = listener.Peer{Node: [16]byte{1}} })
			r.Reply(kmsg.NewPtrSASLHandshakeResponse(), 0)
		}},
		{Key: kmsg.Heartbeat, Peers: true, Shape: listener.Shape{listener.Str(), listener.Num(4), listener.Str()}, Begin: func(_ context.Context, r *listener.Request) {
			r.Reply(kmsg.NewPtrHeartbeatResponse(), 0)
		}},
	}
}
