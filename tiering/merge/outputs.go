package merge

import (
	"cmp"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// maxShared is how many partitions one shared segment holds at most.
const maxShared = 10_000

// output is an object that a job makes.
type output struct {
	name  segment.Name
	own   bool
	parts []outputPart
}

// outputPart is a partition's part of an output.
type outputPart struct {
	*gathered
	from, to int64
	chunks   []chunk
}

// verbatim reports whether the batch at a base offset of the i-th partition was copied as it
// is.
func (o *output) verbatim(i int, base int64) bool {
	if i >= len(o.parts) {
		return false // of another object
	}
	chunks := o.parts[i].chunks
	at, _ := slices.BinarySearchFunc(chunks, base, func(c chunk, base int64) int { return cmp.Compare(c.covers, base+1) })
	return at < len(chunks) && chunks[at].verbatim
}

func (p *outputPart) length() (n int64) {
	for i := range p.chunks {
		n += int64(p.chunks[i].length)
	}
	return n
}

// arrange decides which objects a job makes of the parts that it gathered. A partition with own
// bytes or more gets objects of its own; the others share some, in their order, with those
// of the same class. No shared object has more than most bytes, and no other one more than
// limit, unless one source has.
func arrange(parts []*gathered, own, most, limit int64) (outputs []output) {
	var shared []*gathered
	for _, p := range parts {
		switch {
		case len(p.chunks) == 0:
		case p.bytes >= own:
			for _, part := range p.cut(limit) {
				outputs = append(outputs, output{own: true, parts: []outputPart{part}})
			}
		default:
			shared = append(shared, p)
		}
	}
	slices.SortStableFunc(shared, func(a, b *gathered) int {
		return cmp.Or(cmp.Compare(a.topic.Class, b.topic.Class), a.Compare(b.Key))
	})
	for len(shared) > 0 {
		n, bytes := 0, int64(0)
		for n < len(shared) && shared[n].topic.Class == shared[0].topic.Class {
			bytes += shared[n].bytes
			n++
		}
		outputs = append(outputs, share(shared[:n], bytes, most)...)
		shared = shared[n:]
	}
	return outputs
}

// share puts partitions into as few shared objects of about the same size as can be.
func share(parts []*gathered, bytes, limit int64) (outputs []output) {
	objects := max((bytes+limit-1)/limit, 1)
	even := (bytes + objects - 1) / objects
	var o output
	var size int64
	for _, p := range parts {
		if n := len(o.parts); n > 0 && (size >= even || size+p.bytes > limit || n >= maxShared) {
			outputs = append(outputs, o)
			o, size = output{}, 0
		}
		o.parts = append(o.parts, p.whole())
		size += p.bytes
	}
	return append(outputs, o)
}

// whole is all of a partition's part in a job.
func (p *gathered) whole() outputPart {
	return outputPart{gathered: p, from: p.data, to: p.to, chunks: p.chunks}
}

// cut divides a partition's part into objects of limit bytes at most.
func (p *gathered) cut(limit int64) (parts []outputPart) {
	objects := max((p.bytes+limit-1)/limit, 1)
	even := (p.bytes + objects - 1) / objects
	part := outputPart{gathered: p, from: p.data}
	var size int64
	for i := range p.chunks {
		c := &p.chunks[i]
		if n := len(part.chunks); n > 0 && (size >= even || size+int64(c.length) > limit) {
			part.to = part.chunks[n-1].covers
			parts = append(parts, part)
			part, size = outputPart{gathered: p, from: part.to}, 0
		}
		part.chunks = append(part.chunks, *c)
		size += int64(c.length)
	}
	part.to = p.to
	return append(parts, part)
}
