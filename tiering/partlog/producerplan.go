package partlog

import (
	"cmp"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// ProducerPaging bounds pages of producers, by numbers of producers and pages.
type ProducerPaging struct {
	// Least is how many producers must have changed before they go to pages. Until then
	// each checkpoint has them itself.
	Least int
	// Most is how many producers a page has at most. A plan may move as many of pages
	// that are half empty, or as many as changed, if these are more.
	Most     int
	OfObject int // pages of an index object
}

// DefaultProducerPaging makes an index object no larger than MaxIndexPayload.
var DefaultProducerPaging = ProducerPaging{Least: 1024, Most: 8192, OfObject: 5}

// ProducerPlan holds the producers that shall move to new pages: those that changed, and
// those of older pages that are small or half empty. So a checkpoint writes the changes,
// each producer is written again about log2(Most/Least) times more, and pages hold about
// twice as many producers as there are.
type ProducerPlan struct {
	Objects  []ProducerObject // to be made durable
	sizes    ProducerPaging
	pages    []plannedProducers
	replaced map[*producerPage]bool
	at       uint64 // expiries before the plan
}

// ProducerObject is a planned index object.
type ProducerObject struct {
	Name    segment.IndexName // if it has a seq, the object must be stored twice
	Payload []byte            // at most MaxIndexPayload bytes
}

// plannedProducers is a page without its object and its producers that are current.
type plannedProducers struct {
	page   producerPage
	object int // index in Objects
	// lasts has the last offset of each producer, in the order of members: a later batch
	// means that the page does not have the producer as it is.
	lasts []int64
}

// PlanProducers plans pages of producers; nil if too few changed. The state is as before,
// and a later plan replaces one that was not carried out. newID makes the ids of index
// objects. Only the caller of Apply may call it.
func (s *State) PlanProducers(newID func() segment.ID, sizes ProducerPaging) *ProducerPlan {
	members, n := s.changedProducers()
	if n < sizes.Least && !s.wasteful(sizes) && !slices.ContainsFunc(s.producerPages, s.single) {
		return nil
	}
	plan := &ProducerPlan{sizes: sizes, replaced: map[*producerPage]bool{}, at: s.expiries.n}
	members = append(members, s.collect(plan, n)...)
	plan.split(merged(members))
	if len(plan.pages) == 0 {
		return nil
	}
	s.encodePages(plan, newID)
	return plan
}

// changedProducers returns the producers that are in no page as they are.
func (s *State) changedProducers() (members []producersOf, n int) {
	for _, k := range s.keysLocked() {
		if ids := s.parts[k].producers.changedIDs(); len(ids) > 0 {
			members, n = append(members, producersOf{k, ids}), n+len(ids)
		}
	}
	return members, n
}

// wasteful reports whether pages hold far more producers than there are, so that they
// should become fewer though nothing changes.
func (s *State) wasteful(sizes ProducerPaging) bool {
	total, live := 0, 0
	for _, p := range s.producerPages {
		if p.live > 0 {
			total, live = total+int(p.total), live+p.live
		}
	}
	return total > 2*live+sizes.Most
}

// single reports whether a page is stored once, though the objects that it could be made
// again from may be deleted. It is written again.
func (s *State) single(p *producerPage) bool {
	return s.keySeq() > 0 && p.object.seq == 0 && p.live > 0
}

// collect chooses the pages that a plan replaces, and returns their current producers. A
// page that is no larger than all that is smaller is joined with it: so pages double. Half
// empty ones follow, and those that are stored once, for as long as that costs no more than
// changes do. The emptiest are first.
func (s *State) collect(plan *ProducerPlan, size int) (members []producersOf) {
	pages := slices.SortedStableFunc(slices.Values(s.producerPages), func(a, b *producerPage) int { return cmp.Compare(a.live, b.live) })
	room := max(size, plan.sizes.Most)
	for _, p := range pages {
		switch {
		case p.live == 0:
			continue
		case p.live <= size && p.live <= plan.sizes.Most/2:
			size += p.live
		case (2*p.live <= int(p.total) || s.single(p)) && p.live <= room:
			room -= p.live
		default:
			continue
		}
		plan.replaced[p] = true
		members = append(members, s.current(p)...)
	}
	return members
}

// current returns the current producers of a page.
func (s *State) current(p *producerPage) []producersOf {
	out := make([]producersOf, 0, len(p.members))
	for _, m := range p.members {
		t := s.producersOf(m.key)
		ids := make([]int64, 0, len(m.ids))
		for _, id := range m.ids {
			if q := t.byID[id]; q != nil && q.page == p {
				ids = append(ids, id)
			}
		}
		if len(ids) > 0 {
			out = append(out, producersOf{m.key, ids})
		}
	}
	return out
}

// producersOf returns the producers of a partition, which may have left the state.
func (s *State) producersOf(k Key) *Producers {
	if p := s.parts[k]; p != nil {
		return &p.producers
	}
	return &Producers{}
}

// merged has each partition once, in order, with its ids in order.
func merged(members []producersOf) []producersOf {
	ids := map[Key][]int64{}
	for _, m := range members {
		ids[m.key] = append(ids[m.key], m.ids...)
	}
	out := make([]producersOf, 0, len(ids))
	for _, k := range slices.SortedFunc(maps.Keys(ids), Key.Compare) {
		slices.Sort(ids[k])
		out = append(out, producersOf{k, ids[k]})
	}
	return out
}

// split deals producers out to pages of about the same size, and pages to objects.
func (plan *ProducerPlan) split(members []producersOf) {
	total := 0
	for _, m := range members {
		total += len(m.ids)
	}
	pages := (total + plan.sizes.Most - 1) / plan.sizes.Most
	for i := range pages {
		room := total*(i+1)/pages - total*i/pages
		page := plannedProducers{object: i / plan.sizes.OfObject}
		page.page.total, page.page.made = uint32(room), plan.at
		for room > 0 {
			m := &members[0]
			n := min(room, len(m.ids))
			page.page.members = append(page.page.members, producersOf{m.key, slices.Clone(m.ids[:n])})
			if m.ids = m.ids[n:]; len(m.ids) == 0 {
				members = members[1:]
			}
			room -= n
		}
		plan.pages = append(plan.pages, page)
	}
}

func (s *State) encodePages(plan *ProducerPlan, newID func() segment.ID) {
	var w wire.Writer
	for i := range plan.pages {
		p := &plan.pages[i]
		if p.object == len(plan.Objects) {
			plan.Objects = append(plan.Objects, ProducerObject{Name: segment.IndexName{Journal: s.journal, Seq: s.keySeq(), Object: newID()}})
			w = wire.Writer{}
		}
		at := len(w.B)
		s.appendProducerPage(&w, p.page.members)
		plan.Objects[p.object].Payload = w.B
		p.page.position, p.page.length, p.page.crc = uint32(at), uint32(len(w.B)-at), checksum(w.B[at:])
		for _, m := range p.page.members {
			t := s.producersOf(m.key)
			for _, id := range m.ids {
				p.lasts = append(p.lasts, t.byID[id].last().LastOffset)
			}
		}
	}
}

// each calls fn for every producer of the page that did not change since it was planned.
func (p *plannedProducers) each(s *State, fn func(k Key, id int64, q *producer)) {
	lasts := p.lasts
	for _, m := range p.page.members {
		t := s.producersOf(m.key)
		for i, id := range m.ids {
			if q := t.byID[id]; q != nil && q.last().LastOffset == lasts[i] {
				fn(m.key, id, q)
			}
		}
		lasts = lasts[len(m.ids):]
	}
}

// PagedProducers has later checkpoints name the planned pages. Their objects must be
// durable, and so must a checkpoint that Encode made of the plan. Only the caller of Apply
// may call it.
func (s *State) PagedProducers(plan *ProducerPlan) {
	objects := plan.indexObjects()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range plan.pages {
		planned := &plan.pages[i]
		page := planned.page
		page.object = objects[planned.object]
		planned.each(s, func(_ Key, _ int64, q *producer) {
			if q.page != nil {
				q.page.live--
			}
			q.page = &page
			page.live++
		})
		s.producerPages = append(s.producerPages, &page)
	}
	s.producerPages = slices.DeleteFunc(s.producerPages, (*producerPage).dead)
	for _, p := range s.parts {
		p.producers.forgetUnchanged()
	}
}

func (plan *ProducerPlan) indexObjects() []*indexObject {
	var out []*indexObject
	for _, o := range plan.Objects {
		out = append(out, &indexObject{id: o.Name.Object, size: uint32(len(o.Payload)), seq: o.Name.Seq})
	}
	return out
}
