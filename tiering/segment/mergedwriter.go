package segment

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/wire"
)

// Merged is the account of a merged segment that was written.
type Merged struct {
	Size       int64
	CRC32C     uint32 // of the whole object
	Partitions []MergedPartition
}

// MergedWriter writes a merged segment in one pass. It holds the index of the object, and
// no batch. Call Begin, Append for each batch, and End for each partition, in the order of
// (topic, index), and Close at the end. After an error all calls return it, and the bytes
// written are no object. An error of contradictory input is an ErrInvalid.
type MergedWriter struct {
	w        io.Writer
	header   MergedHeader
	position int64
	crc      uint32
	parts    []MergedPartition
	part     *partWriter
	closed   bool
	err      error
}

var errClosed = errors.New("merged segment is complete")

// NewMergedWriter begins a merged segment on w.
func NewMergedWriter(w io.Writer, h MergedHeader) (*MergedWriter, error) {
	if reason := h.implausible(); reason != "" {
		return nil, fmt.Errorf("write merged segment: %w", invalid("%s", reason))
	}
	m := &MergedWriter{w: w, header: h}
	var b wire.Writer
	appendMergedHeader(&b, &h)
	return m, m.write(b.B)
}

// Size returns how many bytes were written.
func (m *MergedWriter) Size() int64 { return m.position }

// Room returns how many bytes of batches can at least follow, in the partition that is open
// or else in one more. Then the object is at its limit of size.
func (m *MergedWriter) Room() int64 {
	section, partitions := sectionFixedSize+MaxTopicName+4, len(m.parts)+1
	if m.part != nil {
		section = m.part.sectionSize()
	}
	room := MaxMergedSize - m.position - int64(section+blockSize+epochStartSize+mergedTailSize(partitions))
	return max(room, 0)
}

// Begin begins a partition.
func (m *MergedWriter) Begin(p MergedPart) error {
	if m.err != nil {
		return m.err
	}
	switch n := m.header.Name; {
	case m.closed:
		m.fail(errClosed)
	case m.part != nil:
		m.fail(invalid("%s begins before %s ends", p.name(), m.part.name()))
	case n.Own() && (n.Topic != p.Topic || n.Partition != p.Index || n.Base != p.From || len(m.parts) > 0):
		m.fail(invalid("%s from offset %d on does not belong into %s", p.name(), p.From, n.Key()))
	case len(m.parts) > 0 && m.parts[len(m.parts)-1].compare(&p) >= 0:
		m.fail(invalid("%s is out of order", p.name()))
	default:
		if reason := p.implausible(); reason != "" {
			m.fail(invalid("%s: %s", p.name(), reason))
		}
	}
	if m.err == nil {
		m.part = newPartWriter(p, m.header.Name.Object, uint32(m.position))
	}
	return m.err
}

// Append writes the next batch of the partition, after it checked the batch's CRC. A caller
// that has decoded the records gives their greatest timestamp as the MaxTimestamp of h, or
// math.MaxInt64 if they cannot be decoded. Otherwise h is nil. The time counts as not known
// if it follows from neither the records nor the batch's header.
func (m *MergedWriter) Append(b []byte, h *batch.Header) error {
	switch {
	case m.err != nil:
		return m.err
	case m.part == nil:
		return m.fail(invalid("a batch of no partition"))
	case int64(len(b)) > m.Room():
		return m.fail(invalid("%s: a batch of %d bytes after %d, at most %d in all", m.part.name(), len(b), m.position, MaxMergedSize))
	}
	own, err := m.part.check(b)
	if err != nil {
		return m.fail(fmt.Errorf("%s: %w", m.part.name(), err))
	}
	newest := own.UpTo()
	switch {
	case own.Records == 0:
		newest = -1
	case h != nil && h.MaxTimestamp < math.MaxInt64:
		newest = max(own.MaxTimestamp, h.MaxTimestamp)
	}
	m.part.add(b, &own, newest)
	return m.send(b)
}

// End ends the partition, which has at least one batch, and writes its section.
func (m *MergedWriter) End() (MergedPartition, error) {
	if m.err != nil {
		return MergedPartition{}, m.err
	}
	if m.part == nil {
		return MergedPartition{}, m.fail(invalid("no partition to end"))
	}
	p := m.part.finish()
	m.part = nil
	if reason := p.implausible(); reason != "" {
		return MergedPartition{}, m.fail(invalid("%s: %s", p.name(), reason))
	}
	var w wire.Writer
	appendSection(&w, &p)
	if err := w.Err(); err != nil {
		return MergedPartition{}, m.fail(err)
	}
	m.parts = append(m.parts, p)
	m.crc = batch.AppendCRC(m.crc, p.CRC, int(p.Length))
	return p, m.write(w.B)
}

// Close writes the directory and the trailer. It leaves the io.Writer open.
func (m *MergedWriter) Close() (Merged, error) {
	switch {
	case m.err != nil:
		return Merged{}, m.err
	case m.closed:
		return Merged{}, m.fail(errClosed)
	case m.part != nil || len(m.parts) == 0:
		return Merged{}, m.fail(invalid("the object ends within a partition, or has none"))
	}
	m.closed = true
	d := MergedDirectory{Object: m.header.Name.Object, Sections: make([]SectionPlace, len(m.parts))}
	for i := range m.parts {
		p := &m.parts[i]
		d.Sections[i] = SectionPlace{Topic: p.Topic, Index: p.Index, Position: p.Position + p.Length, Length: p.IndexLength}
	}
	if reason := d.implausible(uint64(m.position)); reason != "" {
		return Merged{}, m.fail(invalid("%s", reason))
	}
	var w wire.Writer
	appendMergedTail(&w, &d, m.position)
	if err := m.write(w.B); err != nil {
		return Merged{}, err
	}
	return Merged{Size: m.position, CRC32C: m.crc, Partitions: m.parts}, nil
}

// write sends bytes, and adds them to the CRC of the object.
func (m *MergedWriter) write(b []byte) error {
	m.crc = crc32.Update(m.crc, castagnoli, b)
	return m.send(b)
}

// send sends bytes. The CRC of batches follows from that of their blocks.
func (m *MergedWriter) send(b []byte) error {
	if n, err := m.w.Write(b); err != nil || n != len(b) {
		return m.fail(cmp.Or(err, io.ErrShortWrite))
	}
	m.position += int64(len(b))
	return nil
}

func (m *MergedWriter) fail(err error) error {
	m.err = fmt.Errorf("write merged segment %s: %w", m.header.Name.Object, err)
	return m.err
}
