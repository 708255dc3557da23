package partlog

// unmerged counts bytes of batches in journal objects that no Result has counted yet. left
// are those of the log, and deleted those of records that were deleted before they were
// merged.
//
// The bytes of refs in pages are not known. If the log has such refs, the rest of the bytes
// is dealt to them and to deleted offsets, to each offset the same.
func (p *part) unmerged() (left, deleted int64) {
	l, from := &p.refs, max(p.start, p.merged)
	left = l.bytesFrom(from)
	rest := max(0, p.bytes-p.sourced-left)
	if paged := len(l.pages) - l.seek(from); paged > 0 {
		first := l.base(len(l.pages)) // in memory
		share := float64(first-from) / float64(first-p.merged)
		some := max(int64(paged), int64(share*float64(rest))) // a page is never empty
		return left + some, max(0, rest-some)
	}
	return left, rest
}

// bytesFrom returns the bytes of the refs in memory that end at offset or after it.
func (l *refList) bytesFrom(offset int64) (n int64) {
	chunks := l.chunks[max(0, l.seek(offset)-len(l.pages)):]
	for i := range chunks {
		n += chunks[i].bytes
	}
	for i := 0; len(chunks) > 0 && chunks[0].refs[i].Last < offset; i++ {
		n -= int64(chunks[0].refs[i].Length)
	}
	return n
}

// Bytes returns how many bytes the batches of a partition have in journal objects and merged
// segments; false if it was never opened here. Those of deleted records that are merged count
// as long as they are not freed. If extents lie in pages, the number may be an estimate.
func (s *State) Bytes(k Key) (int64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return 0, false
	}
	left, _ := p.unmerged()
	return left + p.below.shared + p.below.own, true
}
