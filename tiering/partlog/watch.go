package partlog

import (
	"slices"
	"sync"
)

// Watcher is notified when a partition moves. Moved is called by Apply, while all
// watchers wait: it must be quick, must not block, and must not call the State.
type Watcher interface{ Moved() }

// waiters holds the watchers of partitions. It has a lock of its own, so that waking does
// not keep the readers of the state waiting.
type waiters struct {
	mu    sync.Mutex
	byKey map[Key][]Watcher // few for most keys, and then a map of each would cost more
}

type waiter struct{ wake chan<- struct{} }

// Moved implements Watcher.
func (w *waiter) Moved() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watch sends on wake, without blocking, whenever Start or End of one of the
// keys moves, and when one of them is opened or sealed, until cancel is called. wake must
// have room for one value; a send that finds it full is not needed. Watch first, and look
// up then: every later change is announced.
func (s *State) Watch(keys []Key, wake chan<- struct{}) (cancel func()) {
	w := &waiter{wake: wake}
	s.waiters.add(keys, w)
	return func() { s.waiters.remove(keys, w) }
}

// Attach has w notified of the moves of one partition, those that Watch announces, until
// Detach is called with the same w. It is for watchers that stay for long.
func (s *State) Attach(k Key, w Watcher) { s.waiters.add([]Key{k}, w) }

// Detach ends Attach. One notification may be under way when it is called.
func (s *State) Detach(k Key, w Watcher) { s.waiters.remove([]Key{k}, w) }

func (ws *waiters) add(keys []Key, w Watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		ws.byKey[k] = append(ws.byKey[k], w)
	}
}

func (ws *waiters) remove(keys []Key, w Watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		of := ws.byKey[k]
		i := slices.Index(of, w)
		switch last := len(of) - 1; {
		case i < 0: // cancelled before
		case last == 0:
			delete(ws.byKey, k)
		default:
			of[i], of[last] = of[last], nil
			ws.byKey[k] = of[:last]
		}
	}
}

func (ws *waiters) wake(keys []Key) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		for _, w := range ws.byKey[k] {
			w.Moved()
		}
	}
}
