package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/wire"
)

const (
	footerObject  = "footer of a journal object"
	trailerObject = "trailer of a journal object"

	posTrailerVersion = TrailerSize - 8
	posTrailerMagic   = TrailerSize - 4
	posTrailerCRC     = 20
)

// appendFooter writes the footer:
//
//	  0  192  header again
//	192    8  position of the entries section
//	200    8  its length
//	208    4  its CRC-32C
//	212    4  partitions
//	216    8  zero
//	224       the partitions
//
// and the trailer after it, TrailerSize bytes:
//
//	 0  8  position of the footer
//	 8  8  its length
//	16  4  its CRC-32C
//	20  4  CRC-32C of the trailer's first 20 bytes
//	24  2  version
//	26  2  zero
//	28  4  magic "VARV"
//
// Every version ends with the version, two zero bytes and the magic.
func appendFooter(w *wire.Writer, f *Footer) {
	start := len(w.B)
	appendHeader(w, f.Header)
	w.U64(f.Entries.Position)
	w.U64(f.Entries.Length)
	w.U32(f.Entries.CRC)
	w.U32(uint32(len(f.Partitions)))
	w.Zeros(8)
	for i := range f.Partitions {
		appendPartition(w, &f.Partitions[i])
	}
	end := len(w.B)
	w.U64(uint64(start))
	w.U64(uint64(end - start))
	w.U32(checksum(w.B[start:end]))
	w.U32(checksum(w.B[end:]))
	w.U16(Version)
	w.U16(0)
	w.Raw([]byte(magic))
}

func (f *Footer) encodedSize() int {
	size := footerFixedSize
	for i := range f.Partitions {
		size += f.Partitions[i].encodedSize()
	}
	return size
}

// DecodeFooterTail decodes the footer of a journal object of size bytes; tail
// is the end of the object. If tail is too short, need is how many bytes from
// the end are needed, more than len(tail) and at most size; fetch them and call
// again. Offsets in errors count from the start of the object. Decode makes the
// checks that need the whole object.
func DecodeFooterTail(tail []byte, size int64) (f *Footer, need int64, err error) {
	switch {
	case size < minObjectSize || size > MaxObjectSize:
		return nil, 0, corrupt(trailerObject, 0, "object has %d bytes, must have from %d to %d", size, minObjectSize, MaxObjectSize)
	case int64(len(tail)) > size:
		return nil, 0, fmt.Errorf("decode footer: %w: tail of %d bytes of an object of %d", ErrInvalid, len(tail), size)
	case len(tail) < TrailerSize:
		return nil, TrailerSize, nil
	}
	place, err := decodeTrailer(tail[len(tail)-TrailerSize:], int(size))
	if err != nil {
		return nil, 0, err
	}
	need = int64(place.Length) + TrailerSize
	if int64(len(tail)) < need {
		return nil, need, nil
	}
	b := tail[int64(len(tail))-need:][:place.Length]
	if checksum(b) != place.CRC {
		return nil, 0, corrupt(footerObject, int(place.Position), "CRC mismatch")
	}
	f, err = decodeFooter(b, int(place.Position))
	return f, 0, err
}

// decodeTrailer returns the place of the footer, which ends where the trailer
// begins.
func decodeTrailer(b []byte, size int) (Section, error) {
	at := size - TrailerSize
	if string(b[posTrailerMagic:]) != magic {
		return Section{}, corrupt(trailerObject, at, "magic is %q, not %q", b[posTrailerMagic:], magic)
	}
	if v := binary.BigEndian.Uint16(b[posTrailerVersion:]); v != Version {
		return Section{}, unsupported(trailerObject, "version", v)
	}
	if checksum(b[:posTrailerCRC]) != binary.BigEndian.Uint32(b[posTrailerCRC:]) {
		return Section{}, corrupt(trailerObject, at, "CRC mismatch")
	}
	r := wire.NewReader(b)
	s := Section{Position: r.U64(), Length: r.U64(), CRC: r.U32()}
	r = wire.NewReader(b[posTrailerVersion+2 : posTrailerMagic])
	if r.Zeros(2); r.Err() != nil {
		return Section{}, corrupt(trailerObject, at, "%v", r.Err())
	}
	if s.Length < footerFixedSize || s.Position > uint64(size) ||
		s.Length > uint64(size) || s.Position+s.Length != uint64(at) {
		return Section{}, corrupt(trailerObject, at, "footer of %d bytes at %d in an object of %d", s.Length, s.Position, size)
	}
	return s, nil
}

// decodeFooter decodes the footer at position at of an object.
func decodeFooter(b []byte, at int) (*Footer, error) {
	h, err := decodeHeader(footerObject, at, b)
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(b)
	r.Raw(HeaderSize)
	f := &Footer{Header: h, Entries: Section{Position: r.U64(), Length: r.U64(), CRC: r.U32()}}
	n := r.U32()
	r.Zeros(8)
	if n > MaxPartitions {
		return nil, corrupt(footerObject, at, "%d partitions, at most %d", n, MaxPartitions)
	}
	f.Partitions = readList(r, n, partitionFixedSize, readPartition)
	if err := r.Close(); err != nil {
		return nil, corrupt(footerObject, at+r.Pos(), "%v", err)
	}
	if reason := f.implausible(uint64(at)); reason != "" {
		return nil, corrupt(footerObject, at, "%s", reason)
	}
	return f, nil
}

// implausible returns why no footer can stand at position end, or "". It checks
// that the sections follow each other without a gap.
func (f *Footer) implausible(end uint64) string {
	if f.Entries.Position != HeaderSize || f.Entries.Length < entriesFixedSize {
		return fmt.Sprintf("entries section of %d bytes at %d", f.Entries.Length, f.Entries.Position)
	}
	if f.Header.Kind != KindData && len(f.Partitions) > 0 {
		return fmt.Sprintf("records in an object of kind %d", f.Header.Kind)
	}
	position := f.Entries.Position + f.Entries.Length
	for i := range f.Partitions {
		p := &f.Partitions[i]
		if i > 0 && f.Partitions[i-1].compare(p) >= 0 {
			return p.name() + " is out of order"
		}
		if reason := p.implausible(); reason != "" {
			return p.name() + ": " + reason
		}
		if p.Position != position {
			return fmt.Sprintf("%s lies at %d, not at %d", p.name(), p.Position, position)
		}
		position += p.Length
	}
	if position != end {
		return fmt.Sprintf("sections end at %d, footer starts at %d", position, end)
	}
	return ""
}

// Check compares b, the bytes of the section, with its length and CRC.
func (s Section) Check(b []byte) error {
	if reason := s.mismatch(b); reason != "" {
		return corrupt("section of a journal object", int(min(s.Position, MaxObjectSize)), "%s", reason)
	}
	return nil
}

// Check compares b, the bytes of the partition's batches, with the length and
// CRC in the footer.
func (p *Partition) Check(b []byte) error {
	if reason := (Section{Length: p.Length, CRC: p.CRC}).mismatch(b); reason != "" {
		return p.corrupt(reason)
	}
	return nil
}

func (s Section) mismatch(b []byte) string {
	switch {
	case uint64(len(b)) != s.Length:
		return fmt.Sprintf("%d bytes, the footer says %d", len(b), s.Length)
	case checksum(b) != s.CRC:
		return "CRC mismatch"
	}
	return ""
}

// corrupt is the error for damaged batches of the partition.
func (p *Partition) corrupt(reason string) error {
	return corrupt("records of "+p.name(), int(min(p.Position, MaxObjectSize)), "%s", reason)
}
