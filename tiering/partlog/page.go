package partlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Page is a chunk of a partition's extents that is not in memory. It says where in the
// bucket the chunk lies, and which offsets and times DecodePage will find there.
type Page struct {
	Key
	segment.IndexName        // the index object it lies in
	Size              uint32 // bytes of the object's payload
	Position, Length  uint32 // bytes, from the start of the payload
	CRC               uint32 // CRC-32C of these bytes
	Base, Last        int64  // first and last offset
	MaxTimestamp      int64  // Unix milliseconds, -1 if no record carries one
	// Merged says that the extents lie in merged segments. The journal does not have
	// them, so that the page cannot be made again from it.
	Merged bool
	// Bytes are those of the batches of the extents from Base on, of which Start may be
	// within; 0 if the page is not Merged. They are not known if the page is not Whole.
	Bytes int64
	// Head is the last object of the state that names the page.
	Head uint64

	base, last int64 // of merged extents: the offsets of the whole page, of which a part may be replaced
	from       int64 // of refs: those that end below are replaced
}

func (l *refList) page(in home, i int) *Page {
	c := &l.pages[i]
	return &Page{
		Key: in.Key, IndexName: c.object.name(in.journal), Size: c.object.size,
		Position: c.position, Length: c.length, CRC: c.crc,
		Base: l.base(i), Last: c.last, MaxTimestamp: c.max,
		Head: in.head,
		from: in.merged,
	}
}

// Whole reports whether no extent of a page of merged ones was replaced.
func (p *Page) Whole() bool { return p.Base == p.base && p.Last == p.last }

// Len is how many extents the page was written with.
func (p *Page) Len() int {
	if p.Merged {
		return int(p.Length-pageFixedSize) / mergedRowSize
	}
	return int(p.Length-pageFixedSize) / refSize
}

const (
	pageVersion   = 1
	pageFixedSize = 32
	refSize       = 40
	posLast       = 8 // of the last offset in a ref
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func pageSize(refs int) int { return pageFixedSize + refs*refSize }

// appendPage writes a chunk as it stands in the payload of an index object:
//
//	 0   2  version, 1
//	 2   2  refs, 1 to 256
//	 4   4  partition
//	 8  16  topic id
//	24   8  offset at which the first ref starts
//	32      the refs
func appendPage(w *wire.Writer, k Key, base int64, refs []ref) {
	w.U16(pageVersion)
	w.U16(uint16(len(refs)))
	w.I32(k.Index)
	w.ID(k.Topic)
	w.I64(base)
	for _, r := range refs {
		appendRef(w, r)
	}
}

// appendRef writes a ref, which starts where the one before it ends:
//
//	 0  8  seq
//	 8  8  last offset
//	16  8  max timestamp, Unix milliseconds
//	24  4  position
//	28  4  length
//	32  4  leader epoch
//	36  4  CRC-32C of the records
func appendRef(w *wire.Writer, r ref) {
	w.U64(r.Seq)
	w.I64(r.Last)
	w.I64(r.MaxTimestamp)
	w.U32(r.Position)
	w.U32(r.Length)
	w.I32(r.Epoch)
	w.U32(r.CRC)
}

// readRefs reads n refs, for which there is room, the first of which starts at
// base and follows the ref before, which is zero if that is not known.
func readRefs(r *wire.Reader, n int, base int64, before ref) ([]ref, error) {
	rows := r.Raw(n * refSize)
	if rows == nil {
		return nil, r.Err()
	}
	refs := make([]ref, n)
	last := &before
	for i := range refs {
		one := &refs[i]
		one.decode(rows[i*refSize:], base)
		if reason := one.implausible(last); reason != "" {
			return nil, fmt.Errorf("ref %d: %s", i, reason)
		}
		last, base = one, one.Last+1
	}
	return refs, nil
}

// refsIn yields the refs of checked rows, the first of which starts at base.
func refsIn(rows []byte, base int64) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		for ; len(rows) > 0; rows = rows[refSize:] {
			var one ref
			one.decode(rows, base)
			if !yield(one) {
				return
			}
			base = one.Last + 1
		}
	}
}

// decode is the inverse of appendRef.
func (r *ref) decode(b []byte, base int64) {
	_ = b[refSize-1]
	r.Seq = binary.BigEndian.Uint64(b)
	r.Base, r.Last = base, int64(binary.BigEndian.Uint64(b[posLast:]))
	r.MaxTimestamp = int64(binary.BigEndian.Uint64(b[16:]))
	r.Position, r.Length = binary.BigEndian.Uint32(b[24:]), binary.BigEndian.Uint32(b[28:])
	r.Epoch = int32(binary.BigEndian.Uint32(b[32:]))
	r.CRC = binary.BigEndian.Uint32(b[36:])
}

// implausible returns why the ref cannot follow another, or nothing. It assumes that all
// refs are of journal objects: each has a higher seq than the one before, and none has an
// older leader epoch. It assumes no gaps either: a ref's base is not stored, because the
// ref starts where the one before ends.
func (r *ref) implausible(before *ref) string {
	switch {
	case r.Seq <= before.Seq:
		return fmt.Sprintf("seq %d after %d", r.Seq, before.Seq)
	case r.Base < 0 || r.Last < r.Base || r.Last > maxOffset:
		return fmt.Sprintf("offsets from %d to %d", r.Base, r.Last)
	case r.MaxTimestamp < -1:
		return fmt.Sprintf("max timestamp %d", r.MaxTimestamp)
	case r.Length == 0:
		return "no bytes"
	case r.Epoch < 1 || r.Epoch < before.Epoch:
		return fmt.Sprintf("leader epoch %d after %d", r.Epoch, before.Epoch)
	}
	return ""
}

// Pages returns the state's pages by the index object they lie in.
func (s *State) Pages() map[segment.ID][]*Page {
	s.mu.RLock()
	defer s.mu.RUnlock()
	pages := map[segment.ID][]*Page{}
	for k, p := range s.parts {
		for i := range p.refs.pages {
			page := p.refs.page(s.home(k, p), i)
			pages[page.Object] = append(pages[page.Object], page)
		}
		for i := range p.below.chunks {
			if c := &p.below.chunks[i]; c.page != nil {
				page := c.export(s.home(k, p))
				pages[page.Object] = append(pages[page.Object], page)
			}
		}
	}
	return pages
}

// EncodePage rebuilds the bytes of a page of refs from its extents. The error is
// segment.ErrCorrupt if these are not the extents of the page.
func EncodePage(p *Page, extents []Extent) ([]byte, error) {
	if n := len(extents); p.Merged || n == 0 || n > chunkRefs || extents[0].Base != p.Base || extents[n-1].Last != p.Last {
		return nil, p.corrupt("%d extents that the journal has are not those of offsets %d to %d", n, p.Base, p.Last)
	}
	refs := make([]ref, len(extents))
	for i := range extents {
		refs[i] = refOfExtent(&extents[i])
	}
	var w wire.Writer
	appendPage(&w, p.Key, p.Base, refs)
	if _, err := DecodePage(p, w.B); err != nil {
		return nil, err
	}
	return w.B, nil
}

// ObjectKey returns the key of the index object that the page lies in.
func (p *Page) ObjectKey() string { return p.IndexName.Key() }

// First returns the first offset of the page whose extent is not replaced.
func (p *Page) First() int64 { return max(p.Base, p.from) }

func (p *Page) name() string {
	return fmt.Sprintf("index page of partition %s-%d from offset %d on", p.Topic, p.Index, p.Base)
}

func (p *Page) corrupt(format string, args ...any) error {
	return &segment.CorruptError{Object: p.name(), Offset: int64(p.Position), Reason: fmt.Sprintf(format, args...)}
}
