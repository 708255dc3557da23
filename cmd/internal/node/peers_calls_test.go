package node

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// shown is the value of a metric of connections.
func (m *member1) shown(use use) float64 {
	var out dto.Metric
	if err := m.peers.metrics.connections.WithLabelValues(uses[use].name).Write(&out); err != nil {
		m.t.Error(err)
	}
	return out.GetGauge().GetValue()
}

// The connections are counted, and each node has its last outcome.
func TestConnectionsAreShown(t *testing.T) {
	one, other := two(t)
	shows := func(connections float64, outcome membership.Outcome) {
		t.Helper()
		eventually(t, func() bool { return one.shown(forHeartbeats) == connections })
		if got, since := one.peers.Reached(other.self.Node); got != outcome || since.IsZero() != (got == 0) {
			t.Errorf("outcome %v since %v", got, since)
		}
	}
	shows(0, 0)
	for range 2 {
		one.called(other.self.Node, other.run(), beat(), peerLimit)
		shows(1, membership.Proved)
	}
	other.stop()
	shows(0, membership.Proved)
	one.called(other.self.Node, other.run(), beat(), peerLimit)
	shows(0, membership.Refused)
	if n := one.peers.unreached(); n != 1 {
		t.Errorf("%d nodes are not reached", n)
	}
	again := newMember(t, one.peers.opt.Store, theCluster, other.self, true)
	again.serve("")
	one.called(other.self.Node, again.run(), beat(), peerLimit)
	shows(1, membership.Proved)
	one.peers.Close()
	shows(0, membership.Proved)
}

func TestCallsShareAConnection(t *testing.T) {
	one, other := two(t)
	for range 3 {
		r := one.called(other.self.Node, other.run(), beat(), peerLimit)
		a, err := membership.DecodeAnswer(r.Body)
		if r.Outcome != membership.Proved || r.Err != nil || err != nil || a.Seq != 7 {
			t.Fatalf("heartbeat: %+v: %+v, error %v", r, a, err)
		}
	}
	if n := other.accepted.Load(); n != 1 {
		t.Errorf("three heartbeats make %d connections", n)
	}
	if r := one.called(other.self.Node, other.run(), probe(), peerLimit); r.Outcome != membership.Proved || other.accepted.Load() != 2 {
		t.Errorf("probe: %+v, with %d connections", r, other.accepted.Load())
	}
	other.answers.failWith(membership.ErrInUse)
	if r := one.called(other.self.Node, other.run(), beat(), peerLimit); r.Outcome != membership.Proved || !errors.Is(r.Err, kerr.DuplicateBrokerRegistration) {
		t.Errorf("an error: %+v", r)
	}
	if n := one.lost.Load(); n > 0 {
		t.Errorf("%d connections are lost", n)
	}
}

// A heartbeat does not wait for a probe, and few probes wait for each other.
func TestHeartbeatsDoNotWaitForProbes(t *testing.T) {
	one, other := two(t)
	other.answers.hold = make(chan struct{})
	most := uses[forOthers].requests
	probed := make(chan drive.Response, most+1)
	err := one.peers.opt.Loop.Do(t.Context(), func() {
		for range most + 1 {
			one.peers.Call(other.self.Node, anyStart(other.run()), probe(), peerLimit, func(r drive.Response) { probed <- r })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := <-probed; r.Outcome != membership.TimedOut {
		t.Errorf("one probe too many: %+v", r)
	}
	if r := one.called(other.self.Node, other.run(), beat(), peerLimit); r.Outcome != membership.Proved {
		t.Errorf("heartbeat: %+v", r)
	}
	close(other.answers.hold)
	for range most {
		if r := <-probed; r.Outcome != membership.Proved || r.Err != nil {
			t.Errorf("probe: %+v", r)
		}
	}
}

// The end of a connection is noticed at once, and the next heartbeat finds the next start, here
// or at another address.
func TestANodeThatStartsAgainIsFound(t *testing.T) {
	one, other := two(t)
	beats := func(m *member1) {
		t.Helper()
		if r := one.called(m.self.Node, m.run(), beat(), peerLimit); r.Outcome != membership.Proved || r.Err != nil {
			t.Fatalf("heartbeat: %+v", r)
		}
	}
	beats(other)
	other.stop()
	eventually(t, func() bool { return one.lost.Load() == 1 })
	if r := one.called(other.self.Node, other.run(), beat(), peerLimit); r.Outcome != membership.Refused {
		t.Errorf("no process: %+v", r)
	}
	again := newMember(t, one.peers.opt.Store, theCluster, identity(2, 3), true)
	again.serve(other.addr.String())
	eventually(t, func() bool {
		return one.called(again.self.Node, again.run(), beat(), peerLimit).Outcome == membership.Proved
	})
	moved := newMember(t, one.peers.opt.Store, theCluster, identity(2, 4), true)
	moved.serve("")
	beats(moved)
	if n := moved.answers.beats.Load(); n != 1 {
		t.Errorf("%d heartbeats arrive at the new address", n)
	}
	if n := one.lost.Load(); n != 1 {
		t.Errorf("%d connections are lost", n)
	}
}

// A connection that is cut in a request ends the request, and is lost.
func TestACutConnectionEndsItsRequests(t *testing.T) {
	one, other := two(t)
	var conns []net.Conn
	var mu sync.Mutex
	at := accepting(t, func(nc net.Conn) {
		mu.Lock()
		conns = append(conns, nc)
		mu.Unlock()
		relay(t, nc, other.addr)
	})
	other.answers.hold = make(chan struct{})
	defer close(other.answers.hold)
	ended := make(chan drive.Response, 1)
	err := one.peers.opt.Loop.Do(t.Context(), func() {
		one.peers.Call(other.self.Node, anyStart(other.runAt(at)), probe(), peerLimit, func(r drive.Response) { ended <- r })
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return other.answers.probes.Load() == 1 })
	if r := one.called(other.self.Node, other.runAt(at), beat(), peerLimit); r.Outcome != membership.Proved {
		t.Errorf("heartbeat: %+v", r)
	}
	mu.Lock()
	for _, nc := range conns {
		nc.Close()
	}
	mu.Unlock()
	if r := <-ended; r.Outcome != membership.TimedOut || r.Err != nil {
		t.Errorf("probe: %+v", r)
	}
	eventually(t, func() bool { return one.lost.Load() == 1 })
	if n := other.answers.probes.Load(); n != 1 {
		t.Errorf("the probe is sent %d times", n)
	}
}

func TestHandOversAreAskedFor(t *testing.T) {
	one, other := two(t)
	want := membership.HandOver{Journal: 1, Number: 2}
	b, outcome, err := one.peers.Ask(t.Context(), other.self.Node, other.run(), peer.KindHandOver, want.Append(nil))
	if got, _ := membership.DecodeHanding(b); outcome != membership.Proved || err != nil || got != membership.Keeps {
		t.Errorf("%v, outcome %v, error %v", got, outcome, err)
	}
	other.answers.failWith(metadata.ErrNotController)
	if _, outcome, err := one.peers.Ask(t.Context(), other.self.Node, other.run(), peer.KindHandOver, want.Append(nil)); outcome != membership.Proved || !errors.Is(err, kerr.NotController) {
		t.Errorf("an error: outcome %v, error %v", outcome, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, outcome, err := one.peers.Ask(ctx, other.self.Node, other.run(), peer.KindHandOver, want.Append(nil)); outcome != membership.TimedOut || !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: outcome %v, error %v", outcome, err)
	}
	other.stop()
	if _, outcome, err := one.peers.Ask(t.Context(), other.self.Node, other.run(), peer.KindHandOver, want.Append(nil)); outcome != membership.Refused || err == nil {
		t.Errorf("no process: outcome %v, error %v", outcome, err)
	}
}

// A forwarded request is never sent twice. It is sent once over a connection that its node has
// closed a while ago.
func TestAForwardedRequestIsSentOnce(t *testing.T) {
	one, other := two(t)
	forward := func(run metadata.Run) (membership.Outcome, error) {
		resp, outcome, err := one.peers.Request(t.Context(), other.self.Node, run, &kmsg.EnvelopeRequest{RequestData: []byte{1}})
		if err == nil && resp.(*kmsg.EnvelopeResponse).ErrorCode == 0 { // there is no controller, and no request inside
			t.Errorf("answer %+v", resp)
		}
		return outcome, err
	}
	if outcome, err := forward(other.run()); outcome != membership.Proved || err != nil {
		t.Fatalf("outcome %v, error %v", outcome, err)
	}
	other.stop()
	l := one.peers.lane(other.self.Node, forClients)
	eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.idle) == 0
	})
	if outcome, err := forward(other.run()); outcome != membership.Refused || err == nil {
		t.Errorf("no process: outcome %v, error %v", outcome, err)
	}
	other.serve("")
	var requests atomic.Int32
	at := accepting(t, func(nc net.Conn) { cutAfter(t, nc, other.addr, 3, &requests) })
	if outcome, err := forward(other.runAt(at)); outcome != membership.TimedOut || err == nil || requests.Load() != 3 {
		t.Errorf("cut before the answer: outcome %v, error %v, %d requests with the handshake", outcome, err, requests.Load())
	}
}

// A request of nodes is sent once more if a connection that was good before breaks.
func TestARequestOfNodesIsSentAgain(t *testing.T) {
	one, other := two(t)
	var requests atomic.Int32
	at := accepting(t, func(nc net.Conn) { cutAfter(t, nc, other.addr, 4, &requests) }) // the second heartbeat
	for range 2 {
		if r := one.called(other.self.Node, other.runAt(at), beat(), peerLimit); r.Outcome != membership.Proved || r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
	if n := one.lost.Load(); n != 1 {
		t.Errorf("%d connections are lost", n)
	}
}

// Close ends all that is under way. Each call has its end, and later ones end at once.
func TestCloseEndsCalls(t *testing.T) {
	one, other := two(t)
	other.answers.hold = make(chan struct{})
	defer close(other.answers.hold)
	silent := accepting(t, func(nc net.Conn) { io.Copy(io.Discard, nc) })
	ended := make(chan membership.Outcome, 9)
	call := func() {
		one.peers.Call(other.self.Node, anyStart(other.run()), probe(), time.Hour, func(r drive.Response) { ended <- r.Outcome })
		one.peers.Dial(segment.ID{7}, one.runAt(silent), time.Hour, func(o membership.Outcome) { ended <- o })
	}
	if err := one.peers.opt.Loop.Do(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	asking := make(chan error, 1)
	go func() {
		_, _, err := one.peers.Request(context.Background(), segment.ID{7}, one.runAt(silent), &kmsg.EnvelopeRequest{})
		asking <- err
	}()
	eventually(t, func() bool { return other.answers.probes.Load() == 1 })
	one.peers.Close()
	if err := <-asking; err == nil {
		t.Error("a forwarded request has an answer")
	}
	if err := one.peers.opt.Loop.Do(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if o := <-ended; o != membership.TimedOut {
			t.Errorf("outcome %v", o)
		}
	}
	if _, _, err := one.peers.Ask(t.Context(), other.self.Node, other.run(), peer.KindHandOver, nil); !errors.Is(err, errPeersClosed) {
		t.Errorf("after Close: %v", err)
	}
}
