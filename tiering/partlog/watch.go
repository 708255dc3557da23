package partlog

import "sync"

// waiters are those who want to know when a partition moves. The lock is its
// own: waking takes the time of the woken, not of the readers of the state.
type waiters struct {
	mu    sync.Mutex
	byKey map[Key]map[*waiter]struct{}
}

type waiter struct{ wake chan<- struct{} }

// Watch sends on wake, without blocking, whenever Start or End of one of the
// keys moves, and when one of them is opened or sealed, until cancel is called.
// wake must have room for one value, so that a send which finds it full tells
// nothing new. Watch first and look up then: what the look-up does not show is
// announced.
func (s *State) Watch(keys []Key, wake chan<- struct{}) (cancel func()) {
	w := &waiter{wake: wake}
	s.waiters.add(keys, w)
	return func() { s.waiters.remove(keys, w) }
}

func (ws *waiters) add(keys []Key, w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		set := ws.byKey[k]
		if set == nil {
			set = make(map[*waiter]struct{})
			ws.byKey[k] = set
		}
		set[w] = struct{}{}
	}
}

func (ws *waiters) remove(keys []Key, w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		set := ws.byKey[k]
		delete(set, w)
		if len(set) == 0 {
			delete(ws.byKey, k)
		}
	}
}

func (ws *waiters) wake(keys []Key) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		for w := range ws.byKey[k] {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
}
