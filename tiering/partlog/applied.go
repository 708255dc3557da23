package partlog

import (
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// Run is a run of data objects of one epoch that follow each other without a fence, filler
// or void between them.
type Run struct {
	Seqs
	Epoch   uint32
	Records uint64 // the last seq of those whose object has records; 0: none has
}

// Runs are data objects, in the order of their seqs.
type Runs []Run

// With returns the runs with a data object behind them.
func (r Runs) With(h *segment.Header) Runs {
	if n := len(r); n == 0 || r[n-1].Last != h.Seq-1 || r[n-1].Epoch != h.Epoch {
		r = append(r, Run{Seqs: Seqs{h.Seq, h.Seq}, Epoch: h.Epoch})
	}
	last := &r[len(r)-1]
	if last.Last = h.Seq; h.Batches() > 0 {
		last.Records = h.Seq
	}
	return r
}

// applied has the data objects that were applied since the State was made or restored. It
// is not a part of the state.
type applied struct {
	from uint64 // the first seq that was looked at
	runs Runs
}

// note takes the next valid object.
func (a *applied) note(h *segment.Header) {
	if h.Kind == segment.KindData {
		a.runs = a.runs.With(h)
	}
}

// forget forgets the runs that end below a seq.
func (a *applied) forget(seq uint64) {
	a.runs = slices.DeleteFunc(a.runs, func(r Run) bool { return r.Last < seq })
}

// Applied returns the data objects that were applied here and are not judged yet, and the
// seq from which on these are all. They are valid by the rules of the chain, so that they
// need not be read to be judged.
func (s *State) Applied() (from uint64, runs Runs) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.applied.from, slices.Clone(s.applied.runs)
}
