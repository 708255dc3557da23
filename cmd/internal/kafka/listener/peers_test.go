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
	f.counts.AwaitOpen(t, 0) // a refusal is counted before
	if n := f.counts.RefusedFor("not_a_node"); n != 1 {
		t.Errorf("%d refusals", n)
	}
	c := f.dial(t)
	c.Send(listenertest.Encode(&kmsg.SASLHandshakeRequest{Version: 0}, 1))
	expectAnswer(t, c)
	c.Send(listenertest.Encode(&kmsg.HeartbeatRequest{Version: 0}, 2))
	expectAnswer(t, c)
}

// Clients that take all connections do not keep nodes out. Clients beyond the limits are closed,
// and one that sends nothing makes room.
func TestNodesGetInBeyondTheLimits(t *testing.T) {
	for name, config := range map[string]listener.Config{"all": {MaxConnections: 1}, "one address": {MaxConnectionsPerIP: 1}} {
		t.Run(name, func(t *testing.T) {
			f := (&fake{}).start(t, config, around())
			prove := func() *listenertest.Client {
				c := f.dial(t)
				c.Send(listenertest.Encode(&kmsg.SASLHandshakeRequest{Version: 0}, 1))
				expectAnswer(t, c)
				return c
			}
			client := f.dial(t)
			client.Send(versions())
			expectAnswer(t, client)
			node := prove()
			silent := f.dial(t)
			f.counts.AwaitOpen(t, 3)
			for range listener.Reserve - 1 {
				prove()
			}
			silent.ExpectClosed()
			f.counts.AwaitOpen(t, 1+listener.Reserve)
			f.dial(t).ExpectClosed() // all of the reserve are nodes
			node.Send(listenertest.Encode(&kmsg.HeartbeatRequest{Version: 0}, 2))
			expectAnswer(t, node)
			node.Close()
			f.counts.AwaitOpen(t, listener.Reserve)
			asks := f.dial(t)
			asks.Send(versions())
			asks.ExpectClosed()
			client.Send(versions())
			expectAnswer(t, client)
			client.Close()
			f.counts.AwaitOpen(t, listener.Reserve-1)
			if n := f.counts.RefusedFor("connections") + f.counts.RefusedFor("connections_per_address"); n != 3 {
				t.Errorf("%d refusals", n)
			}
			again := f.dial(t)
			again.Send(versions())
			expectAnswer(t, again)
		})
	}
}

// The end of a connection is reported once, after it, and not while the server stops.
func TestTheEndOfAConnectionIsReported(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{}, around())
	beat := func(c *listenertest.Client) {
		t.Helper()
		c.Send(listenertest.Encode(&kmsg.SASLHandshakeRequest{Version: 0}, 1))
		expectAnswer(t, c)
		for _, group := range []string{"first", "second"} {
			c.Send(listenertest.Encode(&kmsg.HeartbeatRequest{Version: 0, Group: group}, 2))
			expectAnswer(t, c)
		}
	}
	silent, first, second := f.dial(t), f.dial(t), f.dial(t)
	silent.Send(versions())
	expectAnswer(t, silent)
	beat(first)
	silent.Close()
	first.Close()
	if c := <-f.ended; c != "first of "+first.LocalAddr().String() {
		t.Errorf("ended: %s", c)
	}
	beat(second)
	f.stop()
	if err := <-f.done; err != nil {
		t.Error(err)
	}
	if n := len(f.ended); n > 0 {
		t.Errorf("%d more ends: %s", n, <-f.ended)
	}
}

// proving are a request that proves a connection to be a node, and one for nodes.
func (f *fake) proving() []listener.API {
	return []listener.API{
		{Key: kmsg.SASLHandshake, Private: true, Shape: listener.Shape{listener.Str()}, Begin: func(_ context.Context, r *listener.Request) {
			r.Show(func(c *listener.Client) { c.Peer = listener.Peer{Node: [16]byte{1}} })
			r.Reply(kmsg.NewPtrSASLHandshakeResponse(), 0)
		}},
		{Key: kmsg.Heartbeat, Peers: true, Shape: listener.Shape{listener.Str(), listener.Num(4), listener.Str()}, Begin: func(_ context.Context, r *listener.Request) {
			ended := r.Body.(*kmsg.HeartbeatRequest).Group + " of " + r.Client.Address
			r.AtEnd(func() { f.ended <- ended })
			r.Reply(kmsg.NewPtrHeartbeatResponse(), 0)
		}},
	}
}
