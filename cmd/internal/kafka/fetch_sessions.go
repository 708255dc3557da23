package kafka

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/session"
)

// staleAfter is how long a fetch session must be unused until any other may take its
// place: Kafka's min.incremental.fetch.session.eviction.ms.
const staleAfter = 2 * time.Minute

// FetchSessions are the fetch sessions of a node (KIP-227). Nil has room for none.
type FetchSessions struct {
	now func() time.Time

	mu    sync.Mutex
	cache *session.Cache[*fetchSession] // guarded by mu, with the turns of all sessions
}

// NewFetchSessions returns room for a number of sessions, which take so many bytes.
func NewFetchSessions(sessions int, bytes int64, now func() time.Time) *FetchSessions {
	limits := session.Limits{Sessions: sessions, Bytes: bytes, Stale: staleAfter}
	return &FetchSessions{
		now:   now,
		cache: session.NewCache[*fetchSession](limits, func() int32 { return 1 + rand.Int32N(math.MaxInt32-1) }),
	}
}

// Use returns the content.
func (s *FetchSessions) Use() session.Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache.Use()
}

// fetchSession is the partitions of a session, for the request that has the turn. Turns
// are in the order of epochs.
type fetchSession struct {
	parts    *session.Partitions
	standing *fetch.Standing
	failed   map[int32]int16 // codes of the partitions that are not in standing, by slot
	version  uint64          // of the topics, when they were last resolved

	// Guarded by the lock of FetchSessions.
	turns int           // requests that have a turn, or wait for one
	last  chan struct{} // closed at the end of the last turn given out
	cut   func()        // ends the wait of the request that has the turn; nil while there is none
}

func newFetchSession() *fetchSession {
	return &fetchSession{parts: session.NewPartitions(), standing: fetch.NewStanding(), failed: map[int32]int16{}}
}

// turn is one request's use of a session.
type turn struct {
	of     *FetchSessions
	in     *session.Session[*fetchSession]
	epoch  int32         // that the session has, unless a later request has come
	before chan struct{} // nil if there was no turn before
	over   chan struct{}
}

func owner(c *listener.Client) session.Owner { return session.Owner(c.Principal) }

// open opens a session and gives its first request, which adds partitions, the turn. It
// returns nil if there is no room.
func (s *FetchSessions) open(by *listener.Client, byID bool, added session.Size) *turn {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	f := newFetchSession()
	in, evicted := s.cache.Open(s.now(), session.Opening[*fetchSession]{
		Owner: owner(by), ByID: byID, Size: f.parts.Size().Plus(added), Value: f,
	})
	var t *turn
	if in != nil {
		t = s.turnLocked(in)
	}
	unused := s.leaveLocked(evicted)
	s.mu.Unlock()
	closeAll(unused)
	return t
}

func (s *FetchSessions) turnLocked(in *session.Session[*fetchSession]) *turn {
	f := in.Value
	t := &turn{of: s, in: in, epoch: in.Epoch(), before: f.last, over: make(chan struct{})}
	f.last = t.over
	f.turns++
	return t
}

// close closes a session that a full request names.
func (s *FetchSessions) close(by *listener.Client, id int32) {
	if s == nil {
		return
	}
	s.mu.Lock()
	var unused []*fetchSession
	if closed := s.cache.Close(id, owner(by)); closed != nil {
		unused = s.leaveLocked([]*session.Session[*fetchSession]{closed})
	}
	s.mu.Unlock()
	closeAll(unused)
}

// leaveLocked ends the waits in sessions that were closed, and returns those without a
// turn. The others are freed at the end of their last turn.
func (s *FetchSessions) leaveLocked(closed []*session.Session[*fetchSession]) (unused []*fetchSession) {
	for _, c := range closed {
		f := c.Value
		if f.turns == 0 {
			unused = append(unused, f)
		} else if f.cut != nil {
			f.cut()
		}
	}
	return unused
}

func closeAll(unused []*fetchSession) {
	for _, f := range unused {
		f.standing.Close()
	}
}

// resume gives the next request of a session a turn. The request before it is answered at
// once: it is in doubt, or this one would not be there.
func (s *FetchSessions) resume(by *listener.Client, id, epoch int32, byID bool) (*turn, error) {
	if s == nil {
		return nil, session.ErrNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.cache.Continue(s.now(), id, epoch, owner(by), byID)
	if err != nil {
		return nil, err
	}
	if f := in.Value; f.cut != nil {
		f.cut()
	}
	return s.turnLocked(in), nil
}

// await waits until the turns before are over, which is soon: their waits are cut. It
// reports false if ctx ends first. Then the session is closed: the changes in its request
// were not made.
func (t *turn) await(ctx context.Context) bool {
	if t.before == nil {
		return true
	}
	select {
	case <-t.before:
		return true
	case <-ctx.Done():
		t.drop()
		<-t.before // the turns end in their order
		return false
	}
}

// charge changes the charge for the session, and reports whether there is room.
func (t *turn) charge(size session.Size) bool {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	return t.of.cache.Resize(t.in, size)
}

// drop closes the session.
func (t *turn) drop() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.of.cache.Drop(t.in)
}

// waits notes how the wait of the request is ended, nil if it is over. It reports false
// if a later request has come.
func (t *turn) waits(cut func()) bool {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.in.Value.cut = cut
	return t.in.Epoch() == t.epoch
}

// end ends the turn.
func (t *turn) end() {
	t.of.mu.Lock()
	f := t.in.Value
	f.turns--
	unused := t.in.Closed() && f.turns == 0
	t.of.mu.Unlock()
	close(t.over)
	if unused {
		f.standing.Close()
	}
}
