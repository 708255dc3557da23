package group

import (
	"container/heap"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// timer is a function to call at a time. The timers it belongs to set it, set
// it again, and stop it.
type timer struct {
	fire  func(out coordinator.Out)
	at    time.Time
	turn  uint64 // orders those of the same time
	index int    // in the heap, from 1; 0 while it is not set
}

// timers are the timers of a Machine, by their time.
type timers struct {
	heap timerHeap
	turn uint64
}

func (ts *timers) set(t *timer, at time.Time) {
	ts.turn++
	t.at, t.turn = at, ts.turn
	if t.index == 0 {
		heap.Push(&ts.heap, t)
		return
	}
	heap.Fix(&ts.heap, t.index-1)
}

func (ts *timers) stop(t *timer) {
	if t.index > 0 {
		heap.Remove(&ts.heap, t.index-1)
	}
}

// next returns when the first one is due, zero if none is set.
func (ts *timers) next() time.Time {
	if len(ts.heap) == 0 {
		return time.Time{}
	}
	return ts.heap[0].at
}

// due removes and returns the first timer that is due at now, nil if there is
// none.
func (ts *timers) due(now time.Time) *timer {
	if len(ts.heap) == 0 || ts.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(&ts.heap).(*timer)
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if c := h[i].at.Compare(h[j].at); c != 0 {
		return c < 0
	}
	return h[i].turn < h[j].turn
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.index = len(*h)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = 0
	return t
}
