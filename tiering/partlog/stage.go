package partlog

import (
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// stage is the state as the entries of tiering in one object leave it: copies of the parts
// that they change. It is tried as a whole before any of it counts.
type stage struct {
	change *change
	tiering
	parts map[Key]*tiered
}

// staged returns the stage of the object, and makes it first if there is none yet.
func (c *change) staged() *stage {
	if c.stage == nil {
		c.stage = &stage{change: c, tiering: c.state.tiering.clone(), parts: map[Key]*tiered{}}
		c.stage.used = true
	}
	return c.stage
}

// part returns a partition as the entries so far have left it, with its start and end; nil
// if the state does not have it.
func (g *stage) part(k Key) (t *tiered, start, end int64) {
	p := g.change.part(k)
	if p == nil {
		return nil, 0, 0
	}
	if g.parts[k] == nil {
		t := p.tiered
		g.parts[k] = &t
	}
	return g.parts[k], max(p.start, g.change.starts[k]), p.end
}

func (g *stage) nowMs() int64 { return g.change.footer.Header.BuiltMs }

// intend takes an Intent.
func (g *stage) intend(e Intent) error {
	if g.intents[e.Job] != nil {
		return contradiction("intent of job %s, which has one", e.Job)
	}
	in := &intent{objects: make(map[segment.ID]IntentObject, len(e.Objects))}
	for _, n := range e.Objects {
		if g.knows(n.Object) {
			return contradiction("intent of job %s to create %s, whose id was used before", e.Job, n.Key())
		}
		in.objects[n.Object] = IntentObject{Name: n}
	}
	g.intents[e.Job] = in
	return nil
}

// abandon takes an Abandon.
func (g *stage) abandon(e Abandon) error {
	if g.intents[e.Job] == nil {
		return contradiction("abandons job %s, which has no intent", e.Job)
	}
	g.end(e.Job, g.nowMs())
	return nil
}

// fence ends all intents: their leader is gone.
func (g *stage) fence() {
	for _, job := range sortedIDs(g.intents) {
		g.end(job, g.nowMs())
	}
}

// result takes a Result.
func (g *stage) result(e *Result) error {
	in := g.intents[e.Job]
	if in == nil {
		return contradiction("result of job %s, which has no intent", e.Job)
	}
	next := &intent{objects: make(map[segment.ID]IntentObject, len(in.objects))}
	for id, o := range in.objects {
		next.objects[id] = o
	}
	g.intents[e.Job] = next
	for i := range e.Parts {
		p := &e.Parts[i]
		if err := g.resultPart(next, p); err != nil {
			return fmt.Errorf("result of job %s in partition %s-%d, offsets %d up to %d: %w", e.Job, p.Topic, p.Index, p.From, p.To, err)
		}
	}
	if e.Last {
		g.end(e.Job, g.nowMs())
	}
	return nil
}

// resultPart puts the extents of a Result in place. Those that end below the start of the
// log are left out, and all of them if the partition is gone.
func (g *stage) resultPart(in *intent, p *ResultPart) error {
	for i := range p.Extents {
		x := &p.Extents[i]
		if x.merged() && in.objects[x.Object.Object].Name != x.Object {
			return contradiction("its intent does not have %s", x.Object.Key())
		}
	}
	t, start, end := g.part(p.Key)
	if t == nil || t.dropped {
		return nil
	}
	first := 0
	for first < len(p.Extents) && p.Extents[first].Last < start {
		first++
	}
	switch {
	case p.To <= t.merged:
	case p.To > end:
		return contradiction("the log ends at %d", end)
	case p.From < t.merged || p.From > max(t.merged, start), len(p.Replaced) > 0:
		return contradiction("it is merged up to %d, and starts at %d; %d own segments are to be replaced", t.merged, start, len(p.Replaced))
	}
	if first == len(p.Extents) {
		return nil
	}
	put, err := g.place(in, p.Extents[first:], p.To <= t.merged)
	if err != nil {
		return err
	}
	if p.To > t.merged {
		t.below, t.merged = t.below.with(p.Key, put), p.To
		if t.sourced += p.Source; p.To == end || t.sourced > g.change.part(p.Key).bytes {
			t.sourced = g.change.part(p.Key).bytes
		}
		return nil
	}
	return g.replace(t, p, put, start)
}

// replace puts refs in place of merged extents.
func (g *stage) replace(t *tiered, p *ResultPart, put []mergedRef, start int64) error {
	replaced := make([]mergedRef, len(p.Replaced))
	for i := range p.Replaced {
		x := &p.Replaced[i]
		replaced[i] = mergedRefOf(x, mergedObjectOf(x))
	}
	below, gone, err := t.below.replace(replacement{key: p.Key, from: p.From, to: p.To, start: start, by: put, replaced: replaced})
	if err != nil {
		return contradiction("%v", err)
	}
	t.below = below
	g.forget(p.Key, gone)
	return nil
}

// place notes that extents name objects, and returns their refs. again says that they
// replace merged extents.
func (g *stage) place(in *intent, extents []Extent, again bool) ([]mergedRef, error) {
	refs := make([]mergedRef, len(extents))
	for i := range extents {
		x := &extents[i]
		if !x.merged() {
			if x.Object.Seq >= g.change.footer.Header.Seq || again && g.kept[x.Object.Seq] == 0 {
				return nil, contradiction("it leaves offsets %d to %d at seq %d, where they were not", x.Base, x.Last, x.Object.Seq)
			}
			g.kept[x.Object.Seq]++
			refs[i] = mergedRefOf(x, nil)
			continue
		}
		object, id := mergedObjectOf(x), x.Object.Object
		switch known := g.shared[id]; {
		case x.Object.Own() && in.objects[id].Placed:
			return nil, contradiction("%s has an extent already", x.Object.Key())
		case x.Object.Own():
		case known.extents == 0:
			g.shared[id] = sharedSegment{object, 1}
		case *known.object != *object:
			return nil, contradiction("%s was another object before", x.Object.Key())
		default:
			object = known.object
			g.shared[id] = sharedSegment{object, known.extents + 1}
		}
		delete(g.unreleased, id)
		in.objects[id] = IntentObject{Name: x.Object, Placed: true}
		refs[i] = mergedRefOf(x, object)
	}
	return refs, nil
}

// forget notes that refs are not extents any more. Objects that no extent names wait for a
// Release.
func (g *stage) forget(k Key, refs []mergedRef) {
	for i := range refs {
		m := &refs[i]
		switch {
		case m.object == nil:
			g.kept[m.Seq]--
			continue
		case m.shared():
			known := g.shared[m.object.id]
			known.extents--
			if known.extents > 0 {
				g.shared[m.object.id] = known
				continue
			}
			delete(g.shared, m.object.id)
		}
		g.unreleased[m.object.id] = Unreleased{Name: m.object.name(g.change.state.journal, k), Bytes: m.object.size}
	}
}

// clean takes a Cleaned.
func (g *stage) clean(e Cleaned) error {
	t, _, _ := g.part(e.Key)
	if t == nil || t.dropped {
		return nil
	}
	if e.Cleaned < t.cleaned || e.Cleaned > t.merged || e.TombstonesBelow < t.tombstonesBelow || e.TombstonesBelow > max(t.cleaned, t.tombstonesBelow) {
		return contradiction("partition %s-%d is cleaned up to %d, tombstones may be missing below %d, after %d and %d; it is merged up to %d",
			e.Topic, e.Index, e.Cleaned, e.TombstonesBelow, t.cleaned, t.tombstonesBelow, t.merged)
	}
	if e.Cleaned > t.cleaned {
		t.cleanedMs = e.TimeMs
	}
	t.cleaned, t.tombstonesBelow = e.Cleaned, e.TombstonesBelow
	return nil
}

// commitLocked makes the stage the state, and returns the partitions that left it.
func (g *stage) commitLocked() (left []Key) {
	s := g.change.state
	begun := s.tiering.used
	s.tiering = g.tiering
	if !begun && s.deletedLocked() {
		s.tiering.noteUnmerged(g.change.footer.Header.Seq)
	}
	if s.tiering.unmerged < s.tiering.judged.Seq {
		s.tiering.unmerged = 0
	}
	s.applied.forget(s.tiering.judged.Seq)
	for k, t := range g.parts {
		p := s.parts[k]
		p.tiered = *t
		p.refs.dropBefore(max(p.start, p.merged))
		if p.dropped && len(p.below.chunks) == 0 {
			s.leaveLocked(k, p)
			left = append(left, k)
		}
	}
	slices.SortFunc(left, Key.Compare)
	return left
}

// leaveLocked forgets a partition.
func (s *State) leaveLocked(k Key, p *part) {
	p.producers.forget()
	s.producerPages = slices.DeleteFunc(s.producerPages, (*producerPage).dead)
	delete(s.parts, k)
}
