package announce

import (
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/varvelog/varve/metadata/membership"
)

// subscription is one subscription. NATS puts messages into in, and its own
// goroutine takes them out.
type subscription[T any] struct {
	bus    *NATS
	topic  *topic[T]
	in     *newest[T]
	nats   *nats.Subscription
	stop   chan struct{}
	done   chan struct{} // closed when the goroutine has ended
	cancel func()        // once; waits for done
}

// Subscribe calls fn with announcements until cancel is called, one at a time, on a
// goroutine of its own. While fn is busy, only the newest of each journal waits. cancel
// waits for the last call of fn, so fn must not call it. The NATS client subscribes again
// by itself when it finds a server again.
func (b *NATS) Subscribe(fn func(Announcement)) (cancel func(), err error) {
	return subscribe(b, &committed, fn)
}

// SubscribeLeaders is Subscribe for leaders. They are claims: the receiver reads the object
// that a claim names before it believes it.
func (b *NATS) SubscribeLeaders(fn func(membership.Leader)) (cancel func(), err error) {
	return subscribe(b, &leaders, fn)
}

func subscribe[T any](b *NATS, t *topic[T], fn func(T)) (cancel func(), err error) {
	s := &subscription[T]{bus: b, topic: t, in: newNewest(t), stop: make(chan struct{}), done: make(chan struct{})}
	s.cancel = sync.OnceFunc(s.end)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return nil, fmt.Errorf("subscribe to announcements: %w", ErrClosed)
	}
	s.nats, err = b.conn.Subscribe(t.all(b.opts.Cluster), s.receive)
	if err != nil {
		return nil, fmt.Errorf("subscribe to announcements: %w", err)
	}
	if err := s.nats.SetPendingLimits(pendingMsgs, pendingBytes); err != nil {
		_ = s.nats.Unsubscribe() // err is the one that matters
		return nil, fmt.Errorf("bound announcements: %w", err)
	}
	b.mu.subs[s] = s.cancel
	go func() {
		defer close(s.done)
		s.in.drain(s.stop, fn)
	}()
	return s.cancel, nil
}

// receive checks one message. It never blocks the NATS client.
func (s *subscription[T]) receive(m *nats.Msg) {
	cluster, v, err := s.topic.decode(m.Data)
	if err != nil || cluster != s.bus.opts.Cluster || m.Subject != s.topic.subject(cluster, s.topic.journal(v)) || !s.in.offer(v) {
		s.bus.refused.Add(1)
		return
	}
	s.bus.received.Add(1)
}

func (s *subscription[T]) end() {
	// It fails only when the connection is gone, and the subscription with it.
	_ = s.nats.Unsubscribe()
	close(s.stop)
	<-s.done
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	delete(s.bus.mu.subs, s)
}
