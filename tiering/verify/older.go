package verify

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This file is about the objects below the last floor but one. They may be deleted there,
// so a walk can begin at the checkpoint of that floor only, as that of a node does.

// begin decides where the walk begins: at the first object while the journal has all of
// them. Otherwise it begins at a checkpoint: that of the last floor but one, that of the last
// floor, or the one from which a node would start, or the newest. It is the first of these that can be read
// and that misses no object before the next. The objects before it are judged by its state.
func (w *walk) begin(ctx context.Context) {
	starts := w.starts()
	for i, c := range starts {
		if w.stored.has(1, c.Chain.Next) {
			return
		}
		if i+1 < len(starts) && !w.stored.has(c.Chain.Next, starts[i+1].Chain.Next) || !w.beginAt(ctx, c) {
			continue
		}
		w.base = c.Chain.Next
		delete(w.checkpoints, w.base) // there is nothing to compare it with
		return
	}
}

// starts returns the checkpoints at which the walk may begin, in ascending order.
func (w *walk) starts() []*journal.Checkpoint {
	all := slices.Collect(maps.Values(w.checkpoints))
	if w.spare != nil {
		all = append(all, w.spare)
	}
	slices.SortFunc(all, func(a, b *journal.Checkpoint) int { return cmp.Compare(a.Chain.Next, b.Chain.Next) })
	return all
}

// beginAt sets the walk as if it had come to a checkpoint; false if that cannot be read.
func (w *walk) beginAt(ctx context.Context, c *journal.Checkpoint) bool {
	if w.journal == 0 {
		if w.verifier.opt.Metadata.Restore(c.State) != nil {
			return false
		}
	} else {
		state, err := partlog.Decode(w.journal, c.State, w.readProducers(ctx))
		if err != nil {
			return false
		}
		w.state, w.apply = state, state.Apply
		w.partitions.start(state, c.Chain.Last.Seq)
	}
	w.chain, w.plans = c.Chain, c.History.Planned()
	w.confirmed = c.Chain.Last.Seq
	for _, p := range w.plans {
		w.planned[p.N] = append(w.planned[p.N], p)
	}
	return true
}

// start sets the partitions to those of a state after the object at seq.
func (t *partitions) start(state *partlog.State, seq uint64) {
	state.Partitions(func(k partlog.Key, v partlog.View) {
		t.byKey[k] = &partition{end: v.End, seq: seq, epochBase: v.EpochBase}
		t.starts[k] = v.Start
	})
}

// has reports whether all seqs from first on and below end were listed.
func (s *stored) has(first, end uint64) bool {
	for _, r := range s.runs {
		if r.first <= first && first < r.first+uint64(len(r.sizes)) {
			first = r.first + uint64(len(r.sizes))
		}
	}
	return first >= end
}

// older checks the objects below the beginning of the walk: those that are there, and
// those that must be.
func (w *walk) older(ctx context.Context) error {
	if w.base == 0 {
		return nil
	}
	refs := map[uint64][]piece{}
	if w.state != nil {
		for p, err := range w.named(ctx) {
			if err != nil {
				return err
			}
			if p.Object.Kind == segment.KindData && p.Object.Seq < w.base {
				refs[p.Object.Seq] = append(refs[p.Object.Seq], p)
			}
		}
	}
	w.refs = slices.Sorted(maps.Keys(refs))
	next := uint64(1)
	ahead := w.readAhead(ctx, below(w.all.from(1), w.base))
	defer ahead.close()
	for {
		o, err := ahead.next(ctx)
		if err != nil {
			return err
		}
		end := w.base
		if o != nil {
			end = o.seq
		}
		if err := w.absent(ctx, next, end, refs); err != nil {
			return err
		}
		if o == nil {
			return nil
		}
		next = o.seq + 1
		if o.absent {
			next = o.seq
			continue
		}
		if err := w.old(o, refs[o.seq]); err != nil {
			return err
		}
	}
}

func below(all iter.Seq2[uint64, int64], end uint64) iter.Seq2[uint64, int64] {
	return func(yield func(uint64, int64) bool) {
		for seq, size := range all {
			if seq >= end || !yield(seq, size) {
				return
			}
		}
	}
}

// old takes an object below the beginning of the walk. Its order in the journal is not
// known. Damage counts for the records that extents still name.
func (w *walk) old(o *object, refs []piece) error {
	w.verifier.doneObjects.Add(1)
	w.verifier.doneBytes.Add(o.size)
	w.report.Bytes += o.size
	if o.err != nil {
		return w.unreadOld(o)
	}
	w.unread = 0
	if h := o.header; h != nil && (h.Cluster != w.chain.Cluster || h.Journal != w.journal || h.Seq != o.seq) {
		o.findings = nil
		o.find(Error, CodeMisplaced, whole, fmt.Sprintf("restore the right object; this one belongs at %s of its cluster", segment.JournalKey(h.Journal, h.Seq)),
			"it says that it is seq %d of journal %d of cluster %s", h.Seq, h.Journal, h.Cluster.Base64()).Affects = affectedBy(refs)
	} else if h != nil {
		w.count(o)
	}
	o.against(refs)
	w.findings.add(o.findings...)
	return nil
}

// against compares an object with the extents that name it, and leaves damage to other
// records as a warning.
func (o *object) against(refs []piece) {
	if len(o.findings) == 0 && o.footer != nil {
		for _, p := range refs {
			if !slices.ContainsFunc(o.footer.Partitions, func(q segment.Partition) bool { return keyOf(&q) == p.key && p.Fits(&q) }) {
				o.find(Error, CodeState, whole, hintStored, "it has other records than the state says").Affects = []Range{offsets(p.key, p.Base, p.Last)}
				break
			}
		}
	}
	if o.footer == nil && len(o.findings) > 0 {
		o.findings[0].Affects = affectedBy(refs)
	}
	for _, f := range o.findings {
		if f.Code == CodeUnsupported {
			continue
		}
		if f.Affects = stillNamed(f.Affects, refs); len(f.Affects) == 0 && f.Severity == Error {
			f.Severity, f.Hint = Warning, "no reader needs the object: it is below the floor, and its records are merged or deleted"
		}
	}
}

func (w *walk) unreadOld(o *object) error {
	if w.unread++; w.unread == maxUnread {
		return fmt.Errorf("read %s: %w", o.key(), o.err)
	}
	w.findings.add(o.find(Error, CodeUnread, whole, "the object is not known; check the store, then verify again", "%v", o.err))
	return nil
}

// affectedBy are the records of pieces.
func affectedBy(pieces []piece) []Range {
	var all []Range
	for _, p := range pieces {
		all = append(all, offsets(p.key, p.Base, p.Last))
	}
	return all
}

// stillNamed returns the ranges that pieces still name.
func stillNamed(ranges []Range, pieces []piece) []Range {
	return slices.DeleteFunc(ranges, func(r Range) bool {
		return !slices.ContainsFunc(pieces, func(p piece) bool {
			return p.key == (partlog.Key{Topic: r.id, Index: r.Partition}) && p.Base <= r.Last && r.First <= p.Last
		})
	})
}

// nextRef returns the first seq from one on that an extent names, at most end.
func (w *walk) nextRef(seq, end uint64) uint64 {
	if i, _ := slices.BinarySearch(w.refs, seq); i < len(w.refs) {
		return min(w.refs[i], end)
	}
	return end
}

// absent judges seqs from first on and below end that are not there. A leader releases
// objects below a seq only, and no object that an extent names.
func (w *walk) absent(ctx context.Context, first, end uint64, refs map[uint64][]piece) error {
	var judged partlog.Judged
	if w.state != nil {
		judged, _ = w.state.Judged()
	}
	var f *Finding
	for seq := first; seq < end; seq++ {
		if len(refs[seq]) == 0 && seq < judged.Seq {
			next := min(w.nextRef(seq, judged.Seq), end)
			w.tooEarly(ctx, seq, next)
			f, seq = nil, next-1
			continue
		}
		o := w.read(ctx, seq) // the listing may lack it
		if !o.absent {
			if err := w.old(o, refs[seq]); err != nil {
				return err
			}
			f = nil
			continue
		}
		if f == nil {
			f = finding(Error, CodeMissing, w.journal, segment.JournalKey(w.journal, seq), hintRestore,
				"missing, though no leader has released it")
			w.findings.add(f)
		} else {
			f.What = fmt.Sprintf("missing, and all up to seq %d, though no leader has released them", seq)
		}
		f.Affects = append(f.Affects, affectedBy(refs[seq])...)
	}
	return ctx.Err()
}

// tooEarly notes that released objects from first on and below end are deleted, if the floors
// that there are do not allow that yet: then a newer floor is lost.
func (w *walk) tooEarly(ctx context.Context, first, end uint64) {
	if last := w.floors.last(); len(last) == keptCheckpoints {
		first = max(first, last[0].Floor)
	}
	if w.early == 0 && first < end && w.read(ctx, first).absent { // the listing may lack it
		w.early = first
	}
}

// checkLostFloor reports the floor that is lost, unless it was set during the walk.
func (w *walk) checkLostFloor(before uint64) {
	if w.early == 0 || w.floors.n != before || uint64(len(w.floors.all)) < before {
		return // or floors have findings of their own
	}
	w.findings.add(finding(Error, CodeFloor, w.journal, segment.FloorKey(w.journal, before+1),
		"restore the object from a copy of the bucket; or have a node with the ingest role write to the journal, which makes the floor again",
		"missing, though %s and others are deleted, which leaders do below the last floor but one: no record is lost", segment.JournalKey(w.journal, w.early)))
}
