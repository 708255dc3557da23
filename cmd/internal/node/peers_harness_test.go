package node

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// peerLimit is the limit of calls that are to be answered: they are, long before.
const peerLimit = 10 * time.Second

// member1 is a node as others reach it: its door, and a server of Kafka's protocol.
type member1 struct {
	t     *testing.T
	peers *peers
	self  peer.Identity
	addr  net.Addr
	stop  func() // of the server

	answers  *answers
	accepted atomic.Int32 // connections
	lost     atomic.Int32 // calls of Lost
}

// answers is the kafka.Cluster of a node. Its probes are held back by hold.
type answers struct {
	kafka.Cluster
	relays           bool                  // to the Cluster
	hold             chan struct{}         // nil: not at all
	fails            atomic.Pointer[error] // nil: it answers
	beats, handOvers atomic.Int32
	probes           atomic.Int32
}

func (a *answers) err() error {
	if err := a.fails.Load(); err != nil {
		return *err
	}
	return nil
}

func (a *answers) failWith(err error) { a.fails.Store(&err) }

func (a *answers) Heartbeat(ctx context.Context, h membership.Heartbeat) (membership.Answer, error) {
	a.beats.Add(1)
	if a.relays {
		return a.Cluster.Heartbeat(ctx, h)
	}
	return membership.Answer{Claims: true, Seq: h.Applied}, a.err()
}

func (a *answers) Probe(ctx context.Context) (bool, error) {
	a.probes.Add(1)
	if a.relays {
		return a.Cluster.Probe(ctx)
	}
	if a.hold == nil {
		return true, nil
	}
	select {
	case <-a.hold:
	case <-ctx.Done():
	}
	return false, ctx.Err()
}

func (a *answers) HandOver(context.Context, segment.ID, membership.HandOver) (membership.Handing, error) {
	a.handOvers.Add(1)
	return membership.Keeps, a.err()
}

// counting is a listener that counts its connections.
type counting struct {
	net.Listener
	accepted *atomic.Int32
}

func (c counting) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.accepted.Add(1)
	}
	return nc, err
}

var theCluster = segment.ID{9}

// newMember prepares a node of a cluster. It serves nothing yet.
func newMember(t *testing.T, store objstore.Store, cluster segment.ID, self peer.Identity, writes bool) *member1 {
	t.Helper()
	noLeaks(t)
	loop, _ := startLoop(t, nil)
	m := &member1{t: t, self: self, answers: &answers{}}
	m.peers = newPeers(peersOptions{
		Self: self, Cluster: cluster, Store: store, Loop: loop, Writes: writes,
		Lost: func(segment.ID) { m.lost.Add(1) }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(m.peers.Close)
	if err := m.peers.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// noLeaks fails a test that leaves goroutines behind.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// serve lets the node listen at an address, empty for any, until the test or stop ends it.
func (m *member1) serve(address string) {
	m.t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		m.t.Fatal(err)
	}
	m.addr = l.Addr()
	server, err := kafka.New(kafka.Config{}, backendOf(m))
	if err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(context.Background(), listener.Endpoint{Name: "peer", Listener: counting{l, &m.accepted}})
	}()
	m.stop = sync.OnceFunc(func() {
		server.Close()
		if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) { // closed before it began to serve
			m.t.Error(err)
		}
	})
	m.t.Cleanup(m.stop)
}

type noTopics = kafka.Topics

// backendOf is the Backend of a node that serves no clients.
func backendOf(m *member1) kafka.Backend {
	return kafka.Backend{
		ClusterID: "c", NodeID: func() int32 { return 1 }, Controller: func() int32 { return 2 }, Brokers: func() []kafka.Broker { return nil },
		Topics: struct{ noTopics }{}, Placement: func(*metadata.Topic, int32) kafka.Placement { return kafka.Placement{} },
		Deposed: func(context.Context) bool { return false }, Admin: struct{ metadata.Admin }{}, Appender: func(uint32) kafka.Appender { return nil },
		BrokerConfigs: noConfigs, Store: "s", Size: func(*metadata.Topic, int32) (int64, bool) { return 0, false },
		Reader: struct{ kafka.Reader }{}, Groups: struct{ kafka.Groups }{}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Peers: m.peers.Door(), Cluster: m.answers,
	}
}

// runAt is a run of the node, as it registers under an address.
func (m *member1) runAt(a net.Addr) metadata.Run {
	tcp := a.(*net.TCPAddr)
	return metadata.Run{Start: m.self.Start, MinLevel: 1, MaxLevel: metadata.LevelCluster, Roles: metadata.RoleIngest, Listeners: []metadata.Listener{{Name: "peer", Host: tcp.IP.String(), Port: uint16(tcp.Port)}}}
}

func (m *member1) run() metadata.Run { return m.runAt(m.addr) }

// anyStart is the run, of which any start may answer.
func anyStart(run metadata.Run) metadata.Run {
	run.Start = segment.ID{}
	return run
}

// dialed dials another node, and returns the outcome.
func (m *member1) dialed(node segment.ID, run metadata.Run, limit time.Duration) membership.Outcome {
	m.t.Helper()
	return asked(m.t, m.peers.opt.Loop, func(done func(membership.Outcome)) { m.peers.Dial(node, run, limit, done) })
}

// called sends a request to another node, and returns its end.
func (m *member1) called(node segment.ID, run metadata.Run, r drive.Request, limit time.Duration) drive.Response {
	m.t.Helper()
	return asked(m.t, m.peers.opt.Loop, func(done func(drive.Response)) { m.peers.Call(node, anyStart(run), r, limit, done) })
}

func beat() drive.Request {
	h := membership.Heartbeat{Applied: 7}
	return drive.Request{Kind: peer.KindHeartbeat, Body: h.Append(nil)}
}

func probe() drive.Request { return drive.Request{Kind: peer.KindProbe} }

func identity(node, start byte) peer.Identity {
	return peer.Identity{Node: segment.ID{1, 15: node}, Start: segment.ID{2, 15: start}}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// accepting is a process that is none of the cluster. serve serves a connection, until the test
// ends and closes it.
func accepting(t *testing.T, serve func(nc net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer nc.Close()
				defer context.AfterFunc(ctx, func() { nc.Close() })()
				serve(nc)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	return l.Addr()
}

// relay connects a connection with an address, until both ends have closed theirs.
func relay(t *testing.T, nc net.Conn, to net.Addr) {
	back, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer back.Close()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		io.Copy(back, nc)
		back.Close()
	})
	io.Copy(nc, back)
	nc.Close()
}

// cutAfter relays some requests, and cuts the connection before the answer to the last one.
func cutAfter(t *testing.T, nc net.Conn, to net.Addr, most int32, requests *atomic.Int32) {
	back, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer back.Close()
	for {
		frame := readFrame(nc)
		if frame == nil {
			return
		}
		if requests.Add(1) == most {
			return
		}
		back.Write(frame)
		nc.Write(readFrame(back))
	}
}

func readFrame(nc net.Conn) []byte {
	head := make([]byte, 4)
	if _, err := io.ReadFull(nc, head); err != nil {
		return nil
	}
	body := make([]byte, int(head[2])<<8|int(head[3]))
	if _, err := io.ReadFull(nc, body); err != nil {
		return nil
	}
	return append(head, body...)
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(peerLimit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never comes about")
		}
	}
}
