package cache

// Span is a range of an object's bytes, in the blocks that hold them. The bytes
// must not be changed. A Span holds a reference to each of its blocks until Release.
type Span struct {
	start     int64 // offset of blocks[0] in the object
	end       int64 // offset after the last block
	blockSize int64
	blocks    []*Block // all of blockSize but the last
}

// Whole is the Span of an object that is in memory already. The caller's reference to the
// block becomes the Span's.
func Whole(object *Block) Span {
	size := int64(len(object.data))
	return Span{end: size, blockSize: max(size, 1), blocks: []*Block{object}}
}

// Holds reports whether n bytes from offset off of the object are in the span.
func (s Span) Holds(off, n int64) bool { return off >= s.start && n >= 0 && off+n <= s.end }

// within returns which block holds offset off of the object, and where.
func (s Span) within(off int64) (i, at int64) {
	return (off - s.start) / s.blockSize, (off - s.start) % s.blockSize
}

// each calls fn for each stretch of a block that holds some of the n bytes from offset
// off, until fn returns false.
func (s Span) each(off, n int64, fn func(b *Block, in stretch) bool) {
	if n == 0 {
		return
	}
	for i, at := s.within(off); n > 0; i, at = i+1, 0 {
		b := s.blocks[i]
		part := min(n, int64(len(b.data))-at)
		if !fn(b, stretch{at, at + part}) {
			return
		}
		n -= part
	}
}

// Retain adds a reference to each block, and returns the span.
func (s Span) Retain() Span {
	for _, b := range s.blocks {
		b.Retain()
	}
	return s
}

// Release ends the references. The bytes of the span must not be read any more.
func (s Span) Release() {
	for _, b := range s.blocks {
		b.Release()
	}
}

// Part is bytes of a block, with a reference to it.
type Part struct {
	Block *Block
	Bytes []byte
}

// Parts appends n bytes from offset off of the object to dst, without a copy: one part for
// each block, with a reference of its own. The span must hold them.
func (s Span) Parts(dst []Part, off, n int64) []Part {
	s.each(off, n, func(b *Block, in stretch) bool {
		b.Retain()
		dst = append(dst, Part{b, b.data[in.from:in.to:in.to]})
		return true
	})
	return dst
}

// Append appends n bytes from offset off of the object to dst, without a copy: one slice
// for each block. The span must hold them.
func (s Span) Append(dst [][]byte, off, n int64) [][]byte {
	s.each(off, n, func(b *Block, in stretch) bool {
		dst = append(dst, b.data[in.from:in.to:in.to])
		return true
	})
	return dst
}

// Slice returns n bytes from offset off of the object, which the span must hold. They are
// a slice of the block if they lie in one, else a copy. The capacity is n.
func (s Span) Slice(off, n int64) []byte {
	if n == 0 {
		return nil
	}
	i, at := s.within(off)
	if b := s.blocks[i].data; at+n <= int64(len(b)) {
		return b[at : at+n : at+n]
	}
	out := make([]byte, 0, n)
	for _, part := range s.Append(nil, off, n) {
		out = append(out, part...)
	}
	return out
}

// SoundTo returns the offset up to which the bytes from off on are marked, by any holder
// of the same blocks; off if none are.
func (s Span) SoundTo(off int64) int64 {
	s.each(off, s.end-off, func(b *Block, in stretch) bool {
		end := b.soundFrom(in.from)
		off += end - in.from
		return end == in.to
	})
	return off
}

// Mark remembers that n bytes from offset off are sound, for as long as their blocks
// stay in memory.
func (s Span) Mark(off, n int64) {
	s.each(off, n, func(b *Block, in stretch) bool { b.mark(in); return true })
}
