package partlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Page is a chunk of a partition's refs that is not in memory: where in the
// bucket it lies, and what DecodePage will find there.
type Page struct {
	Key
	Object           segment.ID // the index object
	Size             uint32     // bytes of the object's payload
	Position, Length uint32     // bytes, from the start of the payload
	CRC              uint32     // CRC-32C of these bytes
	Base, Last       int64      // first and last offset
	MaxTimestamp     int64      // Unix milliseconds, -1 if no record carries one
}

func (l *refList) page(k Key, i int) *Page {
	c := &l.pages[i]
	return &Page{
		Key:    k,
		Object: c.object.id, Size: c.object.size,
		Position: c.position, Length: c.length, CRC: c.crc,
		Base: l.base(i), Last: c.last, MaxTimestamp: c.max,
	}
}

const (
	pageVersion   = 1
	pageFixedSize = 32
	refSize       = 40
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
func appendPage(w *wire.Writer, k Key, base int64, refs []Ref) {
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
func appendRef(w *wire.Writer, r Ref) {
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
func readRefs(r *wire.Reader, n int, base int64, before Ref) ([]Ref, error) {
	b := r.Raw(n * refSize)
	if b == nil {
		return nil, r.Err()
	}
	refs := make([]Ref, n)
	last := &before
	for i := range refs {
		ref := &refs[i]
		ref.decode(b[i*refSize:], base)
		if reason := ref.implausible(last); reason != "" {
			return nil, fmt.Errorf("ref %d: %s", i, reason)
		}
		last, base = ref, ref.Last+1
	}
	return refs, nil
}

// decode is the inverse of appendRef.
func (r *Ref) decode(b []byte, base int64) {
	_ = b[refSize-1]
	r.Seq = binary.BigEndian.Uint64(b)
	r.Base, r.Last = base, int64(binary.BigEndian.Uint64(b[8:]))
	r.MaxTimestamp = int64(binary.BigEndian.Uint64(b[16:]))
	r.Position, r.Length = binary.BigEndian.Uint32(b[24:]), binary.BigEndian.Uint32(b[28:])
	r.Epoch = int32(binary.BigEndian.Uint32(b[32:]))
	r.CRC = binary.BigEndian.Uint32(b[36:])
}

// implausible says what no ref that follows another can be, or nothing.
func (r *Ref) implausible(before *Ref) string {
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

// DecodePage returns the refs of a page, in offset order. b is the page's bytes.
func DecodePage(p *Page, b []byte) ([]Ref, error) {
	if uint64(len(b)) != uint64(p.Length) || checksum(b) != p.CRC {
		return nil, p.corrupt("%d bytes do not have the CRC of its %d bytes", len(b), p.Length)
	}
	r := wire.NewReader(b)
	if v := r.U16(); r.Err() == nil && v != pageVersion {
		return nil, fmt.Errorf("%w: %s is of version %d, this program reads %d", segment.ErrUnsupported, p.name(), v, pageVersion)
	}
	n := r.U16()
	k := Key{Index: r.I32(), Topic: r.ID()}
	base := r.I64()
	if r.Err() != nil || k != p.Key || base != p.Base {
		return nil, p.corrupt("it is of offset %d of %v", base, k)
	}
	refs, err := readRefs(r, r.Count(uint32(n), refSize), base, Ref{})
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		return nil, p.corrupt("%v", err)
	}
	newest := int64(-1)
	for i := range refs {
		newest = max(newest, refs[i].MaxTimestamp)
	}
	if n == 0 || refs[n-1].Last != p.Last || newest != p.MaxTimestamp {
		return nil, p.corrupt("it ends elsewhere or at another time")
	}
	return refs, nil
}

// Pages returns the state's pages by the index object they lie in.
func (s *State) Pages() map[segment.ID][]*Page {
	s.mu.RLock()
	defer s.mu.RUnlock()
	pages := map[segment.ID][]*Page{}
	for k, p := range s.parts {
		for i := range p.refs.pages {
			page := p.refs.page(k, i)
			pages[page.Object] = append(pages[page.Object], page)
		}
	}
	return pages
}

// EncodePage makes the bytes of a page again from its refs. The error is
// segment.ErrCorrupt if these are not the ones that went into it.
func EncodePage(p *Page, refs []Ref) ([]byte, error) {
	if n := len(refs); n == 0 || n > chunkRefs || refs[0].Base != p.Base || refs[n-1].Last != p.Last {
		return nil, p.corrupt("%d refs that the journal has are not those of offsets %d to %d", n, p.Base, p.Last)
	}
	var w wire.Writer
	appendPage(&w, p.Key, p.Base, refs)
	if _, err := DecodePage(p, w.B); err != nil {
		return nil, err
	}
	return w.B, nil
}

func (p *Page) name() string {
	return fmt.Sprintf("index page of partition %s-%d from offset %d on", p.Topic, p.Index, p.Base)
}

func (p *Page) corrupt(format string, args ...any) error {
	return &segment.CorruptError{Object: p.name(), Offset: int64(p.Position), Reason: fmt.Sprintf(format, args...)}
}
