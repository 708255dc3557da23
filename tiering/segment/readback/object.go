package readback

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Object is a merged segment as its bytes say.
type Object struct {
	Cluster, ID, Job, Node, Incarnation [16]byte
	Journal                             uint32
	Topic                               [16]byte // of an own segment
	Index                               int32
	Base                                int64
	BuiltMs                             int64
	SHA256                              [32]byte
	CRC                                 uint32 // CRC-32C of the whole object
	Partitions                          []Partition
}

// Partition is the part of a partition in a merged segment.
type Partition struct {
	Topic                              [16]byte
	Index                              int32
	Name                               string
	From, To                           int64 // the covered range
	Position, Length, IndexLength, CRC uint32
	First, Last                        int64
	Records                            uint64 // by the headers of the batches
	Batches                            uint32
	MaxTimestamp, SourceMs             int64
	Sum                                Sum
}

const (
	headerSize    = 144
	trailerSize   = 40
	directorySize = 24
	placeSize     = 28
	maxObject     = 128 << 20
)

// Object reads a whole merged segment of size bytes: header, batches, sections, directory
// and trailer, which must fit each other. The Sum of a partition has its records. A batch
// counts as its bytes if verbatim returns true for its base offset, and for the number of
// the partition in the object, from 0 on.
func (r *Reader) Object(ctx context.Context, src io.ReaderAt, size int64, verbatim func(partition int, base int64) bool) (*Object, error) {
	if size < headerSize+trailerSize+directorySize+placeSize || size > maxObject {
		return nil, wrong("an object of %d bytes", size)
	}
	w := &r.window
	w.open(src, size)
	defer func() { w.src, w.b, w.peek = nil, nil, nil }()
	tail, err := readTail(src, size)
	if err != nil {
		return nil, err
	}
	head, err := w.take(headerSize)
	if err != nil {
		return nil, err
	}
	o, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	var last *Partition
	for places := tail[directorySize : len(tail)-trailerSize]; len(places) > 0; places = places[placeSize:] {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		n := len(o.Partitions)
		p, err := r.partition(ctx, o, places[:placeSize], func(base int64) bool { return verbatim(n, base) })
		if err == nil && last != nil && !last.before(p) {
			err = wrong("it is out of order")
		}
		if err != nil {
			return nil, fmt.Errorf("partition %x-%d: %w", places[:16], int32(binary.BigEndian.Uint32(places[16:])), err)
		}
		o.Partitions = append(o.Partitions, *p)
		last = p
	}
	end, err := w.take(len(tail))
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(end, tail) || w.at != size:
		return nil, wrong("the directory does not follow the last section")
	case !bytes.Equal(tail[:16], o.ID[:]):
		return nil, wrong("the directory is of object %x, the header of %x", tail[:16], o.ID)
	}
	w.sha.Sum(o.SHA256[:0])
	o.CRC = w.crc
	return o, o.fits()
}

// readTail reads directory and trailer.
func readTail(src io.ReaderAt, size int64) ([]byte, error) {
	be := binary.BigEndian
	var trailer [trailerSize]byte
	if err := readAt(src, trailer[:], size-trailerSize); err != nil {
		return nil, err
	}
	at, length := be.Uint64(trailer[:]), be.Uint64(trailer[8:])
	switch {
	case string(trailer[32:]) != "\x00\x01\x00\x00VARV" || crc32.Checksum(trailer[:28], castagnoli) != be.Uint32(trailer[28:]):
		return nil, wrong("the trailer is %x", trailer)
	case be.Uint64(trailer[16:]) != uint64(size) || at > uint64(size) || length > uint64(size) || at+length+trailerSize != uint64(size) || length < directorySize+placeSize:
		return nil, wrong("a directory of %d bytes at %d in an object of %d, which has %d", length, at, be.Uint64(trailer[16:]), size)
	}
	tail := make([]byte, length+trailerSize)
	if err := readAt(src, tail, int64(at)); err != nil {
		return nil, err
	}
	directory, n := tail[:length], be.Uint32(tail[16:])
	if crc32.Checksum(directory, castagnoli) != be.Uint32(trailer[24:]) || uint64(n)*placeSize+directorySize != length || be.Uint32(tail[20:]) != 0 {
		return nil, wrong("a directory of %d partitions in %d bytes", n, length)
	}
	return tail, nil
}

func parseHeader(b []byte) (*Object, error) {
	be := binary.BigEndian
	if string(b[:8]) != "VARV\x00\x01\x08\x00" || crc32.Checksum(b[:140], castagnoli) != be.Uint32(b[140:]) {
		return nil, wrong("the header is %x", b)
	}
	o := &Object{
		Cluster: [16]byte(b[8:]), ID: [16]byte(b[24:]), Job: [16]byte(b[40:]), Node: [16]byte(b[56:]), Incarnation: [16]byte(b[72:]),
		Journal: be.Uint32(b[88:]), Topic: [16]byte(b[96:]), Index: int32(be.Uint32(b[112:])), Base: int64(be.Uint64(b[116:])),
		BuiltMs: int64(be.Uint64(b[124:])),
	}
	if be.Uint32(b[92:]) != 0 || be.Uint64(b[132:]) != 0 {
		return nil, wrong("reserved bytes of the header are not zero")
	}
	return o, nil
}

// fits checks that an own segment has the partition of its header, and no other.
func (o *Object) fits() error {
	switch own := o.Topic != [16]byte{}; {
	case !own && (o.Index != 0 || o.Base != 0):
		return wrong("a shared segment has index %d and base offset %d", o.Index, o.Base)
	case own && (len(o.Partitions) != 1 || o.Partitions[0].Topic != o.Topic || o.Partitions[0].Index != o.Index || o.Partitions[0].From != o.Base):
		return wrong("an own segment has another partition, or another range, than its header")
	}
	return nil
}

// before reports whether p comes before q in an object.
func (p *Partition) before(q *Partition) bool {
	c := bytes.Compare(p.Topic[:], q.Topic[:])
	return c < 0 || c == 0 && p.Index < q.Index
}
