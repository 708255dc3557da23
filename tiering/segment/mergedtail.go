package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/wire"
)

const (
	directoryObject     = "directory of a merged segment"
	mergedTrailerObject = "trailer of a merged segment"

	posMergedTrailerCRC     = MergedTrailerSize - 12
	posMergedTrailerVersion = MergedTrailerSize - 8
	posMergedTrailerMagic   = MergedTrailerSize - 4
)

// appendMergedTail writes the directory, which begins at a position of the object:
//
//	 0  16  object id
//	16   4  partitions
//	20   4  zero
//	24      for each partition (28): topic id 16, index 4, position of its section 4, length of its section 4
//
// and the trailer after it, MergedTrailerSize bytes:
//
//	 0  8  position of the directory
//	 8  8  its length
//	16  8  size of the object
//	24  4  CRC-32C of the directory
//	28  4  CRC-32C of the trailer's first 28 bytes
//	32  2  version
//	34  2  zero
//	36  4  magic "VARV"
//
// Every version ends with the version, two zero bytes and the magic.
func appendMergedTail(w *wire.Writer, d *MergedDirectory, at int64) {
	start := len(w.B)
	w.ID(d.Object)
	w.U32(uint32(len(d.Sections)))
	w.Zeros(4)
	for _, s := range d.Sections {
		w.ID(s.Topic)
		w.I32(s.Index)
		w.U32(s.Position)
		w.U32(s.Length)
	}
	end := len(w.B)
	w.U64(uint64(at))
	w.U64(uint64(end - start))
	w.U64(uint64(at) + uint64(end-start) + MergedTrailerSize)
	w.U32(checksum(w.B[start:end]))
	w.U32(checksum(w.B[end:]))
	w.U16(Version)
	w.U16(0)
	w.Raw([]byte(magic))
}

// mergedTailSize is how many bytes appendMergedTail writes for some partitions.
func mergedTailSize(partitions int) int {
	return directoryFixedSize + sectionPlaceSize*partitions + MergedTrailerSize
}

// DecodeMergedTail decodes the directory of a merged segment of size bytes; tail is the
// end of the object. If tail is too short, need is how many bytes from the end are needed,
// more than len(tail) and at most size; fetch them and call again. Offsets in errors count
// from the start of the object.
func DecodeMergedTail(tail []byte, size int64) (d *MergedDirectory, need int64, err error) {
	switch {
	case size < minMergedSize || size > MaxMergedSize:
		return nil, 0, corrupt(mergedTrailerObject, 0, "object has %d bytes, must have from %d to %d", size, minMergedSize, MaxMergedSize)
	case int64(len(tail)) > size:
		return nil, 0, fmt.Errorf("decode directory: %w: tail of %d bytes of an object of %d", ErrInvalid, len(tail), size)
	case len(tail) < MergedTrailerSize:
		return nil, MergedTrailerSize, nil
	}
	place, err := decodeMergedTrailer(tail[len(tail)-MergedTrailerSize:], size)
	if err != nil {
		return nil, 0, err
	}
	need = int64(place.Length) + MergedTrailerSize
	if int64(len(tail)) < need {
		return nil, need, nil
	}
	b := tail[int64(len(tail))-need:][:place.Length]
	if checksum(b) != place.CRC {
		return nil, 0, corrupt(directoryObject, int(place.Position), "CRC mismatch")
	}
	d, err = decodeDirectory(b, int(place.Position))
	return d, 0, err
}

// decodeMergedTrailer returns the place of the directory, which ends where the trailer
// begins.
func decodeMergedTrailer(b []byte, size int64) (Section, error) {
	at := int(size - MergedTrailerSize)
	if string(b[posMergedTrailerMagic:]) != magic {
		return Section{}, corrupt(mergedTrailerObject, at, "magic is %q, not %q", b[posMergedTrailerMagic:], magic)
	}
	if v := binary.BigEndian.Uint16(b[posMergedTrailerVersion:]); v != Version {
		return Section{}, unsupported(mergedTrailerObject, "version", v)
	}
	if checksum(b[:posMergedTrailerCRC]) != binary.BigEndian.Uint32(b[posMergedTrailerCRC:]) {
		return Section{}, corrupt(mergedTrailerObject, at, "CRC mismatch")
	}
	r := wire.NewReader(b)
	s := Section{Position: r.U64(), Length: r.U64()}
	whole := r.U64()
	s.CRC = r.U32()
	r = wire.NewReader(b[posMergedTrailerVersion+2 : posMergedTrailerMagic])
	if r.Zeros(2); r.Err() != nil {
		return Section{}, corrupt(mergedTrailerObject, at, "%v", r.Err())
	}
	if whole != uint64(size) || s.Length < directoryFixedSize+sectionPlaceSize || s.Length > uint64(size) ||
		s.Position > uint64(size) || s.Position+s.Length != uint64(at) {
		return Section{}, corrupt(mergedTrailerObject, at, "directory of %d bytes at %d in an object of %d, which has %d", s.Length, s.Position, whole, size)
	}
	return s, nil
}

// decodeDirectory decodes the directory at position at of an object.
func decodeDirectory(b []byte, at int) (*MergedDirectory, error) {
	r := wire.NewReader(b)
	d := &MergedDirectory{Object: r.ID()}
	n := r.U32()
	r.Zeros(4)
	d.Sections = readList(r, n, sectionPlaceSize, func(r *wire.Reader) SectionPlace {
		return SectionPlace{Topic: r.ID(), Index: r.I32(), Position: r.U32(), Length: r.U32()}
	})
	if err := r.Close(); err != nil {
		return nil, corrupt(directoryObject, at+r.Pos(), "%v", err)
	}
	if reason := d.implausible(uint64(at)); reason != "" {
		return nil, corrupt(directoryObject, at, "%s", reason)
	}
	return d, nil
}

// implausible returns why no directory can stand at position end, or "".
func (d *MergedDirectory) implausible(end uint64) string {
	if d.Object.IsZero() || len(d.Sections) == 0 {
		return "object id is zero, or there is no partition"
	}
	position := uint64(MergedHeaderSize)
	for i := range d.Sections {
		s := &d.Sections[i]
		if s.Topic.IsZero() || s.Index < 0 || i > 0 && comparePartitions(s.Topic, s.Index, d.Sections[i-1].Topic, d.Sections[i-1].Index) <= 0 {
			return fmt.Sprintf("partition %s-%d is out of order", s.Topic, s.Index)
		}
		if uint64(s.Position) < position+batch.HeaderSize || s.Length < minSectionSize {
			return fmt.Sprintf("section of partition %s-%d has %d bytes at %d, the one before ends at %d", s.Topic, s.Index, s.Length, s.Position, position)
		}
		position = uint64(s.Position) + uint64(s.Length)
	}
	if position != end {
		return fmt.Sprintf("sections end at %d, directory starts at %d", position, end)
	}
	return ""
}
