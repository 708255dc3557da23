package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// answering is a Cluster that answers each request, or fails it.
type answering struct {
	asked atomic.Int32
	fails atomic.Pointer[error] // nil: it answers
}

func (a *answering) err() error {
	if err := a.fails.Load(); err != nil {
		return *err
	}
	return nil
}

func (a *answering) Register(_ context.Context, node segment.ID, run metadata.Run) (int32, error) {
	a.asked.Add(1)
	return int32(node[0]) + int32(len(run.Listeners)), a.err()
}

func (a *answering) Heartbeat(_ context.Context, h membership.Heartbeat) (membership.Answer, error) {
	a.asked.Add(1)
	return membership.Answer{Claims: true, Seq: h.Applied, Leaders: []membership.Leader{{Node: h.Node}}}, a.err()
}

func (a *answering) Question(_ context.Context, about membership.Leader) (membership.Reply, error) {
	a.asked.Add(1)
	return membership.Reply{Opinion: membership.Dead, Controller: about}, a.err()
}

func (a *answering) Probe(context.Context) (bool, error) {
	a.asked.Add(1)
	return true, a.err()
}

func (a *answering) HandOver(_ context.Context, _ segment.ID, _ membership.HandOver) (membership.Handing, error) {
	a.asked.Add(1)
	return membership.Keeps, a.err()
}

// message is a request of a node: a good body and its answer.
type message struct {
	kind  peer.Kind
	body  []byte
	reads bool // a node that may only read may send it
	want  string
}

// messages are the requests of a node, of all kinds.
func messages(t *testing.T, self peer.Identity) []message {
	t.Helper()
	run := metadata.Run{Start: self.Start, MinLevel: 3, MaxLevel: 3, Roles: metadata.RoleIngest, Listeners: []metadata.Listener{{Name: "peer", Host: "h", Port: 1}}}
	register, err := membership.AppendRegister(nil, self.Node, run)
	if err != nil {
		t.Fatal(err)
	}
	h := membership.Heartbeat{Applied: 9}
	answer := membership.Answer{Claims: true, Seq: 9, Leaders: []membership.Leader{{Node: self.Node}}}
	about := membership.Leader{Node: segment.ID{2}, Epoch: 7}
	reply := membership.Reply{Opinion: membership.Dead, Controller: about}
	return []message{
		{peer.KindRegister, register, true, string(membership.AppendRegistered(nil, int32(self.Node[0])+1))},
		{peer.KindHeartbeat, h.Append(nil), true, string(answer.Append(nil))},
		{peer.KindQuestion, membership.AppendQuestion(nil, about), false, string(reply.Append(nil))},
		{peer.KindProbe, nil, false, string(membership.AppendProbed(nil, true))},
		{peer.KindHandOver, membership.HandOver{Journal: 1, Number: 2}.Append(nil), false, string(membership.Keeps.Append(nil))},
	}
}

// joined are a server with a Cluster, and a connection of another node to it.
func joined(t *testing.T, role segment.PeerRole, c Cluster) (*running, *peer.Conn, *peers) {
	t.Helper()
	p := newPeers(t, role)
	topics := newCluster()
	b := topics.backend()
	b.Peers, b.Cluster = p.door, c
	r := start(t, topics, Config{}, b)
	conn, err := p.dialer.To(t.Context(), r.addr, segment.ID{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return r, conn, p
}

func TestRequestsOfNodesAreAnswered(t *testing.T) {
	_, conn, p := joined(t, segment.PeerIngest, &answering{})
	for _, m := range messages(t, p.dialer.Self) {
		got, err := conn.Ask(t.Context(), m.kind, m.body)
		if err != nil || string(got) != m.want {
			t.Errorf("%v: %x, error %v, want %x", m.kind, got, err, m.want)
		}
	}
}

// A connection that has not proved itself is closed before the body is read: none comes.
func TestRequestsOfNodesNeedAProof(t *testing.T) {
	c := &answering{}
	r, _, p := joined(t, segment.PeerIngest, c)
	inside := kmsg.NewPtrDeleteTopicsRequest()
	inside.Version = 4
	envelope := kmsg.NewPtrEnvelopeRequest()
	envelope.RequestData, envelope.RequestPrincipal, envelope.ClientHostAddress = listenertest.Encode(inside, 1)[4:], encodePrincipal(listener.Anonymous()), []byte{127, 0, 0, 1}
	requests := []kmsg.Request{envelope}
	for _, m := range messages(t, p.dialer.Self) {
		requests = append(requests, &peer.Request{Kind: m.kind, Body: m.body})
	}
	for _, req := range requests {
		whole, begun := r.dial(t), r.dial(t)
		whole.Send(listenertest.Encode(req, 1))
		begun.Send(listenertest.Head(1<<20, req.Key(), 0))
		whole.ExpectClosed() // it is not answered, and
		begun.ExpectClosed() // not waited for
	}
	if n := c.asked.Load(); n > 0 {
		t.Errorf("%d requests were served", n)
	}
}

func TestMalformedRequestsOfNodesAreRefused(t *testing.T) {
	c := &answering{}
	_, conn, p := joined(t, segment.PeerIngest, c)
	for _, m := range messages(t, p.dialer.Self) {
		for n := range len(m.body) {
			if _, err := conn.Ask(t.Context(), m.kind, m.body[:n]); !errors.Is(err, kerr.InvalidRequest) || !strings.Contains(err.Error(), "malformed") {
				t.Fatalf("%v of %d bytes, cut to %d: %v", m.kind, len(m.body), n, err)
			}
		}
	}
	other := messages(t, peer.Identity{Node: p.dialer.Self.Node, Start: segment.ID{77}})[0]
	if _, err := conn.Ask(t.Context(), other.kind, other.body); !errors.Is(err, kerr.InvalidRequest) {
		t.Errorf("another start is registered: %v", err)
	}
	if n := c.asked.Load(); n > 0 {
		t.Errorf("%d requests were served", n)
	}
	if _, err := conn.Ask(t.Context(), peer.KindHeartbeat, messages(t, p.dialer.Self)[1].body); err != nil {
		t.Errorf("the connection does not go on: %v", err)
	}
}

// A node with a key to read may say that it is there, and no more.
func TestNodesThatReadMaySendLess(t *testing.T) {
	c := &answering{}
	_, conn, p := joined(t, segment.PeerFetch, c)
	for _, m := range messages(t, p.dialer.Self) {
		_, err := conn.Ask(t.Context(), m.kind, m.body)
		if m.reads != (err == nil) || !m.reads && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
			t.Errorf("%v: %v", m.kind, err)
		}
	}
	h := membership.Heartbeat{Journals: []membership.Report{{Taking: 1}}}
	if _, err := conn.Ask(t.Context(), peer.KindHeartbeat, h.Append(nil)); !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		t.Errorf("it reports a journal: %v", err)
	}
	if n := c.asked.Load(); n != 2 {
		t.Errorf("%d requests were served", n)
	}
}

// The end of a connection is reported with the run that has sent heartbeats on it.
func TestTheEndOfHeartbeatsIsReported(t *testing.T) {
	p, topics := newPeers(t, segment.PeerFetch), newCluster()
	gone := make(chan peer.Identity, 4)
	b := topics.backend()
	b.Peers, b.Cluster, b.PeerGone = p.door, &answering{}, func(node, start segment.ID) { gone <- peer.Identity{Node: node, Start: start} }
	r := start(t, topics, Config{}, b)
	for _, kind := range []peer.Kind{peer.KindRegister, peer.KindHeartbeat} {
		conn, err := p.dialer.To(t.Context(), r.addr, segment.ID{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages(t, p.dialer.Self) {
			if m.kind != kind {
				continue
			}
			if _, err := conn.Ask(t.Context(), kind, m.body); err != nil {
				t.Error(err)
			}
		}
		conn.Close()
	}
	select {
	case got := <-gone:
		if got != p.dialer.Self {
			t.Errorf("%+v", got)
		}
	case <-time.After(10 * time.Second): // a report takes milliseconds
		t.Error("nothing is reported")
	}
	if len(gone) > 0 {
		t.Errorf("another one: %+v", <-gone)
	}
}

func TestErrorsForNodesHaveCodes(t *testing.T) {
	c := &answering{}
	_, conn, p := joined(t, segment.PeerIngest, c)
	m := messages(t, p.dialer.Self)[0]
	for err, want := range map[error]error{
		membership.ErrInUse: kerr.DuplicateBrokerRegistration, membership.ErrWrongAddress: kerr.InvalidRegistration, metadata.ErrUnknownLevel: kerr.UnsupportedVersion,
		metadata.ErrRemovedNode: kerr.BrokerIDNotRegistered, metadata.ErrNotController: kerr.NotController, context.DeadlineExceeded: kerr.RequestTimedOut,
	} {
		fails := fmt.Errorf("node 7: %w", err)
		c.fails.Store(&fails)
		if _, got := conn.Ask(t.Context(), m.kind, m.body); !errors.Is(got, want) || !strings.Contains(got.Error(), fails.Error()) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// Today no node has a Cluster.
func TestNodesWithoutAClusterRefuse(t *testing.T) {
	_, conn, p := joined(t, segment.PeerIngest, nil)
	for _, m := range messages(t, p.dialer.Self) {
		if _, err := conn.Ask(t.Context(), m.kind, m.body); !errors.Is(err, kerr.UnsupportedVersion) {
			t.Errorf("%v: %v", m.kind, err)
		}
	}
	if _, err := conn.Request(t.Context(), &kmsg.ApiVersionsRequest{Version: 0}); err != nil {
		t.Errorf("the connection does not go on: %v", err)
	}
}
