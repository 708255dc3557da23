package partlog

import (
	"crypto/sha256"
	"iter"
	"math"
	"slices"
	"sort"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// chunkRefs is how many refs a chunk holds at most. An append copies at most one chunk,
// and a look-up loads at most one.
const chunkRefs = 256

// ref is an Extent of an object of the state's own journal, in the least memory. The
// journal is that of the state.
type ref struct {
	Seq              uint64
	Base, Last       int64  // first and last offset
	MaxTimestamp     int64  // Unix milliseconds, -1 if it is not known
	Position, Length uint32 // bytes, from the start of the object
	Epoch            int32  // leader epoch of the batches
	CRC              uint32 // CRC-32C of the bytes
}

// refOf is the ref of a partition's records in the object at seq.
func refOf(seq uint64, p *segment.Partition) ref {
	return ref{
		Seq:  seq,
		Base: p.BaseOffset, Last: p.LastOffset,
		MaxTimestamp: p.MaxTimestamp,
		Position:     uint32(p.Position), Length: uint32(p.Length),
		Epoch: p.LeaderEpoch,
		CRC:   p.CRC,
	}
}

// refList holds the refs of a partition in offset order, in chunks without gaps between
// them. It grows at its end, and loses whole chunks at its beginning when their records
// are deleted. The older chunks lie in index objects, the others in memory. Chunks are
// numbered through both.
type refList struct {
	start   int64 // offset at which the first chunk starts
	pages   []pagedChunk
	chunks  []refChunk
	dropped int      // chunks that were lost since the state was made; for the writer alone
	closed  bool     // the last of chunks takes no more refs; for the writer alone, without the lock
	hash    [32]byte // of all refs there ever were, see nextHash
}

// summary describes a chunk without its refs. The chunk starts where the one before it
// ends.
type summary struct {
	last int64 // offset
	max  int64 // greatest timestamp
	peak int64 // greatest timestamp that this chunk and all before it may have
}

type refChunk struct {
	summary
	vague bool  // one of the refs is; all are, if this program began the chunk
	refs  []ref // never empty
	bytes int64 // of the refs' batches
}

// vague reports whether the timestamps are unknown. Older versions stored that when a
// client's batch header said so; its records may have any time.
func (r *ref) vague() bool { return r.MaxTimestamp < 0 }

type pagedChunk struct {
	summary
	object           *indexObject
	position, length uint32 // in the payload of the object
	crc              uint32 // of these bytes
}

// indexObject is shared by its chunks.
type indexObject struct {
	id   segment.ID
	size uint32 // bytes of its payload
	seq  uint64 // of the checkpoint that it was written for; 0 if its key has the old form
}

func (o *indexObject) name(journal uint32) segment.IndexName {
	return segment.IndexName{Journal: journal, Seq: o.seq, Object: o.id}
}

func (l *refList) len() int { return len(l.pages) + len(l.chunks) }

func (l *refList) summary(i int) *summary {
	if i < len(l.pages) {
		return &l.pages[i].summary
	}
	return &l.chunks[i-len(l.pages)].summary
}

// base returns the offset at which chunk i starts.
func (l *refList) base(i int) int64 {
	if i == 0 {
		return l.start
	}
	return l.summary(i-1).last + 1
}

// peak returns the greatest timestamp of the chunks before chunk i.
func (l *refList) peak(i int) int64 {
	if i == 0 {
		return math.MinInt64
	}
	return l.summary(i - 1).peak
}

// upTo returns the greatest timestamp that chunk i may have. Only the greatest known
// timestamp of a page is stored; it shows that the page is vague only if all its refs are.
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

func (l *refList) add(r ref) {
	n := len(l.chunks)
	if n == 0 || l.closed || len(l.chunks[n-1].refs) == chunkRefs || l.chunks[n-1].vague != r.vague() {
		l.chunks = append(l.chunks, refChunk{summary: summary{max: math.MinInt64, peak: l.peak(l.len())}, vague: r.vague()})
		l.closed = false
	}
	c := &l.chunks[len(l.chunks)-1]
	c.refs = append(c.refs, r)
	c.bytes += int64(r.Length)
	c.last = r.Last
	c.max = max(c.max, r.MaxTimestamp)
	c.peak = max(c.peak, upTo(c.max, c.vague))
	l.hash = nextHash(l.hash, r)
}

// nextHash returns the SHA-256 of the hash of the refs before r, and of r. It does not
// depend on where chunks begin, nor on where their refs are.
func nextHash(h [32]byte, r ref) [32]byte {
	w := wire.Writer{B: make([]byte, 0, len(h)+refSize)}
	w.Raw(h[:])
	appendRef(&w, r)
	return sha256.Sum256(w.B)
}

// dropBefore loses the chunks that end before offset. It assumes that chunks follow each
// other without a gap: the list then starts where the chunk before ended.
func (l *refList) dropBefore(offset int64) {
	n := l.seek(offset)
	if n == 0 {
		return
	}
	pages := min(n, len(l.pages))
	l.start = l.base(n)
	l.dropped += n
	l.pages = slices.Clone(l.pages[pages:]) // the old arrays would keep the lost chunks
	l.chunks = slices.Clone(l.chunks[n-pages:])
	peak := int64(math.MinInt64)
	for i := range l.len() {
		s := l.summary(i)
		if peak = max(peak, l.upTo(i)); s.peak == peak {
			break // and so are those after it
		}
		s.peak = peak
	}
}

// firstInMemory returns the number of the first chunk in memory, counting lost ones.
func (l *refList) firstInMemory() int { return l.dropped + len(l.pages) }

// seek returns the first chunk that ends at offset or after it; len if there is none.
func (l *refList) seek(offset int64) int {
	return sort.Search(l.len(), func(i int) bool { return l.summary(i).last >= offset })
}

// from returns up to n extents, starting with the one that holds offset, or the page
// that has it.
func (l *refList) from(in home, offset int64, n int) ([]Extent, *Page) {
	i := l.seek(offset)
	if i < len(l.pages) {
		return nil, l.page(in, i)
	}
	var out []Extent
	for _, c := range l.chunks[i-len(l.pages):] {
		if len(out) == n {
			break
		}
		first := sort.Search(len(c.refs), func(i int) bool { return c.refs[i].Last >= offset })
		some := c.refs[first:min(len(c.refs), first+n-len(out))]
		out = slices.Grow(out, len(some))
		for i := range some {
			out = append(out, some[i].extent(in.journal))
		}
	}
	return out, nil
}

// extents yields the extents of a chunk.
func (c *refChunk) extents(journal uint32) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for i := range c.refs {
			if !yield(c.refs[i].extent(journal)) {
				return
			}
		}
	}
}

// firstWithTime returns the first extent that ends at offset or after it and may have
// a timestamp of ts or more, or the page that has it.
func (l *refList) firstWithTime(in home, offset, ts int64) (Extent, *Page, bool) {
	i := l.seek(offset)
	if l.peak(i) < ts {
		i += sort.Search(l.len()-i, func(n int) bool { return l.summary(i+n).peak >= ts })
	}
	for ; i < l.len(); i++ {
		if l.upTo(i) < ts {
			continue
		}
		if i < len(l.pages) {
			return Extent{}, l.page(in, i), true
		}
		if e, ok := withTime(l.chunks[i-len(l.pages)].extents(in.journal), offset, ts); ok {
			return e, nil, true
		}
	}
	return Extent{}, nil, false
}

// newest looks at the extents that end at offset or after it, in chunks that begin below
// end. It returns the first with the greatest timestamp, or the page that may have it, and
// that timestamp.
func (l *refList) newest(in home, offset, end int64) (newest Extent, page *Page, greatest int64) {
	greatest = -1
	for i := l.seek(offset); i < l.len() && l.base(i) < end; i++ {
		if l.summary(i).max <= greatest {
			continue
		}
		if i < len(l.pages) {
			page, greatest = l.page(in, i), l.summary(i).max
			continue
		}
		if e, ok := newestOf(l.chunks[i-len(l.pages)].extents(in.journal), offset); ok && e.MaxTimestamp > greatest {
			newest, page, greatest = e, nil, e.MaxTimestamp
		}
	}
	return newest, page, greatest
}
