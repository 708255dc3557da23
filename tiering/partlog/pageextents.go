package partlog

import (
	"encoding/binary"
	"fmt"
	"iter"
	"sort"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// PageExtents are the extents of a page, in offset order.
type PageExtents struct {
	in     home
	merged bool
	base   int64    // of the first ref
	rows   []byte   // checked refs or merged extents, in the bytes of the page
	list   []Extent // in place of rows, if the bytes of the page are gone
}

// size is that of a row, and last where its last offset is.
func (x *PageExtents) size() (size, last int) {
	if x.merged {
		return mergedRowSize, mergedRowLast
	}
	return refSize, posLast
}

func (x *PageExtents) last(i int) int64 {
	if x.list != nil {
		return x.list[i].Last
	}
	size, last := x.size()
	return int64(binary.BigEndian.Uint64(x.rows[i*size+last:]))
}

func (x *PageExtents) len() int {
	if x.list != nil {
		return len(x.list)
	}
	size, _ := x.size()
	return len(x.rows) / size
}

// extent returns the extent of row i.
func (x *PageExtents) extent(i int) Extent {
	if x.list != nil {
		return x.list[i]
	}
	if x.merged {
		m, _ := mergedRowOf(x.rows[i*mergedRowSize:][:mergedRowSize])
		return m.export(x.in)
	}
	base := x.base
	if i > 0 {
		base = x.last(i-1) + 1
	}
	var one ref
	one.decode(x.rows[i*refSize:], base)
	return one.extent(x.in.journal)
}

// seek returns the first row that ends at offset or after it.
func (x *PageExtents) seek(offset int64) int {
	return sort.Search(x.len(), func(i int) bool { return x.last(i) >= offset })
}

// From returns the extents from the first that ends at offset or after it, n at most.
func (x *PageExtents) From(offset int64, n int) []Extent {
	first := x.seek(offset)
	end := min(x.len(), first+n)
	out := make([]Extent, 0, max(0, end-first))
	for i := first; i < end; i++ {
		out = append(out, x.extent(i))
	}
	return out
}

// WithTime returns the first extent that ends at offset or after it and may have a
// timestamp of ts or more.
func (x *PageExtents) WithTime(offset, ts int64) (Extent, bool) {
	return withTime(x.all(), offset, ts)
}

// Newest returns the first with the greatest timestamp of the extents that end at
// offset or after it. It is false if none carries a timestamp.
func (x *PageExtents) Newest(offset int64) (Extent, bool) { return newestOf(x.all(), offset) }

func (x *PageExtents) all() iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for i := range x.len() {
			if !yield(x.extent(i)) {
				return
			}
		}
	}
}

// cut leaves out the rows that end below from or begin above to.
func (x *PageExtents) cut(from, to int64) {
	first, end := x.seek(from), min(x.len(), x.seek(to)+1)
	if x.list != nil {
		x.list = x.list[first:max(first, end)]
		return
	}
	if first > 0 && !x.merged {
		x.base = x.last(first-1) + 1
	}
	size, _ := x.size()
	x.rows = x.rows[first*size : max(first, end)*size]
}

// DecodePage checks b, the bytes of a page, and returns its extents. They use b, which
// must not be changed.
func DecodePage(p *Page, b []byte) (*PageExtents, error) {
	if uint64(len(b)) != uint64(p.Length) || checksum(b) != p.CRC {
		return nil, p.corrupt("%d bytes do not have the CRC of its %d bytes", len(b), p.Length)
	}
	want, first, end := uint16(pageVersion), p.Base, p.Last
	if p.Merged {
		want, first, end = mergedPageVersion, p.base, p.last
	}
	r := wire.NewReader(b)
	version := r.U16()
	switch {
	case r.Err() == nil && version > mergedPageVersion:
		return nil, fmt.Errorf("%w: %s is of version %d, this program reads up to %d", segment.ErrUnsupported, p.name(), version, mergedPageVersion)
	case r.Err() == nil && version != want:
		return nil, p.corrupt("it is of version %d, not %d", version, want)
	}
	n := r.U16()
	k := Key{Index: r.I32(), Topic: r.ID()}
	base := r.I64()
	if r.Err() != nil || k != p.Key || base != first {
		return nil, p.corrupt("it is of offset %d of %v", base, k)
	}
	x := &PageExtents{in: home{Key: k, journal: p.Journal}, merged: p.Merged, base: base}
	size, _ := x.size()
	x.rows = r.Raw(r.Count(uint32(n), size) * size)
	if err := r.Close(); err != nil {
		return nil, p.corrupt("%v", err)
	}
	check := x.checkRefs
	if p.Merged {
		check = x.checkMerged
	}
	last, newest, reason := check()
	switch {
	case reason != "":
		return nil, p.corrupt("%s", reason)
	case n == 0 || last != end || newest != p.MaxTimestamp:
		return nil, p.corrupt("it ends elsewhere or at another time")
	}
	x.cut(max(p.from, p.Base), p.Last)
	return x, nil
}

// checkRefs returns the last offset and the greatest timestamp, or why the refs cannot
// follow each other.
func (x *PageExtents) checkRefs() (last, newest int64, reason string) {
	var refs [2]ref // the one before, and this one
	last, newest = x.base-1, -1
	for i := range x.len() {
		one, before := &refs[i%2], &refs[(i+1)%2]
		one.decode(x.rows[i*refSize:], last+1)
		if reason := one.implausible(before); reason != "" {
			return 0, 0, fmt.Sprintf("ref %d: %s", i, reason)
		}
		last, newest = one.Last, max(newest, one.MaxTimestamp)
	}
	return last, newest, ""
}
