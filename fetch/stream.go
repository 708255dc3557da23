package fetch

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
)

const (
	// minWindow and maxWindow bound the bytes that are read ahead for one reader of one
	// partition. The window begins with startWindow. One object is read ahead in any
	// case.
	minWindow   = 1 << 20
	startWindow = 4 << 20
	maxWindow   = 128 << 20
	// maxObjects bounds the objects in the window, because each may take a GET.
	maxObjects = 128
	// windowPause is the number of answers for which a window that was too large does not
	// grow.
	windowPause = 16
	// maxStreams bounds the readers that are remembered.
	maxStreams = 4096
	// streamIdle is the time after which a reader is taken to be gone.
	streamIdle = 30 * time.Second
	// tailObjects is how many objects at the head of a journal are its tail. Readers there
	// share their blocks.
	tailObjects = 16
	// caughtUp is the number of objects before the head at which a replay ends.
	caughtUp = 2
)

// streams remembers the readers that replay a partition, from one request to the next. A
// Fetch for the offset at which an answer ended comes from the reader of that answer.
// Readers that keep pace with each other count as one.
type streams struct {
	cache *cache.Cache
	now   func() time.Time

	mu    sync.Mutex
	byKey map[partlog.Key][]*stream
	order list.List // of *stream, the one used last in front
}

// stream is one such reader. The lock of streams guards it.
type stream struct {
	key      partlog.Key
	at, next int64 // offset of its last request, and of the one that will follow
	used     time.Time
	element  *list.Element

	ahead    cache.Ahead
	window   int64     // bytes to read ahead
	pause    int       // answers until it may grow again
	waited   bool      // the last answer was not in memory in time
	planned  []planned // objects that were read ahead, and that next has not passed
	planning bool
	gone     bool // forgotten, though a request may still hold it
}

// planned is an object that was read ahead.
type planned struct {
	end   int64 // offset after its last one
	bytes int64
}

func newStreams(c *cache.Cache) *streams {
	return &streams{cache: c, now: time.Now, byKey: make(map[partlog.Key][]*stream)}
}

// find returns the reader that asks for this offset, or asks for it again. It returns nil
// if the reader is not known.
func (ss *streams) find(k partlog.Key, offset int64) *stream {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.byKey[k] {
		if s.next == offset || s.at == offset {
			s.used = ss.now()
			ss.order.MoveToFront(s.element)
			return s
		}
	}
	return nil
}

// answered remembers that a reader was answered from offset at to next. The reader is new
// if s is nil.
func (ss *streams) answered(s *stream, k partlog.Key, at, next int64, waited bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.sweepLocked()
	if s == nil {
		s = &stream{key: k, window: startWindow, used: ss.now()}
		s.element = ss.order.PushFront(s)
		ss.byKey[k] = append(ss.byKey[k], s)
	}
	s.at, s.next, s.waited = at, next, waited
}

// leave forgets a reader that does not replay any more.
func (ss *streams) leave(s *stream) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.dropLocked(s)
}

// sweepLocked forgets readers that are gone, and makes room for one.
func (ss *streams) sweepLocked() {
	for e := ss.order.Back(); e != nil; e = ss.order.Back() {
		s := e.Value.(*stream)
		if ss.order.Len() < maxStreams && ss.now().Sub(s.used) < streamIdle {
			return
		}
		ss.dropLocked(s)
	}
}

func (ss *streams) dropLocked(s *stream) {
	of := ss.byKey[s.key]
	i := slices.Index(of, s)
	if i < 0 {
		return // by another request of the same reader
	}
	if ss.order.Remove(s.element); len(of) == 1 {
		delete(ss.byKey, s.key)
	} else {
		ss.byKey[s.key] = slices.Delete(of, i, i+1)
	}
	s.gone = true
	ss.cache.Abandon(&s.ahead)
}

// begin returns how to read ahead for the readers among the plans: from which offset on,
// and how much. It returns none while all readers have enough; else end must follow.
func (ss *streams) begin(plans []plan) []ahead {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var readers []ahead
	needed := false
	for i := range plans {
		s := plans[i].stream
		if s == nil || s.planning || s.gone {
			continue
		}
		from, bytes := ss.leftLocked(s)
		// Many at a time, so that extents of one object are read at once.
		needed = needed || bytes >= s.window/2 && len(s.planned) <= maxObjects/2
		readers = append(readers, ahead{
			plan: &plans[i], from: max(from, plans[i].after()), bytes: bytes, objects: maxObjects - len(s.planned),
		})
		s.planning = true // by this request alone, even if it has two plans of one reader
	}
	if !needed {
		for i := range readers {
			readers[i].stream.planning = false
		}
		return nil
	}
	return readers
}

// leftLocked returns the offset up to which everything is read ahead for s, and how many
// bytes more may be.
func (ss *streams) leftLocked(s *stream) (from, bytes int64) {
	lost, room := ss.cache.Look(&s.ahead)
	if lost > 0 {
		s.planned = nil // some of it is read ahead again
	}
	s.resize(lost > 0, room/int64(max(ss.order.Len(), 1)))
	for len(s.planned) > 0 && s.planned[0].end <= s.next {
		s.planned = s.planned[1:]
	}
	from, bytes = s.next, s.window
	for _, p := range s.planned {
		from, bytes = p.end, bytes-p.bytes
	}
	return from, bytes
}

// resize fits the window to the last answer. It doubles while the reader has to wait, up
// to its part of the room. It halves when bytes that were read ahead were dropped unread.
func (s *stream) resize(lost bool, part int64) {
	s.pause = max(0, s.pause-1)
	switch {
	case lost:
		s.window, s.pause = s.window/2, windowPause
	case s.waited && s.pause == 0:
		s.window *= 2
	}
	s.window = max(minWindow, min(s.window, part, maxWindow))
}

// end notes the objects that are now read ahead.
func (ss *streams) end(readers []ahead, done []step) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, st := range done {
		st.stream.planned = append(st.stream.planned, st.planned)
	}
	for i := range readers {
		s := readers[i].stream
		if s.planning = false; s.gone { // forgotten since begin: no request will come
			ss.cache.Abandon(&s.ahead)
		}
	}
}
