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
// partitions that live in the journal. It seals those of deleted topics, and opens those
// of restored topics again. One step at a time brings it to the newest view, by entries
// for the difference. Later changes are left to the next step.
//
// A report is never wrong, even of a leader that was deposed: by it the controller purges
// deleted topics, and no leader may open a partition of those later.
//   - It rests on entries that are committed in the journal. That is why a partition which
//     was deleted before the journal saw it is opened and sealed.
//   - A leader follows no view that is older than the one that an earlier leader has
//     followed. So it begins with a view that was proved since it leads: an older one could
//     open a partition of a topic that was restored, and then deleted again.
//   - A leader that finds partitions sealed already proves that it still leads: another
//     one may have opened them since.
type reconciler struct {
	ends         *appendEnds
	journal      uint32
	placements   Placements        // nil: the journal follows none
	onReconciled func(seq uint64)  // with each seq of journal 0 that is followed
	prove        func(func(error)) // proves that this leader still leads
	proved       bool              // the view was proved since the journal is led
	moved        bool              // the view may have moved on since the last step began
	stepping     bool              // entries are under way
	seq          uint64            // of journal 0, followed up to here
}

// next begins a step, if there is anything to follow.
func (r *reconciler) next(start func(command)) {
	if !r.moved || !r.proved || r.stepping || r.placements == nil {
		return
	}
	r.moved = false
	placed := r.placements.Placed(r.journal, r.seq)
	if placed.Seq <= r.seq {
		return
	}
	s := &step{reconciler: r, placed: placed}
	r.stepping = true
	if len(placed.Sealed) > 0 && s.reached() {
		r.prove(s.answer)
		return
	}
	start(s)
}

// step is the command that brings the journal to a view of journal 0. Entries of earlier
// leaders count.
//
// Invariant: no partition is opened after the begin. Journal 0 moves on in the meantime: one
// that was sealed may be purged, dropped, and leave the state.
type step struct {
	*reconciler
	placed metadata.Placed
	begun  bool // an Open is proposed for each partition that the journal never had
}

// propose opens partitions, and seals each when the records accepted before are in front.
func (s *step) propose(add func(segment.Entry)) {
	open := func(k partlog.Key) {
		if !s.begun && s.ends.startOpening(k) {
			add(partlog.Open{Key: k, EpochBase: s.placed.Bases[k]}.Encode())
		}
	}
	for _, k := range s.placed.Open {
		if open(k); s.ends.startReopening(k) {
			add(partlog.Reopen{Key: k}.Encode())
		}
	}
	for _, k := range s.placed.Sealed {
		open(k)
		if s.ends.close(k) {
			add(partlog.Seal{Key: k}.Encode())
		}
	}
	s.begun = true
}

func (s *step) reached() bool {
	for _, k := range s.placed.Open {
		if v, ok := s.ends.state.Lookup(k); !ok || v.Sealed {
			return false
		}
	}
	for _, k := range s.placed.Sealed {
		if v, ok := s.ends.state.Lookup(k); ok && !v.Sealed || !ok && !s.gone(k) {
			return false
		}
	}
	return true
}

// gone reports whether a partition that was sealed has left the state since the begin.
func (s *step) gone(k partlog.Key) bool { return s.begun && !s.ends.isOpening(k) }

func (s *step) answer(err error) {
	s.stepping = false
	if err != nil {
		s.moved = true // if the leadership has not ended, it tries again
		return
	}
	s.seq = s.placed.Seq
	s.onReconciled(s.seq)
}
