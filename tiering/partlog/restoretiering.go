package partlog

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
)

// tieringCounts says how many items the lists of a checkpoint of version 4 have.
type tieringCounts struct {
	merged, intents, unreleased, garbage, seqs, loose uint32
}

// tieringHead is the inverse of encoder.tieringHead.
func (d *decoder) tieringHead() tieringCounts {
	r, t := d.r, &d.s.tiering
	c := tieringCounts{merged: r.U32()}
	t.used, t.judged = true, Judged{Seq: r.U64(), Epoch: r.U32()}
	c.intents, c.unreleased, c.garbage, c.seqs, c.loose = r.U32(), r.U32(), r.U32(), r.U32(), r.U32()
	if n := uint64(r.U32()); n > 0 {
		t.unmerged = t.judged.Seq + n - 1
	}
	return c
}

// tiering is the inverse of encoder.tiering.
func (d *decoder) tiering(c tieringCounts) error {
	r, t := d.r, &d.s.tiering
	if t.unmerged > d.s.head {
		return fmt.Errorf("records were deleted up to seq %d", t.unmerged)
	}
	if t.judged.Seq > d.s.head || t.judged.Epoch > d.s.epoch || (t.judged.Seq == 0) != (t.judged.Epoch == 0) {
		return fmt.Errorf("objects are judged up to seq %d of epoch %d", t.judged.Seq, t.judged.Epoch)
	}
	d.ownUsed = map[*mergedObject]bool{}
	d.merged = make([]*mergedObject, r.Count(c.merged, mergedSize))
	known := make(map[segment.ID]bool, len(d.merged))
	for i := range d.merged {
		o := readMerged(r)
		if d.merged[i] = &o; known[o.id] {
			return fmt.Errorf("merged object %s is there twice", o.id)
		}
		known[o.id] = true
	}
	var before segment.ID
	for range r.Count(c.intents, intentFixedSize) {
		job, objects := segment.ID(r.ID()), r.U32()
		in, err := d.intent(objects)
		if err == nil && compareIDs(before, job) >= 0 {
			err = fmt.Errorf("it follows job %s", before)
		}
		if err != nil {
			return fmt.Errorf("intent of job %s: %w", job, err)
		}
		t.intents[job], before = in, job
	}
	if err := d.names(c.unreleased, unreleasedSize, func(n segment.Name) error {
		t.unreleased[n.Object] = Unreleased{Name: n, Bytes: r.U32()}
		return nil
	}); err != nil {
		return fmt.Errorf("unreleased objects: %w", err)
	}
	if err := d.names(c.garbage, garbageSize, d.garbage); err != nil {
		return fmt.Errorf("garbage: %w", err)
	}
	if err := d.garbageSeqs(c.seqs); err != nil {
		return err
	}
	seq := uint64(0)
	for range r.Count(c.loose, 8) {
		next := r.U64()
		if next <= seq || next > d.s.head {
			return fmt.Errorf("loose seq %d after %d", next, seq)
		}
		t.kept[next], seq = 0, next
	}
	return r.Err()
}

// names reads n items that begin with segment names, in the order of their ids, and hands
// each to take, which reads the rest of the item.
func (d *decoder) names(n uint32, size int, take func(segment.Name) error) error {
	var before segment.ID
	for range d.r.Count(n, size) {
		name, ok := readName(d.r, d.s.journal)
		if d.r.Err() != nil {
			break
		}
		if !ok || compareIDs(before, name.Object) >= 0 {
			return fmt.Errorf("object %s after %s", name.Object, before)
		}
		if err := take(name); err != nil {
			return err
		}
		before = name.Object
	}
	return d.r.Err()
}

func (d *decoder) intent(objects uint32) (*intent, error) {
	in := &intent{objects: map[segment.ID]IntentObject{}}
	err := d.names(objects, intentItemSize, func(n segment.Name) error {
		placed := d.r.U8()
		d.r.Zeros(3)
		if placed > 1 {
			return fmt.Errorf("placed is %d", placed)
		}
		in.objects[n.Object] = IntentObject{Name: n, Placed: placed == 1}
		return nil
	})
	if err == nil && len(in.objects) == 0 {
		err = fmt.Errorf("%d objects", objects)
	}
	return in, err
}

func (d *decoder) garbage(n segment.Name) error {
	g := Garbage{Name: n, Class: Class(d.r.U8())}
	ended, deleted := d.r.U8(), d.r.U8()
	d.r.Zeros(1)
	g.Ended, g.Deleted, g.SinceMs = ended == 1, deleted == 1, d.r.I64()
	if g.Class != ClassMerge && g.Class != ClassUser || ended > 1 || deleted > 1 {
		return fmt.Errorf("class %d, ended is %d, deleted is %d", g.Class, ended, deleted)
	}
	d.s.tiering.garbage[n.Object] = g
	return nil
}

func (d *decoder) garbageSeqs(n uint32) error {
	before := uint64(0)
	for range d.r.Count(n, garbageSeqsSize) {
		g := Garbage{Seqs: Seqs{d.r.U64(), d.r.U64()}, Class: Class(d.r.U8())}
		d.r.Zeros(3)
		g.SinceMs = d.r.I64()
		if q := g.Seqs; q.First <= before || q.Last < q.First || q.Last > d.s.head || g.Class != ClassMerge && g.Class != ClassUser {
			return fmt.Errorf("garbage of class %d at seqs %d to %d, after %d", g.Class, q.First, q.Last, before)
		}
		d.s.tiering.seqs, before = append(d.s.tiering.seqs, g), g.Seqs.Last
	}
	return nil
}

// partTiered is the inverse of encoder.tiered, and returns the number of chunks.
func (d *decoder) partTiered(p *part) uint32 {
	r := d.r
	p.merged, p.freed, p.sourced = r.I64(), r.I64(), r.I64()
	p.cleaned, p.cleanedMs, p.tombstonesBelow = r.I64(), r.I64(), r.I64()
	copy(p.below.hash[:], r.Raw(len(p.below.hash)))
	chunks := r.U32()
	r.Zeros(4)
	return chunks
}

// mergedChunks is the inverse of encoder.mergedChunks.
func (d *decoder) mergedChunks(p *part, n uint32) error {
	r, l := d.r, &p.below
	for range r.Count(n, mergedChunkFixedSize+mergedPageRefSize) {
		count := r.U32()
		if count == 0 {
			c, err := d.mergedPage()
			if err != nil {
				return err
			}
			l.chunks, l.own = append(l.chunks, c), l.own+c.bytes
			continue
		}
		if i := len(l.chunks); i > 0 && l.chunks[i-1].page == nil {
			return errors.New("two chunks of extents next to each other")
		}
		refs := make([]mergedRef, r.Count(count, pieceSize))
		for i := range refs {
			if err := d.mergedRef(&refs[i]); err != nil {
				return err
			}
			l.count(&refs[i], 1)
		}
		if len(refs) > 0 {
			l.push(refs...)
		}
	}
	return r.Err()
}

// mergedRef reads an extent. Merged objects are numbered in the order in which extents
// name them.
func (d *decoder) mergedRef(m *mergedRef) error {
	number, piece := readPiece(d.r)
	if err := d.r.Err(); err != nil {
		return err
	}
	t := &d.s.tiering
	if *m = piece; number == ofJournal {
		t.kept[m.Seq]++
		return nil
	}
	if uint64(number) >= uint64(len(d.merged)) || int64(number) > int64(d.mergedNamed) || m.Seq != 0 {
		return fmt.Errorf("extent in merged object %d of %d, %d are named before", number, len(d.merged), d.mergedNamed)
	}
	if int(number) == d.mergedNamed {
		d.mergedNamed++
	}
	m.object = d.merged[number]
	if m.shared() {
		t.shared[m.object.id] = sharedSegment{m.object, t.shared[m.object.id].extents + 1}
		return nil
	}
	if d.ownUsed[m.object] {
		return fmt.Errorf("two extents in own segment %s", m.object.id)
	}
	d.ownUsed[m.object] = true
	return nil
}

// mergedPage reads a page of merged extents.
func (d *decoder) mergedPage() (mergedChunk, error) {
	r := d.r
	number := r.U32()
	g := &mergedPage{position: r.U32(), length: r.U32(), crc: r.U32()}
	c := mergedChunk{page: g, first: r.I64(), last: r.I64()}
	g.base, g.last, g.max, c.bytes = r.I64(), r.I64(), r.I64(), r.I64() // bytes below zero were counted by programs before
	object, err := d.object(number)
	if err != nil {
		return c, err
	}
	g.object = object
	rows := (int64(g.length) - pageFixedSize) / mergedRowSize
	switch {
	case rows < 1 || rows > chunkRefs || int64(g.length) != pageFixedSize+rows*mergedRowSize || uint64(g.position)+uint64(g.length) > uint64(object.size):
		return c, fmt.Errorf("page of %d bytes at %d in %d bytes", g.length, g.position, object.size)
	case g.base < 0 || c.first < g.base || c.last < c.first || g.last < c.last || g.last > maxOffset || g.max < -1:
		return c, fmt.Errorf("page of offsets %d to %d with %d bytes, of which those from %d to %d are left", g.base, g.last, c.bytes, c.first, c.last)
	}
	return c, nil
}

// contradictsMerged returns how the merged extents and the rest of a partition differ, or
// nothing.
func (p *part) contradictsMerged() string {
	upper := p.start
	if p.dropped {
		upper = p.end
	}
	n := len(p.below.chunks)
	switch {
	case p.merged < 0 || p.merged > p.end || p.freed < 0 || p.freed > upper || p.sourced < 0 || p.sourced > p.bytes:
		return fmt.Sprintf("merged up to %d, freed up to %d, %d bytes of %d are merged", p.merged, p.freed, p.sourced, p.bytes)
	case p.tombstonesBelow < 0 || p.cleaned < p.tombstonesBelow || p.cleaned > p.merged || p.cleanedMs < 0:
		return fmt.Sprintf("cleaned up to %d at %d, tombstones up to %d", p.cleaned, p.cleanedMs, p.tombstonesBelow)
	case n == 0 && (p.merged > p.start || p.dropped), n > 0 && p.below.chunks[n-1].last != p.merged-1, p.dropped && p.start != p.end:
		return fmt.Sprintf("%d chunks of merged extents, merged up to %d, the log starts at %d", n, p.merged, p.start)
	}
	next := int64(-1)
	for i := range p.below.chunks {
		c := &p.below.chunks[i]
		if reason := c.continues(next, p.start); reason != "" {
			return reason
		}
		next = c.last + 1
	}
	return ""
}

// continues returns why the chunk cannot follow offset next, or nothing. Offsets below the
// start of the log do not count; next is negative before the first.
func (c *mergedChunk) continues(next, start int64) string {
	follows := func(base, last int64) bool {
		return last >= next && (last < start || base == next || max(next, 0) <= start && base <= start)
	}
	if c.page != nil && !follows(c.first, c.last) {
		return fmt.Sprintf("page from offset %d to %d after %d", c.first, c.last, next)
	}
	for i := range c.refs {
		m := &c.refs[i]
		e := m.extent(0, Key{Topic: segment.ID{1}}, m.object)
		if reason := e.implausible(); reason != "" {
			return reason
		}
		if !follows(m.Base, m.Last) {
			return fmt.Sprintf("extent from offset %d to %d after %d", m.Base, m.Last, next)
		}
		next = m.Last + 1
	}
	return ""
}
