package partlog

import (
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// release takes a Release. Its names are checked as far as the state knows them: objects of
// extents in pages are known by their name in the entry alone.
func (g *stage) release(e *Release) error {
	s := g.change.state
	if e.Judged.Seq < g.judged.Seq || e.Judged.Epoch < g.judged.Epoch || e.Judged.Seq > g.change.footer.Header.Seq || e.Judged.Epoch > s.epoch {
		return contradiction("objects are judged up to seq %d of epoch %d, after %d of %d", e.Judged.Seq, e.Judged.Epoch, g.judged.Seq, g.judged.Epoch)
	}
	g.judged = e.Judged
	named := make(map[segment.ID]bool, len(e.Objects))
	for _, n := range e.Objects {
		named[n.Object] = true
	}
	paged := map[Key]bool{} // partitions of which a page is freed
	for _, f := range e.Freed {
		if err := g.free(f, named, paged); err != nil {
			return err
		}
	}
	for _, n := range e.Objects {
		if err := g.releaseObject(n, paged); err != nil {
			return err
		}
		g.garbage[n.Object] = Garbage{Name: n, Class: e.Class, SinceMs: g.nowMs()}
	}
	if err := g.releaseSeqs(e); err != nil {
		return err
	}
	if n := g.waiting(); n > MaxGarbage {
		return contradiction("%d objects and ranges of seqs wait to be deleted, at most %d", n, MaxGarbage)
	}
	return nil
}

// free forgets the extents of a partition below an offset.
func (g *stage) free(f Freed, named map[segment.ID]bool, paged map[Key]bool) error {
	t, start, end := g.part(f.Key)
	if t == nil {
		return contradiction("frees offsets of partition %s-%d, which is not there", f.Topic, f.Index)
	}
	if t.dropped {
		start = end
	}
	if f.Offset < t.freed || f.Offset > start {
		return contradiction("frees partition %s-%d up to offset %d, after %d; its log starts at %d", f.Topic, f.Index, f.Offset, t.freed, start)
	}
	for i := range t.below.chunks {
		if c := &t.below.chunks[i]; c.page != nil && c.first < f.Offset {
			paged[f.Key] = true
		}
	}
	below, gone := t.below.freed(f.Offset)
	t.below, t.freed = below, f.Offset
	g.forget(f.Key, gone)
	for i := range gone {
		o := gone[i].object
		if o == nil || named[o.id] || g.shared[o.id].extents > 0 {
			continue
		}
		return contradiction("frees partition %s-%d up to offset %d, and does not release %s", f.Topic, f.Index, f.Offset, o.id)
	}
	return nil
}

// releaseObject returns why an object may not be released, or nil.
func (g *stage) releaseObject(n segment.Name, paged map[Key]bool) error {
	id := n.Object
	if _, ok := g.garbage[id]; ok || g.underWay(id) || g.shared[id].extents > 0 {
		return contradiction("releases %s, which is in use or garbage already", n.Key())
	}
	if u, ok := g.unreleased[id]; ok {
		if u.Name != n {
			return contradiction("releases %s, which is %s", n.Key(), u.Name.Key())
		}
		delete(g.unreleased, id)
		return nil
	}
	if k := (Key{n.Topic, n.Partition}); !n.Own() || !paged[k] || g.names(k, id) {
		return contradiction("releases %s, which an extent names or which is not known", n.Key())
	}
	return nil
}

// names reports whether an extent in memory names an own segment.
func (g *stage) names(k Key, id segment.ID) bool {
	t, _, _ := g.part(k)
	for m := range t.below.all() {
		if m.own() && m.object.id == id {
			return true
		}
	}
	return false
}

// releaseSeqs lists the ranges of seqs of a Release.
func (g *stage) releaseSeqs(e *Release) error {
	if len(e.Seqs) == 0 {
		return nil
	}
	if last, lowest := e.Seqs[len(e.Seqs)-1].Last, g.lowest(); last >= lowest {
		return contradiction("releases seqs up to %d, and there are records at seq %d", last, lowest)
	}
	for _, q := range e.Seqs {
		for seq, extents := range g.kept {
			switch {
			case seq < q.First || seq > q.Last:
			case extents > 0:
				return contradiction("releases seq %d, which an extent names", seq)
			default:
				delete(g.kept, seq)
			}
		}
		g.seqs = append(g.seqs, Garbage{Seqs: q, Class: e.Class, SinceMs: g.nowMs()})
	}
	slices.SortFunc(g.seqs, compareSeqs)
	for i := 1; i < len(g.seqs); i++ {
		if a, b := g.seqs[i-1].Seqs, g.seqs[i].Seqs; a.Last >= b.First {
			return contradiction("releases seqs %d to %d, of which some are garbage already", b.First, b.Last)
		}
	}
	return nil
}

// lowest returns the lowest seq that a partition has records at which are not merged, or
// that of the object itself. It does not know the seqs that are in pages.
func (g *stage) lowest() uint64 {
	seq := g.change.footer.Header.Seq
	for k, p := range g.change.state.parts {
		t := &p.tiered
		if g.parts[k] != nil {
			t = g.parts[k]
		}
		if at, ok := p.refs.lowest(max(t.merged, p.start, g.change.starts[k])); ok && !t.dropped {
			seq = min(seq, at)
		}
	}
	return seq
}

// lowest returns the seq of the first ref that ends at offset or after it; false if there
// is none, or if it is in a page.
func (l *refList) lowest(offset int64) (uint64, bool) {
	i := l.seek(offset)
	if i < len(l.pages) || i == l.len() {
		return 0, false
	}
	refs := l.chunks[i-len(l.pages)].refs
	at, _ := slices.BinarySearchFunc(refs, offset, func(r ref, offset int64) int {
		if r.Last < offset {
			return -1
		}
		return 1
	})
	return refs[at].Seq, true
}

// sweep takes a Swept.
func (g *stage) sweep(e *Swept) error {
	for _, id := range e.Objects {
		item, ok := g.garbage[id]
		switch {
		case !ok || item.Deleted != e.Second:
			return contradiction("object %s was swept and is not to be deleted", id)
		case e.Second:
			delete(g.garbage, id)
		default:
			item.Deleted, item.SinceMs = true, g.nowMs()
			g.garbage[id] = item
		}
	}
	for _, q := range e.Seqs {
		i, ok := slices.BinarySearchFunc(g.seqs, Garbage{Seqs: q}, compareSeqs)
		switch {
		case !ok || g.seqs[i].Seqs.Last < q.Last:
			return contradiction("seqs %d to %d were swept and are not garbage", q.First, q.Last)
		case g.seqs[i].Seqs.Last == q.Last:
			g.seqs = slices.Delete(g.seqs, i, i+1)
		default:
			g.seqs[i].Seqs.First = q.Last + 1
		}
	}
	return nil
}

// drop takes a Drop: no record of the partition is left.
func (g *stage) drop(e Drop) error {
	p := g.change.part(e.Key)
	if p == nil || !(g.change.sealedSoFar(e.Key, p)) {
		return contradiction("drops partition %s-%d, which is not sealed", e.Topic, e.Index)
	}
	t, _, _ := g.part(e.Key)
	if t.dropped {
		return contradiction("drops partition %s-%d again", e.Topic, e.Index)
	}
	t.dropped = true
	return nil
}
