package main

import "sync"

// order lets numbered operations begin while they are less than width ahead of
// the lowest one that has not ended.
type order struct {
	width   int
	mu      sync.Mutex
	changed sync.Cond
	next    int
	running map[int]bool
}

func newOrder(width int) *order {
	o := &order{width: width, running: map[int]bool{}}
	o.changed.L = &o.mu
	return o
}

func (o *order) begin() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.next >= o.lowest()+o.width {
		o.changed.Wait()
	}
	seq := o.next
	o.next++
	o.running[seq] = true
	return seq
}

func (o *order) end(seq int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.running, seq)
	o.changed.Broadcast()
}

// lowest returns the first that has not ended, or the next one.
func (o *order) lowest() int {
	low := o.next
	for seq := range o.running {
		low = min(low, seq)
	}
	return low
}
