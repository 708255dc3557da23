package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This file is about one merged segment: whether it is as the extents of the state say.

const (
	// mergedPart is read of a merged segment at once, by one of mergedGets requests.
	mergedPart = 8 << 20
	mergedGets = 4
	// mergedTail is asked for first when only the end of a segment is read.
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

// checkWhole reads all bytes of a segment.
func (c *mergedCheck) checkWhole(ctx context.Context, m *merged) ([]*Finding, int64, error) {
	b, err := c.readAll(ctx, m.object.Key(), m.size())
	if errors.Is(err, objstore.ErrRange) { // it is shorter than the state says
		return c.checkIndex(ctx, m)
	}
	if err != nil {
		return nil, 0, err
	}
	f := newFaults()
	var found []*Finding
	for i := range m.pieces {
		found = append(found, c.checkPiece(f, b, &m.pieces[i])...)
	}
	f.checkFrame(b, c, m)
	sum := sha256.Sum256(b)
	if sum != m.pieces[0].SHA256 {
		f.add(whole, nil, "%v: its SHA-256 is %x, the state says %x; the records are intact", segment.ErrCorrupt, sum, m.pieces[0].SHA256)
	}
	for i := range m.pieces[1:] {
		if p := &m.pieces[1+i]; p.SHA256 != m.pieces[0].SHA256 || p.Size != m.pieces[0].Size {
			f.add(whole, nil, "the state has two sums or sizes of it")
			break
		}
	}
	return append(f.finding(c.journal, m), found...), int64(len(b)), nil
}

// checkFrame checks header and directory of a whole object.
func (f *faults) checkFrame(b []byte, c *mergedCheck, m *merged) {
	h, err := segment.DecodeMergedHeader(b)
	switch {
	case err != nil:
		f.fault(err, nil)
	case h.Cluster != c.cluster || h.Journal != c.journal || h.Name.Object != m.object.Object || h.Name.Topic != m.object.Topic:
		f.code, f.hint = CodeMisplaced, hintReplaced
		f.add(0, m.affected(), "it is %s of journal %d of cluster %s", h.Name.Key(), h.Journal, h.Cluster.Base64())
	}
	d, need, err := segment.DecodeMergedTail(b, int64(len(b)))
	switch {
	case err != nil:
		f.fault(err, nil)
	case need == 0:
		f.checkDirectory(d, m)
	}
}

// readAll reads an object of a known size, several parts at a time.
func (c *mergedCheck) readAll(ctx context.Context, key string, size int64) ([]byte, error) {
	if size == 0 || size > segment.MaxMergedSize {
		return nil, fmt.Errorf("%w: the state has a merged segment of %d bytes", objstore.ErrRange, size)
	}
	b := make([]byte, size)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(mergedGets)
	for at := int64(0); at < size; at += mergedPart {
		work.Go(func() error { return c.store.GetRange(ctx, key, at, b[at:min(at+mergedPart, size)]) })
	}
	return b, work.Wait()
}

// checkPiece checks the batches and the section of an extent. The findings are about
// batches that were stored as they are.
func (c *mergedCheck) checkPiece(f *faults, b []byte, p *piece) []*Finding {
	at, end := int64(p.Position), int64(p.Position)+int64(p.Length)
	if end+int64(p.IndexLength) > int64(len(b)) || p.IndexLength == 0 {
		f.add(whole, []Range{offsets(p.key, p.Base, p.Last)}, "the state has bytes %d to %d of an object of %d", at, end+int64(p.IndexLength), len(b))
		return nil
	}
	section := f.checkSection(b[end:end+int64(p.IndexLength)], p)
	records := b[at:end]
	if crc32.Checksum(records, castagnoli) != p.CRC {
		place, affects := blocksHit(b, section, p)
		f.add(place, affects, "%v: records differ from those that were stored: CRC mismatch", segment.ErrCorrupt)
		return nil
	}
	if section == nil {
		return nil
	}
	account := segment.Partition{
		Topic: p.key.Topic, Index: p.key.Index, Position: uint64(p.Position), Length: uint64(p.Length), BaseOffset: p.Base, LastOffset: p.Last,
		Records: uint32(min(section.Records, math.MaxUint32)), Batches: section.Batches, MaxTimestamp: section.MaxTimestamp,
	}
	walk := batches{partition: &account, extent: p.Extent, records: c.records, merged: true, walker: batch.NewWalker(p.Place())}
	walk.walk(records)
	var found []*Finding
	for _, x := range walk.problems {
		one := finding(x.severity, x.code, c.journal, p.Object.Key(), x.hint, "%s", x.what)
		one.Offset, one.Affects, one.records = &x.at, []Range{offsets(p.key, x.first, x.last)}, true
		found = append(found, one)
	}
	return found
}

// blocksHit returns where the records of an extent are damaged, and which: those of the
// blocks whose CRC is wrong.
func blocksHit(b []byte, section *segment.MergedPartition, p *piece) (at int64, affects []Range) {
	at = int64(p.Position)
	if section != nil {
		for _, block := range section.Blocks {
			if end := uint64(block.Position) + uint64(block.Length); end <= uint64(len(b)) && block.Check(b[block.Position:end]) == nil {
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
	return at, affects
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
