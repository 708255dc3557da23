package kafka

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// two are a controller, and another node that forwards to it.
type two struct {
	peers      *peers
	controller *cluster
	conn       *peer.Conn
	client     *client // of the other node
	silent     bool    // the controller does not answer
}

func newTwo(t *testing.T, allows func(*listener.Client, operation, aclResource) bool) *two {
	t.Helper()
	w := &two{peers: newPeers(t, segment.PeerIngest), controller: newCluster()}
	b := w.controller.backend()
	b.Peers = w.peers.door
	r := startGuarded(t, w.controller, Config{}, b, allows)
	var err error
	if w.conn, err = w.peers.dialer.To(t.Context(), r.addr, segment.ID{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	other := newCluster()
	b = other.backend()
	b.NodeID = func() int32 { return 8 }
	b.Forward = func(ctx context.Context, req *kmsg.EnvelopeRequest) (*kmsg.EnvelopeResponse, error) {
		if w.silent {
			return nil, errors.New("no answer")
		}
		resp, err := w.conn.Request(ctx, req)
		if err != nil {
			return nil, err
		}
		return resp.(*kmsg.EnvelopeResponse), nil
	}
	w.client = start(t, other, Config{}, b).dial(t)
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
	w.silent = true
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
	if n := r.counts.RefusedFor("not_a_node"); n != 1 {
		t.Errorf("%d refusals", n)
	}
}
