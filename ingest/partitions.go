package ingest

import (
	"github.com/varvelog/varve/tiering/partlog"
)

// Want is what the cluster's metadata wants of a journal: which partitions take
// records in it, and which do not any more.
type Want struct {
	Open   []partlog.Key
	Sealed []partlog.Key
}

// barrier is a caller that waits until a Want is committed.
type barrier struct {
	want Want
	done chan<- error
}

// reconcile brings the journal to what is wanted, by entries for the difference;
// done is told when they are committed. What was asked for before, by another
// call or another leader, is not asked for again.
func (c *core) reconcile(want Want, done chan<- error) {
	if err := c.refuses(AcksLeader); err != nil {
		done <- err
		return
	}
	for _, k := range want.Open {
		if _, ok := c.state.Lookup(k); !ok && !c.opening[k] {
			c.opening[k] = true
			c.buffer.addEntry(partlog.Open{Key: k}.Encode(), c.now())
		}
	}
	c.barriers = append(c.barriers, barrier{want: want, done: done})
	c.passBarriers()
}

// seal stops taking records of a partition at once and lets the journal say so
// after those that were taken. A partition that was never opened has nothing to seal.
func (c *core) seal(k partlog.Key) {
	if c.parts[k] == nil {
		return
	}
	c.partsMu.Lock()
	delete(c.parts, k)
	c.partsMu.Unlock()
	c.buffer.addEntry(partlog.Seal{Key: k}.Encode(), c.now())
}

// passBarriers answers those whose Want is committed. It seals what is to be
// sealed as soon as that is possible: a partition may still be opening when its
// seal is asked for.
func (c *core) passBarriers() {
	left := c.barriers[:0]
	for _, b := range c.barriers {
		for _, k := range b.want.Sealed {
			c.seal(k)
		}
		if c.reached(b.want) {
			b.done <- nil
			continue
		}
		left = append(left, b)
	}
	c.barriers = left
}

func (c *core) reached(want Want) bool {
	for _, k := range want.Open {
		if _, ok := c.state.Lookup(k); !ok {
			return false
		}
	}
	for _, k := range want.Sealed {
		if v, ok := c.state.Lookup(k); c.opening[k] || ok && !v.Sealed {
			return false
		}
	}
	return true
}
