package partlog

import "sort"

// chunkRefs is how many refs a chunk holds: an append copies at most one chunk,
// and a search by time looks at one number for each chunk.
const chunkRefs = 256

// refList is the refs of a partition, in offset order without gaps. It only ever
// grows at its end.
type refList struct {
	chunks []refChunk
	max    int64 // greatest timestamp of all; meaningless while empty
}

type refChunk struct {
	refs []Ref // never empty
	max  int64 // greatest timestamp
}

func (l *refList) add(r Ref) {
	if len(l.chunks) == 0 || r.MaxTimestamp > l.max {
		l.max = r.MaxTimestamp
	}
	if n := len(l.chunks); n > 0 && len(l.chunks[n-1].refs) < chunkRefs {
		c := &l.chunks[n-1]
		c.refs = append(c.refs, r)
		c.max = max(c.max, r.MaxTimestamp)
		return
	}
	l.chunks = append(l.chunks, refChunk{refs: []Ref{r}, max: r.MaxTimestamp})
}

func (l *refList) maxTimestamp() int64 {
	if len(l.chunks) == 0 {
		return -1
	}
	return l.max
}

// seek returns the chunk and index of the first ref whose last offset is offset
// or more; the chunk is len(chunks) if there is none.
func (l *refList) seek(offset int64) (chunk, index int) {
	chunk = sort.Search(len(l.chunks), func(i int) bool {
		refs := l.chunks[i].refs
		return refs[len(refs)-1].Last >= offset
	})
	if chunk == len(l.chunks) {
		return chunk, 0
	}
	refs := l.chunks[chunk].refs
	return chunk, sort.Search(len(refs), func(i int) bool { return refs[i].Last >= offset })
}

// from returns a copy of up to n refs, starting with the one that holds offset.
func (l *refList) from(offset int64, n int) []Ref {
	chunk, index := l.seek(offset)
	var out []Ref
	for ; chunk < len(l.chunks) && len(out) < n; chunk, index = chunk+1, 0 {
		refs := l.chunks[chunk].refs[index:]
		out = append(out, refs[:min(len(refs), n-len(out))]...)
	}
	return out
}

// firstWithTime returns the first ref that ends at offset or after it and has a
// timestamp of ts or more.
func (l *refList) firstWithTime(offset, ts int64) (Ref, bool) {
	chunk, index := l.seek(offset)
	for ; chunk < len(l.chunks); chunk, index = chunk+1, 0 {
		if l.chunks[chunk].max < ts {
			continue
		}
		for _, r := range l.chunks[chunk].refs[index:] {
			if r.MaxTimestamp >= ts {
				return r, true
			}
		}
	}
	return Ref{}, false
}

func (l *refList) firstWithMaxTime() (Ref, bool) {
	if l.maxTimestamp() < 0 {
		return Ref{}, false
	}
	return l.firstWithTime(0, l.max)
}
