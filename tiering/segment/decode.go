package segment

import (
	"fmt"
)

const wholeObject = "journal object"

// Object is a whole journal object that has been verified.
type Object struct {
	Footer  *Footer
	Entries []Entry // payloads alias Bytes
	Bytes   []byte
}

// Batches returns the record batches of a partition of the object's footer, back
// to back. They alias Bytes.
func (o *Object) Batches(p *Partition) []byte {
	return o.Bytes[p.Position : p.Position+p.Length : p.Position+p.Length]
}

// Decode verifies a whole journal object. Its header and footer must agree, the
// sections must cover it without a gap, every CRC must be right, and each
// partition's batches must be as the footer describes them. It keeps b.
func Decode(b []byte) (*Object, error) {
	if len(b) >= minObjectSize && string(b[4:6]) != string(b[len(b)-TrailerSize+posTrailerVersion:][:2]) {
		return nil, corrupt(wholeObject, 4, "header and trailer have different versions")
	}
	h, err := DecodeHeader(b)
	if err != nil {
		return nil, err
	}
	f, _, err := DecodeFooterTail(b, int64(len(b))) // a footer lies within its object
	if err != nil {
		return nil, err
	}
	if f.Header != h {
		return nil, corrupt(wholeObject, 0, "header and footer differ")
	}
	section := b[f.Entries.Position : f.Entries.Position+f.Entries.Length]
	if err := f.Entries.Check(section); err != nil {
		return nil, err
	}
	o := &Object{Footer: f, Bytes: b}
	if o.Entries, err = DecodeEntries(section); err != nil {
		return nil, err
	}
	for i := range f.Partitions {
		if err := o.checkPartition(&f.Partitions[i]); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// checkPartition compares the footer's account of a partition with its batches.
func (o *Object) checkPartition(p *Partition) error {
	b := o.Batches(p)
	if err := p.Check(b); err != nil {
		return err
	}
	a := newAccount(p.LeaderEpoch, int64(len(b)))
	sparse := p.Sparse
	for a.walker.Left() > 0 {
		pos := a.length()
		h, err := a.walker.Parse(b[pos:])
		if err == nil {
			err = a.add(&h)
		}
		if err != nil {
			return p.corrupt(fmt.Sprintf("batch %d: %v", a.batches, err))
		}
		if len(sparse) > 0 && pos >= uint64(sparse[0].RelPosition) {
			if pos != uint64(sparse[0].RelPosition) || h.BaseOffset-a.base != int64(sparse[0].RelOffset) {
				break
			}
			sparse = sparse[1:]
		}
	}
	if len(sparse) > 0 {
		return p.corrupt(fmt.Sprintf("sparse entry %+v names no batch", sparse[0]))
	}
	if reason := a.differs(p); reason != "" {
		return p.corrupt(reason)
	}
	return nil
}
