package node

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

func noConfigs() []topicconfig.BrokerConfig { return nil }

// two are nodes of one cluster. The second one listens.
func two(t *testing.T) (one, other *member1) {
	t.Helper()
	store := mem.New(time.Now, nil)
	one, other = newMember(t, store, theCluster, identity(1, 1), true), newMember(t, store, theCluster, identity(2, 2), true)
	other.serve("")
	return one, other
}

// A handshake proves the cluster, the data folder and the start, or shows which of them another
// process has.
func TestAHandshakeShowsWhichProcessAnswers(t *testing.T) {
	one, other := two(t)
	if got := one.dialed(other.self.Node, other.run(), peerLimit); got != membership.Proved {
		t.Errorf("the node itself: %v", got)
	}
	if got := one.dialed(other.self.Node, anyStart(other.run()), peerLimit); got != membership.Proved {
		t.Errorf("any start: %v", got)
	}
	start := other.run()
	start.Start = segment.ID{77}
	if got := one.dialed(other.self.Node, start, peerLimit); got != membership.Replaced {
		t.Errorf("another start: %v", got)
	}
	if got := one.dialed(segment.ID{77}, other.run(), peerLimit); got != membership.Replaced {
		t.Errorf("another data folder: %v", got)
	}
	stranger := newMember(t, mem.New(time.Now, nil), segment.ID{8}, other.self, true)
	stranger.serve("")
	if got := one.dialed(other.self.Node, stranger.run(), peerLimit); got != membership.Replaced {
		t.Errorf("another cluster: %v", got)
	}
	copied := newMember(t, mem.New(time.Now, nil), theCluster, other.self, true)
	copied.serve("")
	if got := one.dialed(other.self.Node, copied.run(), peerLimit); got != membership.Replaced {
		t.Errorf("another secret: %v", got)
	}
	other.stop()
	if got := one.dialed(other.self.Node, other.run(), peerLimit); got != membership.Refused {
		t.Errorf("no process: %v", got)
	}
	if got := one.dialed(other.self.Node, metadata.Run{}, 10*time.Millisecond); got != membership.TimedOut {
		t.Errorf("no address: %v", got)
	}
}

// Neither silence nor a connection that is closed at once shows that a node is dead.
func TestSilenceIsNoAnswer(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"says nothing":    func(nc net.Conn) { io.Copy(io.Discard, nc) },
		"closes":          func(net.Conn) {},
		"half a frame":    func(nc net.Conn) { nc.Write([]byte{0, 0, 0, 50, 0, 0}); io.Copy(io.Discard, nc) },
		"half and closes": func(nc net.Conn) { io.ReadFull(nc, make([]byte, 8)); nc.Write([]byte{0, 0, 0, 50, 0, 0}) },
		"garbage":         func(nc net.Conn) { nc.Write(randomBytes(100)); io.Copy(io.Discard, nc) },
		"text": func(nc net.Conn) {
			io.ReadFull(nc, make([]byte, 8))
			io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			one := newMember(t, mem.New(time.Now, nil), theCluster, identity(1, 1), true)
			at := one.runAt(accepting(t, serve))
			if got := one.dialed(segment.ID{2}, at, 300*time.Millisecond); got != membership.TimedOut {
				t.Errorf("dialed: %v", got)
			}
			if got := one.called(segment.ID{2}, at, beat(), 300*time.Millisecond); got.Outcome != membership.TimedOut || got.Err != nil {
				t.Errorf("called: %+v", got)
			}
		})
	}
}

// A node that closes connections for a moment is tried again within the limit.
func TestADialTriesUntilItsLimit(t *testing.T) {
	one, other := two(t)
	var first sync.Once
	at := accepting(t, func(nc net.Conn) {
		closes := false
		first.Do(func() { closes = true })
		if !closes {
			relay(t, nc, other.addr)
		}
	})
	if got := one.dialed(other.self.Node, other.runAt(at), peerLimit); got != membership.Proved {
		t.Errorf("%v", got)
	}
}

// Each end reads the keys that it lacks, whichever of them is behind.
func TestKeysAreReadWhenTheyAreNeeded(t *testing.T) {
	one, other := two(t)
	keys := func(m *member1) *peer.Keys { return m.peers.keys[segment.PeerIngest] }
	for name, ahead := range map[string]*member1{"the caller is behind": other, "the callee is behind": one} {
		for range 2 { // the key that is replaced is accepted
			if err := keys(ahead).Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := one.dialed(other.self.Node, other.run(), peerLimit); got != membership.Proved {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A node that only reads begins without a key, and reads it when it calls or is called first.
func TestNodesThatReadHaveTheirOwnKey(t *testing.T) {
	store := mem.New(time.Now, nil)
	reads, calls := newMember(t, store, theCluster, identity(3, 3), false), newMember(t, store, theCluster, identity(4, 4), false)
	writes := newMember(t, store, theCluster, identity(1, 1), true)
	reads.serve("")
	writes.serve("")
	run := reads.run()
	run.Roles = metadata.RoleFetch
	if got := writes.dialed(reads.self.Node, run, peerLimit); got != membership.Proved {
		t.Errorf("the node that reads is dialed: %v", got)
	}
	if r := reads.called(writes.self.Node, writes.run(), beat(), peerLimit); r.Outcome != membership.Proved || r.Err != nil {
		t.Errorf("it sends a heartbeat: %+v", r)
	}
	if r := calls.called(writes.self.Node, writes.run(), beat(), peerLimit); r.Outcome != membership.Proved || r.Err != nil {
		t.Errorf("one that was not called before sends a heartbeat: %+v", r)
	}
	if r := reads.called(writes.self.Node, writes.run(), probe(), peerLimit); r.Outcome != membership.Proved || !errors.Is(r.Err, kerr.ClusterAuthorizationFailed) {
		t.Errorf("it asks for a probe: %+v", r)
	}
}
