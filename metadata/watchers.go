package metadata

import "sync"

// watchers are channels that are woken when something has changed. The zero value
// has none. It has a lock of its own, and may be woken under the lock of its user.
type watchers struct {
	mu    sync.Mutex
	wakes map[chan<- struct{}]int // how often each is watched by
}

// watch lets wake be woken until cancel is called.
func (w *watchers) watch(wake chan<- struct{}) (cancel func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wakes == nil {
		w.wakes = map[chan<- struct{}]int{}
	}
	w.wakes[wake]++
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.wakes[wake]--; w.wakes[wake] == 0 {
			delete(w.wakes, wake)
		}
	})
}

// wake sends on each channel that has room. It never blocks.
func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for wake := range w.wakes {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}
