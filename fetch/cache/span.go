package cache

// Span is a range of an object's bytes, in the blocks that hold them. The bytes
// must not be changed.
type Span struct {
	start     int64 // offset of blocks[0] in the object
	end       int64 // offset after the last block
	blockSize int64
	blocks    [][]byte // all of blockSize but the last
}

// Whole is the Span of an object that is in memory already.
func Whole(object []byte) Span {
	size := int64(len(object))
	return Span{end: size, blockSize: max(size, 1), blocks: [][]byte{object}}
}

// Holds reports whether n bytes from offset off of the object are in the span.
func (s Span) Holds(off, n int64) bool { return off >= s.start && n >= 0 && off+n <= s.end }

// Adjacent reports whether n bytes from off lie in one block, so that Slice
// returns them without a copy.
func (s Span) Adjacent(off, n int64) bool {
	return n == 0 || (off-s.start)/s.blockSize == (off+n-1-s.start)/s.blockSize
}

// Slice returns n bytes from offset off of the object, which the span must hold:
// a piece of the block if they lie in one, else a copy. Its capacity is n.
func (s Span) Slice(off, n int64) []byte {
	if n == 0 {
		return nil
	}
	i, at := (off-s.start)/s.blockSize, (off-s.start)%s.blockSize
	if s.Adjacent(off, n) {
		return s.blocks[i][at : at+n : at+n]
	}
	out := make([]byte, 0, n)
	for ; int64(len(out)) < n; i, at = i+1, 0 {
		b := s.blocks[i][at:]
		out = append(out, b[:min(int64(len(b)), n-int64(len(out)))]...)
	}
	return out
}
