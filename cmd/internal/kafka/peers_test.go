package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// peers are two nodes of one cluster: the server, and a caller.
type peers struct {
	door   *peer.Door
	keys   *peer.Keys // of the caller
	dialer *peer.Dialer
}

func newPeers(t *testing.T, role segment.PeerRole) *peers {
	t.Helper()
	store := mem.New(time.Now, nil)
	keys := func() *peer.Keys {
		k := peer.NewKeys(peer.KeysOptions{Store: store, Cluster: segment.ID{1}, Role: role, Random: rand.Reader, NewID: segment.NewID, Now: time.Now})
		if err := k.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		return k
	}
	p := &peers{keys: keys()}
	p.door = &peer.Door{Self: peer.Identity{Node: segment.ID{2}, Start: segment.ID{3}}, Cluster: segment.ID{1}, Keys: []*peer.Keys{keys()}, Random: rand.Reader, Now: time.Now}
	p.dialer = &peer.Dialer{
		Self: peer.Identity{Node: segment.ID{4}, Start: segment.ID{5}}, Key: p.keys.Newest, Random: rand.Reader,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
	return p
}

func (p *peers) start(t *testing.T) *running { return p.startWith(t, Config{}) }

func (p *peers) startWith(t *testing.T, config Config) *running {
	t.Helper()
	c := newCluster()
	b := c.backend()
	b.Peers = p.door
	return start(t, c, config, b)
}

// Idle clients with all connections keep neither a node out nor let another client in.
func TestNodesGetInWhenClientsHaveAllConnections(t *testing.T) {
	p := newPeers(t, segment.PeerIngest)
	r := p.startWith(t, Config{Listener: listener.Config{MaxConnections: 1}})
	idle := r.dial(t)
	idle.ask(&kmsg.ApiVersionsRequest{Version: 0})
	conn, err := p.dialer.To(t.Context(), r.addr, p.door.Self.Node)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Request(t.Context(), &kmsg.ApiVersionsRequest{Version: 0}); err != nil {
		t.Error(err)
	}
	late := r.dial(t)
	late.Send(listenertest.Encode(&kmsg.ApiVersionsRequest{Version: 0}, 1))
	late.ExpectClosed()
}

func TestNodesOfAClusterProveThemselves(t *testing.T) {
	p := newPeers(t, segment.PeerFetch)
	r := p.start(t)
	conn, err := p.dialer.To(t.Context(), r.addr, p.door.Self.Node)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.Peer(); got != (peer.Peer{Identity: p.door.Self, Key: segment.PeerFetch}) {
		t.Errorf("the server is %+v", got)
	}
	resp, err := conn.Request(t.Context(), &kmsg.ApiVersionsRequest{Version: 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		if k.ApiKey >= int16(peer.KindHello) {
			t.Errorf("key %d is advertised", k.ApiKey)
		}
	}
	if _, err := p.dialer.To(t.Context(), r.addr, segment.ID{77}); !errors.Is(err, peer.ErrStranger) {
		t.Errorf("a call for another node: %v", err)
	}
}

// A node with a key that the other one has not read yet is let in at its next trial.
func TestANewKeyIsReadOnDemand(t *testing.T) {
	p := newPeers(t, segment.PeerIngest)
	r := p.start(t)
	if err := p.keys.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.dialer.To(t.Context(), r.addr, segment.ID{}); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Fatalf("a key that the server cannot know: %v", err)
	}
	conn, err := p.dialer.To(t.Context(), r.addr, segment.ID{})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestStrangersAreNotLetIn(t *testing.T) {
	ours, theirs := newPeers(t, segment.PeerIngest), newPeers(t, segment.PeerIngest)
	reads := newPeers(t, segment.PeerFetch)
	r := ours.start(t)
	for name, dialer := range map[string]*peer.Dialer{"another secret": theirs.dialer, "a role that is not let in": reads.dialer} {
		if _, err := dialer.To(t.Context(), r.addr, segment.ID{}); !errors.Is(err, kerr.SaslAuthenticationFailed) && !errors.Is(err, peer.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := newCluster()
	if _, err := ours.dialer.To(t.Context(), start(t, c, Config{}, c.backend()).addr, segment.ID{}); err == nil || !strings.Contains(err.Error(), errNoDoor.Error()) {
		t.Errorf("a node that speaks to no other: %v", err)
	}
}

// Each challenge takes one proof.
func TestAProofIsTriedOnce(t *testing.T) {
	p := newPeers(t, segment.PeerIngest)
	cl := p.start(t).dial(t)
	prove := func(proof []byte) int16 {
		return cl.ask(&peer.Request{Kind: peer.KindProof, Body: proof}).(*peer.Reply).Code
	}
	key, err := p.keys.Newest()
	if err != nil {
		t.Fatal(err)
	}
	call, first := peer.NewCall(p.dialer.Self, key, segment.ID{}, [peer.NonceSize]byte{1})
	if code := prove(make([]byte, 32)); code != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("a proof without a hello: code %d", code)
	}
	hello := cl.ask(&peer.Request{Kind: peer.KindHello, Body: first}).(*peer.Reply)
	last, _, err := call.Check(hello.Body, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code := prove(make([]byte, 32)); code != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("a wrong proof: code %d", code)
	}
	if code := prove(last); code != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("a second proof of one challenge: code %d", code)
	}
}
