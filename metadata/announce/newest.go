package announce

import "sync"

// maxJournals limits how many journals have a hint waiting. It is far more than
// a cluster has, so that only forged hints are ever refused.
const maxJournals = 4096

// newest holds at most one hint about each journal until it is taken. It
// compares only with those that wait, so a forged high seq hides true ones no
// longer than until the next take.
type newest[T any] struct {
	topic *topic[T]
	mu    struct {
		sync.Mutex
		waiting map[uint32]T
	}
	ready chan struct{} // holds a token when a hint waits
}

func newNewest[T any](t *topic[T]) *newest[T] {
	n := &newest[T]{topic: t, ready: make(chan struct{}, 1)}
	n.mu.waiting = map[uint32]T{}
	return n
}

// offer keeps v if no newer one of its journal waits. It never blocks. False
// means that v was refused because too many journals wait.
func (n *newest[T]) offer(v T) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	journal := n.topic.journal(v)
	old, waits := n.mu.waiting[journal]
	if waits && !n.topic.before(old, v) {
		return true
	}
	if !waits && len(n.mu.waiting) >= maxJournals {
		return false
	}
	n.mu.waiting[journal] = v
	select {
	case n.ready <- struct{}{}:
	default:
	}
	return true
}

// take removes and returns the waiting hints, in no order.
func (n *newest[T]) take() []T {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := make([]T, 0, len(n.mu.waiting))
	for _, v := range n.mu.waiting {
		taken = append(taken, v)
	}
	clear(n.mu.waiting)
	return taken
}

// drain calls fn for each hint until stop is closed.
func (n *newest[T]) drain(stop <-chan struct{}, fn func(T)) {
	for {
		select {
		case <-stop:
			return
		case <-n.ready:
		}
		for _, v := range n.take() {
			select {
			case <-stop:
				return
			default:
				fn(v)
			}
		}
	}
}
