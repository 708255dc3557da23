package partlog

import (
	"crypto/sha256"
	"math"
	"slices"
	"sort"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// chunkRefs is how many refs a chunk holds at most: an append copies at most one
// chunk, and a look-up loads at most one.
const chunkRefs = 256

// refList is the refs of a partition in offset order, in chunks without gaps
// between them. It grows at its end, and loses whole chunks at its beginning when
// their records are deleted. The older chunks lie in index objects, the others in
// memory; chunks are numbered through both.
type refList struct {
	start   int64 // offset at which the first chunk starts
	pages   []pagedChunk
	chunks  []refChunk
	dropped int      // chunks that were lost since the state was made; the writer's alone
	closed  bool     // the last of chunks takes no more refs; the writer's alone, without the lock
	hash    [32]byte // of all refs there ever were, see nextHash
}

// span is what is known of a chunk without its refs. It starts where the chunk
// before it ends.
type span struct {
	last int64 // offset
	max  int64 // greatest timestamp
	peak int64 // greatest timestamp that this chunk and all before it may have
}

type refChunk struct {
	span
	vague bool  // one of refs is; all are, if this program began the chunk
	refs  []Ref // never empty
}

// vague: nothing is known of the timestamps. Clients wrote so in the headers of
// batches, and it was believed; the records may have any.
func (r *Ref) vague() bool { return r.MaxTimestamp < 0 }

type pagedChunk struct {
	span
	object           *indexObject
	position, length uint32 // in the payload of the object
	crc              uint32 // of these bytes
}

// indexObject is shared by its chunks.
type indexObject struct {
	id   segment.ID
	size uint32 // bytes of its payload
}

func (l *refList) len() int { return len(l.pages) + len(l.chunks) }

func (l *refList) span(i int) *span {
	if i < len(l.pages) {
		return &l.pages[i].span
	}
	return &l.chunks[i-len(l.pages)].span
}

// base is the offset at which chunk i starts.
func (l *refList) base(i int) int64 {
	if i == 0 {
		return l.start
	}
	return l.span(i-1).last + 1
}

// peak is the greatest timestamp of the chunks before chunk i.
func (l *refList) peak(i int) int64 {
	if i == 0 {
		return math.MinInt64
	}
	return l.span(i - 1).peak
}

// upTo is the greatest timestamp that chunk i may have. Of a page only its greatest
// timestamp is stored, from which its being vague shows if all its refs are.
func (l *refList) upTo(i int) int64 {
	if i < len(l.pages) {
		return upTo(l.pages[i].max, l.pages[i].max < 0)
	}
	c := &l.chunks[i-len(l.pages)]
	return upTo(c.max, c.vague)
}

func upTo(greatest int64, vague bool) int64 {
	if vague {
		return math.MaxInt64
	}
	return greatest
}

func (l *refList) add(r Ref) {
	n := len(l.chunks)
	if n == 0 || l.closed || len(l.chunks[n-1].refs) == chunkRefs || l.chunks[n-1].vague != r.vague() {
		l.chunks = append(l.chunks, refChunk{span: span{max: math.MinInt64, peak: l.peak(l.len())}, vague: r.vague()})
		l.closed = false
	}
	c := &l.chunks[len(l.chunks)-1]
	c.refs = append(c.refs, r)
	c.last = r.Last
	c.max = max(c.max, r.MaxTimestamp)
	c.peak = max(c.peak, upTo(c.max, c.vague))
	l.hash = nextHash(l.hash, r)
}

// nextHash is the SHA-256 of the hash of the refs before r and of r: it does not
// depend on where chunks begin, nor on where their refs are.
func nextHash(h [32]byte, r Ref) [32]byte {
	w := wire.Writer{B: make([]byte, 0, len(h)+refSize)}
	w.Raw(h[:])
	appendRef(&w, r)
	return sha256.Sum256(w.B)
}

// dropBefore loses the chunks that end before offset.
func (l *refList) dropBefore(offset int64) {
	n := l.seek(offset)
	if n == 0 {
		return
	}
	pages := min(n, len(l.pages))
	l.start = l.base(n)
	l.dropped += n
	l.pages = slices.Clone(l.pages[pages:]) // the old arrays would keep what is lost
	l.chunks = slices.Clone(l.chunks[n-pages:])
	peak := int64(math.MinInt64)
	for i := range l.len() {
		s := l.span(i)
		if peak = max(peak, l.upTo(i)); s.peak == peak {
			break // and so are those after it
		}
		s.peak = peak
	}
}

// firstInMemory is the number of the first of chunks, those that were lost counted.
func (l *refList) firstInMemory() int { return l.dropped + len(l.pages) }

// seek returns the first chunk that ends at offset or after it; len if there is
// none.
func (l *refList) seek(offset int64) int {
	return sort.Search(l.len(), func(i int) bool { return l.span(i).last >= offset })
}

// from returns a copy of up to n refs, starting with the one that holds offset,
// or the page to look for it.
func (l *refList) from(k Key, offset int64, n int) ([]Ref, *Page) {
	i := l.seek(offset)
	if i < len(l.pages) {
		return nil, l.page(k, i)
	}
	var out []Ref
	for _, c := range l.chunks[i-len(l.pages):] {
		if len(out) == n {
			break
		}
		out = append(out, RefsFrom(c.refs, offset, n-len(out))...)
	}
	return out, nil
}

// firstWithTime returns the first ref that ends at offset or after it and may have a
// timestamp of ts or more, or the page to look for it.
func (l *refList) firstWithTime(k Key, offset, ts int64) (Ref, *Page, bool) {
	i := l.seek(offset)
	if l.peak(i) < ts {
		i += sort.Search(l.len()-i, func(n int) bool { return l.span(i+n).peak >= ts })
	}
	for ; i < l.len(); i++ {
		if l.upTo(i) < ts {
			continue
		}
		if i < len(l.pages) {
			return Ref{}, l.page(k, i), true
		}
		if r, ok := RefWithTime(l.chunks[i-len(l.pages)].refs, offset, ts); ok {
			return r, nil, true
		}
	}
	return Ref{}, nil, false
}

// newest returns the first ref with the greatest timestamp of those that end at
// offset or after it, or the page that has it; a page that starts before offset may
// have its greatest timestamp there. It is false if no record carries one.
func (l *refList) newest(k Key, offset int64) (Ref, *Page, bool) {
	greatest, at := int64(-1), -1
	var ref Ref
	for i := l.seek(offset); i < l.len(); i++ {
		if l.span(i).max <= greatest {
			continue
		}
		if i < len(l.pages) {
			greatest, at = l.span(i).max, i
			continue
		}
		if r, ok := NewestRef(l.chunks[i-len(l.pages)].refs, offset); ok && r.MaxTimestamp > greatest {
			greatest, at, ref = r.MaxTimestamp, i, r
		}
	}
	if at >= 0 && at < len(l.pages) {
		return Ref{}, l.page(k, at), true
	}
	return ref, nil, at >= 0
}

// NewestRef returns the first with the greatest timestamp of refs, which are in
// offset order, that end at offset or after it. It is false if none carries one.
func NewestRef(refs []Ref, offset int64) (Ref, bool) {
	newest := Ref{MaxTimestamp: -1}
	for _, r := range refs {
		if r.Last >= offset && r.MaxTimestamp > newest.MaxTimestamp {
			newest = r
		}
	}
	return newest, newest.MaxTimestamp >= 0
}

// RefsFrom returns those of refs, which are in offset order, from the first that
// ends at offset or after it on, n at most.
func RefsFrom(refs []Ref, offset int64, n int) []Ref {
	i := sort.Search(len(refs), func(i int) bool { return refs[i].Last >= offset })
	end := min(len(refs), i+n)
	return refs[i:end:end]
}

// RefWithTime returns the first of refs, which are in offset order, that ends at
// offset or after it and may have a timestamp of ts or more.
func RefWithTime(refs []Ref, offset, ts int64) (Ref, bool) {
	i := slices.IndexFunc(refs, func(r Ref) bool { return r.Last >= offset && (r.MaxTimestamp >= ts || r.vague()) })
	if i < 0 {
		return Ref{}, false
	}
	return refs[i], true
}
