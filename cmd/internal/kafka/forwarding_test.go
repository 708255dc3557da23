package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// two are a controller, and another node that forwards to it.
type two struct {
	peers      *peers
	controller *cluster
	chief      *fakeControl // of the controller
	conn       *peer.Conn
	client     *client // of the other node
	control    *fakeControl
}

// fakeControl is the Control of a node, which reaches the controller over a connection.
type fakeControl struct {
	alone
	conn    *peer.Conn
	refused atomic.Int32 // connections that fail before one works
	silent  atomic.Bool  // the controller does not answer
	sent    atomic.Int32
	leads   atomic.Bool
	head    atomic.Uint64
	awaited atomic.Uint64
	ids     metadata.ProducerIDBlock
	made    string
}

func (c *fakeControl) Leads() bool { return c.leads.Load() }

func (c *fakeControl) Head() uint64 { return c.head.Load() }

func (c *fakeControl) Await(_ context.Context, seq uint64) error {
	c.awaited.Store(seq)
	return nil
}

func (c *fakeControl) Forward(ctx context.Context, req *kmsg.EnvelopeRequest) (*kmsg.EnvelopeResponse, error) {
	if c.refused.Add(-1) >= 0 {
		return nil, fmt.Errorf("%w: refused", ErrNotSent)
	}
	c.sent.Add(1)
	if c.silent.Load() {
		return nil, errors.New("no answer")
	}
	resp, err := c.conn.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.EnvelopeResponse), nil
}

func (c *fakeControl) ProducerIDs(context.Context) (metadata.ProducerIDBlock, error) {
	if !c.Leads() {
		return metadata.ProducerIDBlock{}, metadata.ErrNotController
	}
	return c.ids, nil
}

func (c *fakeControl) CreateInternal(_ context.Context, name string) error {
	if !c.Leads() {
		return metadata.ErrNotController
	}
	c.made = name
	return nil
}

func newTwo(t *testing.T, allows allowFunc) *two {
	t.Helper()
	w := &two{peers: newPeers(t, segment.PeerIngest), controller: newCluster(), chief: &fakeControl{}, control: &fakeControl{}}
	w.chief.leads.Store(true)
	w.chief.head.Store(77)
	b := w.controller.backend()
	b.Peers, b.Cluster, b.Control = w.peers.door, &answering{}, w.chief
	r := startGuarded(t, w.controller, Config{}, b, allows)
	var err error
	if w.conn, err = w.peers.dialer.To(t.Context(), r.addr, segment.ID{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	other := newCluster()
	b = other.backend()
	w.control.conn = w.conn
	b.NodeID, b.Control = func() int32 { return 8 }, w.control
	w.client = start(t, other, Config{AutoCreateTopics: true}, b).dial(t)
	return w
}

func createRequest(version int16, name string) *kmsg.CreateTopicsRequest {
	req := &kmsg.CreateTopicsRequest{Version: version, TimeoutMillis: 1000}
	n := kmsg.NewCreateTopicsRequestTopic()
	n.Topic, n.NumPartitions, n.ReplicationFactor = name, 2, 1
	req.Topics = append(req.Topics, n)
	return req
}

func TestAdministrationReachesTheControllerFromAnyNode(t *testing.T) {
	var last listener.Client
	w := newTwo(t, func(by *listener.Client, op operation, on aclResource) bool {
		last = *by
		return op != toCreate || on.name != "secret" && on != theCluster
	})
	for _, version := range []int16{2, 7} { // without and with tags
		name := []string{"a", "b"}[version/5]
		resp := w.client.ask(createRequest(version, name)).(*kmsg.CreateTopicsResponse)
		if code := resp.Topics[0].ErrorCode; code != 0 {
			t.Fatalf("v%d: code %d", version, code)
		}
		if _, ok := w.controller.Topic(name); !ok {
			t.Errorf("v%d: the controller has no topic %s", version, name)
		}
	}
	if resp := w.client.ask(createRequest(7, "a")).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != kerr.TopicAlreadyExists.Code {
		t.Errorf("an error of the controller: code %d", resp.Topics[0].ErrorCode)
	}
	if resp := w.client.ask(createRequest(7, "secret")).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("a topic that the client may not create: code %d", resp.Topics[0].ErrorCode)
	}
	if last.Principal != listener.Anonymous() || last.Host != "127.0.0.1" || last.Peer != (listener.Peer{}) {
		t.Errorf("the controller asked about %+v", last)
	}
}

func TestAControllerThatDoesNotAnswerLeavesTheOutcomeOpen(t *testing.T) {
	w := newTwo(t, allowAll)
	w.control.silent.Store(true)
	topic := w.controller.addTopic(t, "a", 1, nil)
	for _, key := range []kmsg.Key{kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions, kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs, kmsg.UpdateFeatures, kmsg.UnregisterBroker} {
		req := sample(key.Int16(), apis()[key.Int16()].Max, topic)
		code := int16(0)
		switch resp := w.client.ask(req).(type) {
		case *kmsg.CreateTopicsResponse:
			code = resp.Topics[0].ErrorCode
		case *kmsg.DeleteTopicsResponse:
			code = resp.Topics[0].ErrorCode
		case *kmsg.CreatePartitionsResponse:
			code = resp.Topics[0].ErrorCode
		case *kmsg.AlterConfigsResponse:
			code = resp.Resources[0].ErrorCode
		case *kmsg.IncrementalAlterConfigsResponse:
			code = resp.Resources[0].ErrorCode
		case *kmsg.UpdateFeaturesResponse:
			code = resp.ErrorCode
		case *kmsg.UnregisterBrokerResponse:
			code = resp.ErrorCode
		}
		if code == 0 {
			t.Errorf("%s reports success", key.Name())
		}
	}
	if n := w.control.sent.Load(); n != 7 {
		t.Errorf("7 requests were sent %d times", n)
	}
}

// A request that no controller has taken is sent again; its answer comes once the node has
// applied the change.
func TestARequestIsSentAgainUntilAControllerHasIt(t *testing.T) {
	w := newTwo(t, allowAll)
	w.control.refused.Store(2)
	w.chief.leads.Store(false)
	time.AfterFunc(3*forwardPause, func() { w.chief.leads.Store(true) })
	if resp := w.client.ask(createRequest(7, "a")).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Errorf("code %d", resp.Topics[0].ErrorCode)
	}
	if n := w.control.sent.Load(); n < 2 {
		t.Errorf("sent %d times: the controller has refused none", n)
	}
	if seq := w.control.awaited.Load(); seq != 77 {
		t.Errorf("answered with seq %d applied, want 77", seq)
	}
}

// The controller may lose its place before it plans a request: another one can plan it.
func TestARequestThatWasNotPlannedIsSentAgain(t *testing.T) {
	w := newTwo(t, allowAll)
	w.controller.change(func() { w.controller.adminUp = false })
	time.AfterFunc(2*forwardPause, func() { w.controller.change(func() { w.controller.adminUp = true }) })
	if resp := w.client.ask(createRequest(7, "a")).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Errorf("code %d", resp.Topics[0].ErrorCode)
	}
}

// The node that looks for a controller may become it.
func TestANodeThatBecomesTheControllerAnswersItself(t *testing.T) {
	w := newTwo(t, allowAll)
	w.control.refused.Store(1 << 30)
	time.AfterFunc(2*forwardPause, func() { w.control.leads.Store(true) })
	if resp := w.client.ask(createRequest(7, "a")).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Errorf("code %d", resp.Topics[0].ErrorCode)
	}
	if _, ok := w.controller.Topic("a"); ok {
		t.Error("another node has created the topic")
	}
}

func TestTopicsAreCreatedByAskingAnyNode(t *testing.T) {
	w := newTwo(t, allowAll)
	name := "asked"
	req := &kmsg.MetadataRequest{Version: 9, AllowAutoTopicCreation: true, Topics: []kmsg.MetadataRequestTopic{{Topic: &name}}}
	w.client.ask(req)
	if _, ok := w.controller.Topic(name); !ok {
		t.Error("the controller has no such topic")
	}
	if seq := w.control.awaited.Load(); seq != 77 {
		t.Errorf("answered with seq %d applied, want 77", seq)
	}
}

func TestTheControllerServesNodes(t *testing.T) {
	w := newTwo(t, allowAll)
	w.chief.ids = metadata.ProducerIDBlock{Next: 5, End: 9}
	b, err := w.conn.Ask(t.Context(), peer.KindProducerIDs, nil)
	if ids, bad := membership.DecodeProducerIDs(b); err != nil || bad != nil || ids != w.chief.ids {
		t.Errorf("ids %+v, errors %v, %v", ids, err, bad)
	}
	b, err = w.conn.Ask(t.Context(), peer.KindInternalTopic, membership.AppendInternalTopic(nil, metadata.ConsumerOffsets))
	if seq, bad := membership.DecodeSeq(b); err != nil || bad != nil || seq != 77 || w.chief.made != metadata.ConsumerOffsets {
		t.Errorf("topic %q by seq %d, errors %v, %v", w.chief.made, seq, err, bad)
	}
	if _, err := w.conn.Ask(t.Context(), peer.KindInternalTopic, membership.AppendInternalTopic(nil, "a")); !errors.Is(err, kerr.InvalidRequest) {
		t.Errorf("a topic of a client: %v", err)
	}
	w.chief.leads.Store(false)
	for _, kind := range []peer.Kind{peer.KindProducerIDs, peer.KindInternalTopic} {
		if _, err := w.conn.Ask(t.Context(), kind, membership.AppendInternalTopic(nil, metadata.ConsumerOffsets)); !errors.Is(err, kerr.NotController) {
			t.Errorf("%s at a node that is not the controller: %v", kind, err)
		}
	}
}

func TestEnvelopesAreRefused(t *testing.T) {
	w := newTwo(t, allowAll)
	ask := func(change func(req *kmsg.EnvelopeRequest)) int16 {
		req := kmsg.NewPtrEnvelopeRequest()
		f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("c"))
		req.RequestData = f.AppendRequest(nil, createRequest(7, "x"), 3)[4:]
		req.RequestPrincipal, req.ClientHostAddress = encodePrincipal(listener.Anonymous()), addressOf("10.0.0.1")
		change(req)
		resp, err := w.conn.Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.(*kmsg.EnvelopeResponse).ErrorCode
	}
	inside := func(r kmsg.Request) func(*kmsg.EnvelopeRequest) {
		return func(req *kmsg.EnvelopeRequest) {
			req.RequestData = kmsg.NewRequestFormatter().AppendRequest(nil, r, 3)[4:]
		}
	}
	for name, change := range map[string]func(*kmsg.EnvelopeRequest){
		"no request":             func(req *kmsg.EnvelopeRequest) { req.RequestData = nil },
		"half of a request":      func(req *kmsg.EnvelopeRequest) { req.RequestData = req.RequestData[:len(req.RequestData)/2] },
		"no principal":           func(req *kmsg.EnvelopeRequest) { req.RequestPrincipal = nil },
		"a principal of nothing": func(req *kmsg.EnvelopeRequest) { req.RequestPrincipal = encodePrincipal(listener.Principal{}) },
		"no address":             func(req *kmsg.EnvelopeRequest) { req.ClientHostAddress = []byte("h") },
		"a Produce":              inside(kmsg.NewPtrProduceRequest()),
		"an envelope":            inside(kmsg.NewPtrEnvelopeRequest()),
		"a hello":                inside(&peer.Request{Kind: peer.KindHello}),
		"an unsupported version": inside(&kmsg.CreateTopicsRequest{Version: 99}),
	} {
		if code := ask(change); code != kerr.InvalidRequest.Code {
			t.Errorf("%s: code %d", name, code)
		}
	}
	if code := ask(func(*kmsg.EnvelopeRequest) {}); code != 0 {
		t.Errorf("a good one: code %d", code)
	}
}

// Requests of nodes are not for clients.
func TestAnEnvelopeOfAClientEndsItsConnection(t *testing.T) {
	c := newCluster()
	r := start(t, c, Config{}, c.backend())
	cl := r.dial(t)
	cl.send(kmsg.NewPtrEnvelopeRequest())
	cl.ExpectClosed()
	r.counts.AwaitOpen(t, 0) // a refusal is counted before
	if n := r.counts.RefusedFor("not_a_node"); n != 1 {
		t.Errorf("%d refusals", n)
	}
}
