package ingest

import (
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Placements is a node's view of journal 0, as far as it says which partitions live in
// which journal. The view may lag, and only moves on. *metadata.State is one.
type Placements interface {
	// Placed returns the partitions of a journal that changed after seq since.
	Placed(journal uint32, since uint64) metadata.Placed
	// Watch sends on wake, without ever blocking, after the view has moved on. wake must
	// have room for one. cancel ends it.
	Watch(wake chan<- struct{}) (cancel func())
}

// reconciler lets the journal follow its node's view of journal 0: it opens the
// partitions that live in the journal, and seals those of deleted topics. One
// step at a time brings it to the newest view, by entries for the difference.
// Later changes are left to the next step.
//
// A report is never wrong, even of a leader that was deposed or whose view lags: it rests
// on entries that are committed in the journal. That is why a partition which was deleted
// before the journal saw it is opened and sealed. Otherwise the report would say that no
// leader opens it any more, and one whose view lags could still do so when its topic is
// purged.
type reconciler struct {
	ends         *appendEnds
	journal      uint32
	placements   Placements       // nil: the journal follows none
	onReconciled func(seq uint64) // with each seq of journal 0 that is followed
	moved        bool             // the view may have moved on since the last step began
	stepping     bool             // entries are under way
	seq          uint64           // of journal 0, followed up to here
}

// next begins a step, if there is anything to follow.
func (r *reconciler) next(start func(command)) {
	if !r.moved || r.stepping || r.placements == nil {
		return
	}
	r.moved = false
	if placed := r.placements.Placed(r.journal, r.seq); placed.Seq > r.seq {
		r.stepping = true
		start(&step{r, placed})
	}
}

// step is the command that brings the journal to a view of journal 0. Entries of earlier
// leaders count.
type step struct {
	*reconciler
	placed metadata.Placed
}

// propose opens partitions, and seals each when the records accepted before are in front.
func (s *step) propose(add func(segment.Entry)) {
	open := func(k partlog.Key) {
		if s.ends.startOpening(k) {
			add(partlog.Open{Key: k}.Encode())
		}
	}
	for _, k := range s.placed.Open {
		open(k)
	}
	for _, k := range s.placed.Sealed {
		open(k)
		if s.ends.close(k) {
			add(partlog.Seal{Key: k}.Encode())
		}
	}
}

func (s *step) reached() bool {
	for _, k := range s.placed.Open {
		if _, ok := s.ends.state.Lookup(k); !ok {
			return false
		}
	}
	for _, k := range s.placed.Sealed {
		if v, ok := s.ends.state.Lookup(k); !ok || !v.Sealed {
			return false
		}
	}
	return true
}

func (s *step) answer(err error) {
	s.stepping = false
	if err != nil {
		return // the leadership has ended
	}
	s.seq = s.placed.Seq
	s.onReconciled(s.seq)
}
