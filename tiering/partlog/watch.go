package partlog

import (
	"slices"
	"sync"
)

// Watcher is notified when a partition moves. Moved is called by Apply, while all
// watchers wait: it must be quick, must not block, and must not call the State. Its type can
// be compared, such as a pointer.
type Watcher interface{ Moved() }

// waiters holds the watchers of partitions. It has a lock of its own, so that waking does
// not keep the readers of the state waiting.
type waiters struct {
	mu    sync.Mutex
	byKey map[Key]*watchers
}

// watchers are those of one partition: few for most, and then a map would cost more.
type watchers struct {
	list []Watcher
	at   map[Watcher]int // place in list, once there are many: all of them leave after each batch
	one  [1]Watcher      // memory of list while there is one
}

// manyWatchers is how many are found faster by the map.
const manyWatchers = 64

func (ws *watchers) add(w Watcher) {
	ws.list = append(ws.list, w)
	switch {
	case ws.at != nil:
		ws.at[w] = len(ws.list) - 1
	case len(ws.list) > manyWatchers:
		ws.at = make(map[Watcher]int, len(ws.list))
		for i, w := range ws.list {
			ws.at[w] = i
		}
	}
}

// remove removes w once, if it is there.
func (ws *watchers) remove(w Watcher) {
	i, ok := ws.at[w]
	if !ok { // also of one that was added twice and removed once
		i = slices.Index(ws.list, w)
	}
	if i < 0 {
		return // cancelled before
	}
	delete(ws.at, w)
	last := len(ws.list) - 1
	if moved := ws.list[last]; i < last {
		ws.list[i] = moved
		if ws.at != nil {
			ws.at[moved] = i
		}
	}
	ws.list[last] = nil
	ws.list = ws.list[:last]
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

// Disturb has all watchers notified, though nothing has moved: they are to look again because
// something else has changed, as the end of a leadership.
func (s *State) Disturb() {
	s.waiters.mu.Lock()
	defer s.waiters.mu.Unlock()
	for _, of := range s.waiters.byKey {
		for _, w := range of.list {
			w.Moved()
		}
	}
}

func (ws *waiters) add(keys []Key, w Watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		if ws.byKey[k] == nil {
			of := &watchers{}
			of.list = of.one[:0]
			ws.byKey[k] = of
		}
		ws.byKey[k].add(w)
	}
}

func (ws *waiters) remove(keys []Key, w Watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		of := ws.byKey[k]
		if of == nil {
			continue // cancelled before
		}
		if of.remove(w); len(of.list) == 0 {
			delete(ws.byKey, k)
		}
	}
}

func (ws *waiters) wake(keys []Key) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		of := ws.byKey[k]
		if of == nil {
			continue
		}
		for _, w := range of.list {
			w.Moved()
		}
	}
}
