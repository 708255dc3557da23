package node

import (
	"context"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// leaderWait is how long an answer waits for the leader of a journal that has none. Most
	// journals have the next one after some tenths of a second.
	leaderWait = 3 * time.Second
	// leaderLook is the time between two looks.
	leaderLook = 10 * time.Millisecond
	// sendAwayFor is how long a node that has handed over all its journals answers clients
	// where they are led. Most clients that are active send a request in this time.
	sendAwayFor = time.Second
)

// leaderless remembers since when journals are known to have no leader. One that has none for
// long holds up no answer.
type leaderless struct {
	mu    sync.Mutex
	since map[uint32]time.Time // guarded by mu
}

// notes notes whether a journal has a leader, and reports whether the next one is awaited.
func (l *leaderless) notes(now time.Time, journal uint32, led bool) (awaited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if led {
		delete(l.since, journal)
		return false
	}
	since, known := l.since[journal]
	if !known {
		if l.since == nil {
			l.since = map[uint32]time.Time{}
		}
		since = now
		l.since[journal] = now
	}
	return now.Sub(since) < leaderWait
}

// awaitLeaders implements kafka.Backend.AwaitLeaders.
func (n *node) awaitLeaders(ctx context.Context, journals []uint32) {
	if !n.inCluster() {
		return
	}
	for {
		awaited := false
		for _, id := range journals {
			leader := n.leaders.Leader(id).Node
			led := !leader.IsZero() && !n.loses(leader)
			awaited = n.leaderless.notes(time.Now(), id, led) || awaited
		}
		if !awaited || pause(ctx, leaderLook) != nil {
			return
		}
	}
}

// loses reports whether a node that leads journals may have died.
func (n *node) loses(leader segment.ID) bool {
	return n.member != nil && n.member.watching.lost(leader)
}

// coordinatorOf is the broker that leads a partition of groups, or -1 if none is about to. Clients
// that are refused a request to a group ask for it at once.
func (n *node) coordinatorOf(ctx context.Context, t *metadata.Topic, partition int32) int32 {
	n.awaitLeaders(ctx, []uint32{t.Partitions[partition].Journal})
	return n.placement(t, partition).Leader
}

// sendAway lets clients learn from this node which nodes lead the journals that it has handed
// over. A connection that is refused says less, and some look elsewhere after seconds.
func (n *node) sendAway(ctx context.Context) {
	n.awaitLeaders(ctx, n.meta.Journals())
	_ = pause(ctx, sendAwayFor) // or less: the node ends
}
