package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"sync"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This file is about one merged segment: whether it is as the extents of the state say.

const (
	// mergedTail is the end of a segment, which has the directory in all but the largest.
	mergedTail = 64 << 10
)

// piece is an extent of a partition.
type piece struct {
	key partlog.Key
	partlog.Extent
}

// merged is a merged segment with the extents that lie in it.
type merged struct {
	object segment.Name
	pieces []piece
}

// size is that of the object by the state.
func (m *merged) size() int64 { return int64(m.pieces[0].Size) }

// affected are the records of all pieces.
func (m *merged) affected() []Range {
	var all []Range
	for _, p := range m.pieces {
		all = append(all, offsets(p.key, p.Base, p.Last))
	}
	return all
}

// mergedCheck checks merged segments of a journal.
type mergedCheck struct {
	store   objstore.Store
	cluster segment.ID
	journal uint32
	whole   bool // read every byte
	records bool // and decode the records

	rooms sync.Pool // of windows, []byte
}

// check reads a merged segment and finds all faults. read is the number of bytes. The
// error is that of the store, objstore.ErrNotFound among them.
func (c *mergedCheck) check(ctx context.Context, m *merged) (found []*Finding, read int64, err error) {
	if c.whole {
		return c.checkWhole(ctx, m)
	}
	return c.checkIndex(ctx, m)
}

// faults gathers the faults of one object. They become one finding, or none.
type faults struct {
	what    string
	hint    string
	code    Code
	at      int64
	affects []Range
}

func (f *faults) add(at int64, affects []Range, format string, args ...any) {
	if f.what == "" {
		f.at, f.what = at, fmt.Sprintf(format, args...)
	}
	f.affects = append(f.affects, affects...)
}

func (f *faults) finding(journal uint32, m *merged) []*Finding {
	if f.what == "" {
		return nil
	}
	found := finding(Error, f.code, journal, m.object.Key(), f.hint, "%s", f.what)
	if f.at != whole {
		found.Offset = &f.at
	}
	found.Affects, found.records = f.affects, true
	return []*Finding{found}
}

// fault sorts an error of a decoder.
func (f *faults) fault(err error, affects []Range) {
	at := damagedAt(err)
	if errors.Is(err, segment.ErrUnsupported) {
		f.code, f.hint = CodeUnsupported, hintUpgrade
	}
	f.add(at, affects, "%v", err)
}

func newFaults() *faults { return &faults{code: CodeCorrupt, hint: hintRestore} }

// checkIndex reads the end of a segment, and the sections of its partitions.
func (c *mergedCheck) checkIndex(ctx context.Context, m *merged) ([]*Finding, int64, error) {
	f := newFaults()
	key, want := m.object.Key(), int64(mergedTail)
	if m.object.Own() {
		want = max(want, int64(m.pieces[0].IndexLength)+1024)
	}
	tail, size, err := c.store.GetTail(ctx, key, want)
	if err != nil {
		return nil, 0, err
	}
	read := int64(len(tail))
	if size != m.size() {
		f.add(whole, m.affected(), "%v: %d bytes, the state says %d: it is cut short, or another object", segment.ErrCorrupt, size, m.size())
		return f.finding(c.journal, m), read, nil
	}
	directory, need, err := segment.DecodeMergedTail(tail, size)
	if err == nil && need > 0 {
		if tail, _, err = c.store.GetTail(ctx, key, need); err != nil {
			return nil, read, err
		}
		read += int64(len(tail))
		directory, _, err = segment.DecodeMergedTail(tail, size)
	}
	if err != nil {
		f.fault(err, nil) // sections stand by themselves
	} else {
		f.checkDirectory(directory, m)
	}
	for i := range m.pieces {
		p := &m.pieces[i]
		at, length := int64(p.Position)+int64(p.Length), int64(p.IndexLength)
		if at+length > size || length == 0 {
			f.add(whole, []Range{offsets(p.key, p.Base, p.Last)}, "the state has a section of %d bytes at %d in an object of %d", length, at, size)
			continue
		}
		var section []byte
		if inTail := at - (size - int64(len(tail))); inTail >= 0 {
			section = tail[inTail : inTail+length]
		} else {
			if section, err = objstore.ReadRange(ctx, c.store, key, at, length); err != nil {
				return nil, read, err
			}
			read += length
		}
		f.checkSection(section, p)
	}
	return f.finding(c.journal, m), read, nil
}

// checkDirectory compares the directory with the extents.
func (f *faults) checkDirectory(d *segment.MergedDirectory, m *merged) {
	if d.Object != m.object.Object {
		f.code, f.hint = CodeMisplaced, hintReplaced
		f.add(whole, m.affected(), "it is merged segment %s", d.Object)
		return
	}
	for _, p := range m.pieces {
		at := uint64(p.Position) + uint64(p.Length)
		if !slices.ContainsFunc(d.Sections, func(s segment.SectionPlace) bool {
			return s.Topic == p.key.Topic && s.Index == p.key.Index && uint64(s.Position) == at && s.Length == p.IndexLength
		}) {
			f.code, f.hint = CodeState, hintStored
			f.add(whole, []Range{offsets(p.key, p.Base, p.Last)}, "the directory has no section of %d bytes at %d, as the state does", p.IndexLength, at)
		}
	}
}

// checkSection compares the section of a partition with its extent. It returns the section
// if it can be read.
func (f *faults) checkSection(b []byte, p *piece) *segment.MergedPartition {
	affects := []Range{offsets(p.key, p.Base, p.Last)}
	s, err := segment.DecodeMergedPartition(b)
	if err != nil {
		f.fault(shifted(err, int64(p.Position)+int64(p.Length)), affects)
		return nil
	}
	if reason := differs(s, p); reason != "" {
		if f.what == "" {
			f.code, f.hint = CodeState, hintStored
		}
		f.add(int64(p.Position)+int64(p.Length), affects, "the section of a partition differs from the state: %s", reason)
		return nil
	}
	return s
}

// shifted moves the place that the error of a decoder names.
func shifted(err error, by int64) error {
	var damage *segment.CorruptError
	if !errors.As(err, &damage) {
		return err
	}
	moved := *damage
	moved.Offset += by
	return &moved
}

// differs returns how a section and an extent differ.
func differs(s *segment.MergedPartition, p *piece) string {
	switch {
	case s.Object != p.Object.Object || s.Topic != p.key.Topic || s.Index != p.key.Index:
		return fmt.Sprintf("it is of partition %s-%d in object %s", s.Topic.Base64(), s.Index, s.Object)
	case s.From != p.Base || s.To != p.Last+1:
		return fmt.Sprintf("it covers offsets %d to %d, the extent %d to %d", s.From, s.To-1, p.Base, p.Last)
	case s.Position != p.Position || s.Length != p.Length || s.IndexLength != p.IndexLength:
		return fmt.Sprintf("%d bytes at %d, the extent has %d at %d", s.Length, s.Position, p.Length, p.Position)
	case s.CRC != p.CRC:
		return fmt.Sprintf("CRC %08x of the batches, the extent has %08x", s.CRC, p.CRC)
	case min(s.Records, math.MaxUint32) != uint64(p.Records):
		return fmt.Sprintf("%d records, the extent has %d", s.Records, p.Records)
	case s.MaxTimestamp != p.MaxTimestamp:
		return fmt.Sprintf("max timestamp %d, the extent has %d", s.MaxTimestamp, p.MaxTimestamp)
	}
	return ""
}

// checkWhole reads all bytes of a segment, once and in their order.
func (c *mergedCheck) checkWhole(ctx context.Context, m *merged) ([]*Finding, int64, error) {
	if m.size() < segment.MergedHeaderSize || m.size() > segment.MaxMergedSize {
		return c.checkIndex(ctx, m)
	}
	w, done := c.open(ctx, m)
	defer done()
	found, err := c.checkBytes(ctx, w, m)
	if errors.Is(err, objstore.ErrRange) { // it is shorter than the state says
		return c.checkIndex(ctx, m)
	}
	return found, m.size(), err
}

// open returns a window over a segment. Its memory is used again after done.
func (c *mergedCheck) open(ctx context.Context, m *merged) (w *window, done func()) {
	key := m.object.Key()
	room, _ := c.rooms.Get().([]byte)
	w = newWindow(m.size(), room, func(at int64, dst []byte) error { return c.store.GetRange(ctx, key, at, dst) })
	return w, func() { c.rooms.Put(w.room) }
}

// checkBytes compares the bytes of a segment with its extents, in the order of both.
func (c *mergedCheck) checkBytes(ctx context.Context, w *window, m *merged) (found []*Finding, err error) {
	f := newFaults()
	head, err := w.hold(segment.MergedHeaderSize)
	if err != nil {
		return nil, err
	}
	head = slices.Clone(head)
	slices.SortFunc(m.pieces, func(a, b piece) int { return cmp.Compare(a.Position, b.Position) })
	for i := range m.pieces {
		problems, err := c.checkPiece(ctx, f, w, &m.pieces[i])
		if err != nil {
			return nil, err
		}
		found = append(found, problems...)
	}
	if err := w.skipTo(w.size - mergedTail); err != nil {
		return nil, err
	}
	tail, err := w.take(w.size - w.at)
	if err != nil {
		return nil, err
	}
	f.checkHeader(head, c, m)
	if err := c.checkTail(ctx, f, tail, m); err != nil {
		return nil, err
	}
	if sum := [sha256.Size]byte(w.sha.Sum(nil)); sum != m.pieces[0].SHA256 {
		f.add(whole, nil, "%v: its SHA-256 is %x, the state says %x; the records are intact", segment.ErrCorrupt, sum, m.pieces[0].SHA256)
	}
	for i := range m.pieces[1:] {
		if p := &m.pieces[1+i]; p.SHA256 != m.pieces[0].SHA256 || p.Size != m.pieces[0].Size {
			f.add(whole, nil, "the state has two sums or sizes of it")
			break
		}
	}
	return append(f.finding(c.journal, m), found...), nil
}

// checkHeader compares the header of an object with its name.
func (f *faults) checkHeader(b []byte, c *mergedCheck, m *merged) {
	h, err := segment.DecodeMergedHeader(b)
	switch {
	case err != nil:
		f.fault(err, nil)
	case h.Cluster != c.cluster || h.Journal != c.journal || h.Name.Object != m.object.Object || h.Name.Topic != m.object.Topic:
		f.code, f.hint = CodeMisplaced, hintReplaced
		f.add(0, m.affected(), "it is %s of journal %d of cluster %s", h.Name.Key(), h.Journal, h.Cluster.Base64())
	}
}

// checkTail compares the directory with the extents. tail is the end of the object; a
// directory that is longer is read by itself.
func (c *mergedCheck) checkTail(ctx context.Context, f *faults, tail []byte, m *merged) error {
	d, need, err := segment.DecodeMergedTail(tail, m.size())
	if err == nil && need > 0 {
		if tail, err = objstore.ReadRange(ctx, c.store, m.object.Key(), m.size()-need, need); err != nil {
			return err
		}
		d, _, err = segment.DecodeMergedTail(tail, m.size())
	}
	if err != nil {
		f.fault(err, nil)
	} else {
		f.checkDirectory(d, m)
	}
	return nil
}

// checkPiece checks the batches and the section of an extent. The findings are about
// batches that were stored as they are. The error is that of the store.
func (c *mergedCheck) checkPiece(ctx context.Context, f *faults, w *window, p *piece) ([]*Finding, error) {
	at, end := int64(p.Position), int64(p.Position)+int64(p.Length)
	if end+int64(p.IndexLength) > w.size || p.IndexLength == 0 || at < w.at {
		f.add(whole, []Range{offsets(p.key, p.Base, p.Last)}, "the state has bytes %d to %d of an object of %d, of which it has %d for other records",
			at, end+int64(p.IndexLength), w.size, w.at)
		return nil, nil
	}
	if err := w.skipTo(at); err != nil {
		return nil, err
	}
	w.crc = 0
	records := newBatches(&p.Extent, c.records)
	records.merged = true
	if err := records.read(w, end); err != nil {
		return nil, err
	}
	intact := w.crc == p.CRC
	b, err := w.take(int64(p.IndexLength))
	if err != nil {
		return nil, err
	}
	section := f.checkSection(b, p)
	if !intact {
		place, affects, err := c.blocksHit(ctx, section, p)
		if err != nil {
			return nil, err
		}
		f.add(place, affects, "%v: records differ from those that were stored: CRC mismatch", segment.ErrCorrupt)
		return nil, nil
	}
	if section == nil {
		return nil, nil
	}
	records.end(&segment.Partition{
		Topic: p.key.Topic, Index: p.key.Index, Position: uint64(p.Position), Length: uint64(p.Length), BaseOffset: p.Base, LastOffset: p.Last,
		Records: uint32(min(section.Records, math.MaxUint32)), Batches: section.Batches, MaxTimestamp: section.MaxTimestamp,
	})
	var found []*Finding
	for _, x := range records.problems {
		one := finding(x.severity, x.code, c.journal, p.Object.Key(), x.hint, "%s", x.what)
		one.Offset, one.Affects, one.records = &x.at, []Range{offsets(p.key, x.first, x.last)}, true
		found = append(found, one)
	}
	return found, nil
}

// blocksHit returns where the records of an extent are damaged, and which: those of the
// blocks whose CRC is wrong. It reads the blocks again.
func (c *mergedCheck) blocksHit(ctx context.Context, section *segment.MergedPartition, p *piece) (at int64, affects []Range, err error) {
	at = int64(p.Position)
	if section != nil {
		for _, block := range section.Blocks {
			b, err := objstore.ReadRange(ctx, c.store, p.Object.Key(), int64(block.Position), int64(block.Length))
			if err != nil {
				return 0, nil, err
			}
			if block.Check(b) == nil {
				continue
			}
			if len(affects) == 0 {
				at = int64(block.Position)
			}
			affects = append(affects, offsets(p.key, block.First, block.Last))
		}
	}
	if len(affects) == 0 {
		affects = []Range{offsets(p.key, p.Base, p.Last)}
	}
	return at, affects, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
