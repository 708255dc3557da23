package partlog

import (
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// Run is a run of data objects of one epoch that follow each other without a fence, filler
// or void between them.
type Run struct {
	Seqs
	Epoch uint32
}

// applied has the data objects that were applied since the State was made or restored. It
// is not a part of the state.
type applied struct {
	from uint64 // the first seq that was looked at
	runs []Run
}

// note takes the next valid object.
func (a *applied) note(h *segment.Header) {
	if h.Kind != segment.KindData {
		return
	}
	if n := len(a.runs); n > 0 && a.runs[n-1].Last == h.Seq-1 && a.runs[n-1].Epoch == h.Epoch {
		a.runs[n-1].Last = h.Seq
		return
	}
	a.runs = append(a.runs, Run{Seqs{h.Seq, h.Seq}, h.Epoch})
}

// forget forgets the runs that end below a seq.
func (a *applied) forget(seq uint64) {
	a.runs = slices.DeleteFunc(a.runs, func(r Run) bool { return r.Last < seq })
}

// Applied returns the data objects that were applied here and are not judged yet, and the
// seq from which on these are all. They are valid by the rules of the chain, so that they
// need not be read to be judged.
func (s *State) Applied() (from uint64, runs []Run) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.applied.from, slices.Clone(s.applied.runs)
}
