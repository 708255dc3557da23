// Package session holds the rules of Kafka's fetch sessions (KIP-227).
//
// It owns the ids and epochs of sessions, which of them are kept, and the partitions of
// each with the state that its client knows. It promises:
//
//   - A session is continued only by its owner, with the epoch that follows, and in the
//     form in which it names topics.
//   - There are never more sessions, nor more bytes charged for them, than the limits say.
//   - An answer leaves a partition out only if the client knows its state.
//
// It never reads a clock, waits, or reads records: the caller passes the time and the
// results, and serializes the calls.
package session

import (
	"cmp"
	"errors"
	"math"
	"time"
)

// The errors of a request that continues a session.
var (
	ErrNotFound = errors.New("there is no such fetch session")
	ErrEpoch    = errors.New("the epoch is not the one that follows in the fetch session")
	// ErrTopicIDs means that the request names topics by ids and the session by names, or
	// the other way around.
	ErrTopicIDs = errors.New("the fetch session names topics in another form")
)

// The epochs of full requests: to open a session, and to close one or do without.
const (
	Initial = 0
	Final   = -1
)

// None is the id in the answer of a request that has no session.
const None = int32(0)

// Full reports whether a request with this epoch names all of its partitions, whatever
// session it names.
func Full(epoch int32) bool { return epoch == Initial || epoch == Final }

// next returns the epoch that follows: 1 after the last.
func next(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// Owner is the client that a session belongs to. The id of a session is no secret: to any
// other owner there is no such session.
type Owner struct{ Type, Name string }

// Limits bound the sessions of a Cache.
type Limits struct {
	Sessions int           // Kafka's max.incremental.fetch.session.cache.slots
	Bytes    int64         // charged for all sessions
	Stale    time.Duration // Kafka's min.incremental.fetch.session.eviction.ms
}

// Size is the charge for a session.
type Size struct {
	Partitions int
	Bytes      int64
}

// Session is one session. T is the caller's part of it.
type Session[T any] struct {
	ID    int32
	Value T

	owner         Owner
	byID          bool  // it names topics by their ids
	epoch         int32 // of the request that follows
	created, used time.Time
	size          Size
	closed        bool
}

// Epoch returns the epoch of the request that follows.
func (s *Session[T]) Epoch() int32 { return s.epoch }

// Closed reports whether the Cache has dropped the session.
func (s *Session[T]) Closed() bool { return s.closed }

// Cache is the sessions of a node.
type Cache[T any] struct {
	limits    Limits
	random    func() int32 // a number from 1 on
	sessions  map[int32]*Session[T]
	size      Size
	evictions uint64
}

// NewCache returns a Cache without sessions. random returns numbers from 1 on.
func NewCache[T any](limits Limits, random func() int32) *Cache[T] {
	return &Cache[T]{limits: limits, random: random, sessions: make(map[int32]*Session[T])}
}

// Use is the content of a Cache.
type Use struct {
	Sessions, Partitions int
	Bytes                int64
	Evictions            uint64 // so far
}

// Use returns the content of the Cache.
func (c *Cache[T]) Use() Use {
	return Use{Sessions: len(c.sessions), Partitions: c.size.Partitions, Bytes: c.size.Bytes, Evictions: c.evictions}
}

// Opening is a session to be opened.
type Opening[T any] struct {
	Owner Owner
	ByID  bool // it names topics by their ids
	Size  Size
	Value T
}

// Open opens a session, unless there is no room and no session to be evicted for it: then
// it returns nil. It also returns the sessions that it evicted.
func (c *Cache[T]) Open(now time.Time, o Opening[T]) (opened *Session[T], evicted []*Session[T]) {
	if c.limits.Sessions == 0 || o.Size.Bytes > c.limits.Bytes {
		return nil, nil
	}
	for len(c.sessions) >= c.limits.Sessions || c.size.Bytes+o.Size.Bytes > c.limits.Bytes {
		victim := c.victim(now, o.Size.Partitions)
		if victim == nil {
			return nil, evicted
		}
		c.remove(victim)
		c.evictions++
		evicted = append(evicted, victim)
	}
	s := &Session[T]{
		ID: c.newID(), Value: o.Value, owner: o.Owner, byID: o.ByID, epoch: next(Initial),
		created: now, used: now, size: o.Size,
	}
	c.sessions[s.ID] = s
	c.charge(o.Size, 1)
	return s, evicted
}

func (c *Cache[T]) newID() int32 {
	for {
		if id := c.random(); id > 0 && c.sessions[id] == nil {
			return id
		}
	}
}

// victim returns the session that one with a number of partitions may evict, as in
// Kafka's FetchSessionCache: the one that was not used for longest, if that is stale.
// Otherwise it is the smallest of those that were still used long after they were
// created, if the new one is larger. Ids decide between equals.
func (c *Cache[T]) victim(now time.Time, partitions int) *Session[T] {
	var stalest, smallest *Session[T]
	for _, s := range c.sessions {
		if stalest == nil || cmp.Or(s.used.Compare(stalest.used), cmp.Compare(s.ID, stalest.ID)) < 0 {
			stalest = s
		}
		if s.used.Sub(s.created) <= c.limits.Stale {
			continue
		}
		if smallest == nil || cmp.Or(cmp.Compare(s.size.Partitions, smallest.size.Partitions), cmp.Compare(s.ID, smallest.ID)) < 0 {
			smallest = s
		}
	}
	switch {
	case stalest != nil && now.Sub(stalest.used) > c.limits.Stale:
		return stalest
	case smallest != nil && partitions > smallest.size.Partitions:
		return smallest
	}
	return nil
}

// Close closes a session of the owner, and returns it; nil if there is none.
func (c *Cache[T]) Close(id int32, owner Owner) *Session[T] {
	s := c.sessions[id]
	if s == nil || s.owner != owner {
		return nil
	}
	c.remove(s)
	return s
}

// Drop closes a session, unless that has happened.
func (c *Cache[T]) Drop(s *Session[T]) {
	if !s.closed {
		c.remove(s)
	}
}

func (c *Cache[T]) remove(s *Session[T]) {
	s.closed = true
	delete(c.sessions, s.ID)
	c.charge(s.size, -1)
}

func (c *Cache[T]) charge(size Size, sign int) {
	c.size.Partitions += sign * size.Partitions
	c.size.Bytes += int64(sign) * size.Bytes
}

// Continue returns the session that a request continues, which is in the next epoch from
// then on.
func (c *Cache[T]) Continue(now time.Time, id, epoch int32, owner Owner, byID bool) (*Session[T], error) {
	s := c.sessions[id]
	switch {
	case s == nil || s.owner != owner:
		return nil, ErrNotFound
	case s.epoch != epoch:
		return nil, ErrEpoch
	case s.byID != byID:
		return nil, ErrTopicIDs
	}
	s.epoch, s.used = next(epoch), now
	return s, nil
}

// Resize changes the charge for a session. It reports false, and changes nothing, if
// there is no room, or if the session is closed.
func (c *Cache[T]) Resize(s *Session[T], size Size) bool {
	if s.closed || size.Bytes > s.size.Bytes && c.size.Bytes-s.size.Bytes+size.Bytes > c.limits.Bytes {
		return false
	}
	c.charge(s.size, -1)
	s.size = size
	c.charge(size, 1)
	return true
}
