package partlog

import (
	"maps"
	"math"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// cut deals the offsets from from up to to out to a few extents of new segments.
func (m *tierModel) cut(k Key, from, to int64, shared segment.Name, objects *[]segment.Name) (out []Extent) {
	for from < to {
		last := m.in(from, min(to-1, from+12))
		n := shared
		if m.intIn(0, 2) > 0 {
			n = segment.OwnSegment(k.Topic, k.Index, max(0, from-m.in(0, 1)), m.newID())
		}
		if !slices.Contains(*objects, n) {
			*objects = append(*objects, n)
		}
		x := mergedExtent(n, from, last)
		x.Size, x.MaxTimestamp = math.MaxUint32, m.in(-1, 30)
		if m.flip() {
			x.Length = finalBytes
		}
		out, from = append(out, x), last+1
	}
	return out
}

// plan plans the part of a job in a partition, on the state as it is.
func (m *tierModel) plan(k Key, shared segment.Name, objects *[]segment.Name) (ResultPart, bool) {
	p := m.parts[k]
	part := ResultPart{Key: k}
	if p == nil || p.dropped {
		return part, false
	}
	if i, j, ok := m.run(p); ok && m.flip() {
		part.From, part.To = p.below[i].Base, p.below[j].Last+1
		from := part.From
		for _, x := range p.below[i : j+1] {
			switch {
			case x.Object.Own():
				part.Replaced = append(part.Replaced, x)
			case !x.merged(): // stays
				part.Extents = append(append(part.Extents, m.cut(k, from, x.Base, shared, objects)...), x)
				from = x.Last + 1
			}
		}
		part.Extents = append(part.Extents, m.cut(k, from, part.To, shared, objects)...)
		return part, true
	}
	low := max(p.merged, p.start)
	refs := slices.DeleteFunc(slices.Clone(p.refs), func(x Extent) bool { return x.Last < low })
	if len(refs) == 0 {
		return part, false
	}
	refs = refs[:m.intIn(1, len(refs))]
	part.From, part.To = max(p.merged, refs[0].Base), refs[len(refs)-1].Last+1
	now, _ := m.plain.SurveyOf(k)
	part.Source = now.DeletedBytes
	from := part.From
	for _, x := range refs {
		if x.Base >= from && m.intIn(0, 7) == 0 {
			part.Extents = append(append(part.Extents, m.cut(k, from, x.Base, shared, objects)...), x)
			from = x.Last + 1
		}
		part.Source += int64(x.Length)
	}
	part.Extents = append(part.Extents, m.cut(k, from, part.To, shared, objects)...)
	return part, true
}

// run chooses merged extents without a gap between them.
func (m *tierModel) run(p *naivePart) (first, last int, ok bool) {
	live := slices.IndexFunc(p.below, func(x Extent) bool { return x.Last >= p.start })
	if live < 0 {
		return 0, 0, false
	}
	first = m.intIn(live, len(p.below)-1)
	return first, m.intIn(first, len(p.below)-1), true
}

// begin plans a job with one or two Results, and commits its intent.
func (m *tierModel) begin() {
	job := &tierJob{id: m.newID()}
	shared := segment.SharedSegment(testJournal, m.newID())
	var objects []segment.Name
	var parts []ResultPart
	for _, k := range tierKeys {
		if m.flip() {
			if part, ok := m.plan(k, shared, &objects); ok {
				parts = append(parts, part)
			}
		}
	}
	if len(objects) == 0 {
		return
	}
	if len(parts) > 1 && m.flip() {
		job.results = append(job.results, &Result{Job: job.id, Parts: parts[:1]})
		parts = parts[1:]
	}
	job.results = append(job.results, &Result{Job: job.id, Parts: parts, Last: m.flip()})
	m.job = job
	m.write(Intent{job.id, objects}.Encode())
}

// goOn commits the next Result of the job, or abandons it.
func (m *tierModel) goOn() {
	if len(m.job.results) == 0 || m.intIn(0, 9) == 0 {
		m.write(Abandon{m.job.id}.Encode())
		m.job = nil
		return
	}
	r := m.job.results[0]
	m.job.results = m.job.results[1:]
	for i := range r.Parts { // all extents of a shared segment have the same object
		for j := range r.Parts[i].Extents {
			r.Parts[i].Extents[j].BuiltMs = 77
		}
	}
	m.write(r.Encode())
	if r.Last {
		m.job = nil
	}
}

// release plans a Release on the state as it is.
func (m *tierModel) release() {
	e := &Release{Class: ClassUser}
	objects := maps.Clone(m.waiting)
	left := map[Key][]Extent{}
	for _, k := range tierKeys {
		p := m.parts[k]
		if p == nil {
			continue
		}
		upper := p.start
		if p.dropped {
			upper = p.end
		}
		left[k] = p.below
		if upper > p.freed && m.flip() {
			offset := upper
			if m.flip() {
				offset = m.in(p.freed+1, upper)
			}
			e.Freed = append(e.Freed, Freed{k, offset})
			left[k] = slices.DeleteFunc(slices.Clone(p.below), func(x Extent) bool { return x.Last < offset })
			for _, x := range p.below {
				if x.merged() && x.Last < offset {
					objects[x.Object.Object] = x.Object
				}
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(objects), compareIDs) {
		n := objects[id]
		named := slices.ContainsFunc(tierKeys, func(k Key) bool {
			return slices.ContainsFunc(left[k], func(x Extent) bool { return x.Object == n })
		})
		if !named && (m.waiting[id] != n || m.flip()) {
			e.Objects = append(e.Objects, n)
		}
	}
	m.releaseSeqs(e)
	m.write(e.Encode())
}

// lowest is the lowest seq with records that are not merged.
func (m *tierModel) lowest() uint64 {
	lowest := m.seq + 1
	for _, p := range m.parts {
		for _, x := range p.refs {
			if x.Last >= max(p.merged, p.start) && !p.dropped {
				lowest = min(lowest, x.Object.Seq)
			}
		}
	}
	return lowest
}

// releaseSeqs adds seqs that no extent names. They are next to each other if they are one
// range.
func (m *tierModel) releaseSeqs(e *Release) {
	lowest := m.lowest()
	e.Judged = Judged{max(m.judged.Seq, lowest-1), m.epoch}
	for _, seq := range slices.Sorted(maps.Keys(m.seqs)) {
		if m.seqs[seq] || seq >= lowest || m.named(segment.DataObject(testJournal, seq)) || m.intIn(0, 3) == 0 {
			continue
		}
		if n := len(e.Seqs); n > 0 && e.Seqs[n-1].Last == seq-1 {
			e.Seqs[n-1].Last = seq
			continue
		}
		e.Seqs = append(e.Seqs, Seqs{seq, seq})
	}
}

// clean moves the cleaned offset of a partition, or the one below which tombstones may be
// missing.
func (m *tierModel) clean() {
	k := tierKeys[m.intIn(0, 2)]
	e := Cleaned{Key: k, Cleaned: 1}
	if p := m.parts[k]; p != nil {
		e.TombstonesBelow = m.in(p.cleaned.TombstonesBelow, p.cleaned.Cleaned)
		e.Cleaned = m.in(p.cleaned.Cleaned, p.merged)
		e.TimeMs = p.cleaned.TimeMs
		if e.Cleaned > p.cleaned.Cleaned {
			e.TimeMs = m.in(0, 9)
		}
	}
	m.write(e.Encode())
}

func (m *tierModel) sweep() {
	e := &Swept{Second: m.flip()}
	for _, g := range m.plain.Garbage() {
		if q := g.Seqs; q.First > 0 && !e.Second && m.flip() {
			e.Seqs = append(e.Seqs, Seqs{q.First, uint64(m.in(int64(q.First), int64(q.Last)))})
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.garbage), compareIDs) {
		if m.garbage[id].Deleted == e.Second && m.flip() {
			e.Objects = append(e.Objects, id)
		}
	}
	m.write(e.Encode())
}
