package ingest

import (
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Want is what the cluster's metadata wants of a journal: the partitions that accept
// records in it, and those that no longer do.
type Want struct {
	Open   []partlog.Key
	Sealed []partlog.Key
}

// barrier is the command that brings the journal to a Want, by entries for the
// difference. Entries under way, of another call or another leader, count.
type barrier struct {
	core *core
	want Want
	done chan<- error
}

// reconcile brings the journal to want; done gets nil when that is committed.
func (c *core) reconcile(want Want, done chan<- error) {
	if err := c.refuses(AcksLeader); err != nil {
		done <- err
		return
	}
	c.start(&barrier{core: c, want: want, done: done})
}

// propose opens partitions, and seals each as soon as that is possible: it may still
// be opening when its seal is asked for.
func (b *barrier) propose(add func(segment.Entry)) {
	ends := &b.core.ends
	for _, k := range b.want.Open {
		if ends.startOpening(k) {
			add(partlog.Open{Key: k}.Encode())
		}
	}
	for _, k := range b.want.Sealed {
		if ends.close(k) {
			add(partlog.Seal{Key: k}.Encode())
		}
	}
}

func (b *barrier) reached() bool {
	for _, k := range b.want.Open {
		if _, ok := b.core.state.Lookup(k); !ok {
			return false
		}
	}
	for _, k := range b.want.Sealed {
		if v, ok := b.core.state.Lookup(k); b.core.ends.isOpening(k) || ok && !v.Sealed {
			return false
		}
	}
	return true
}

func (b *barrier) answer(err error) { b.done <- err }
