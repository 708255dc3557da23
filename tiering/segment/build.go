package segment

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/wire"
)

// Records are the records of one partition, in offset order. Of the Partition,
// the caller sets Topic, Index, LeaderEpoch, Producers, OpenTxns and
// AbortedTxns; Encode fills in the rest from the batches.
type Records struct {
	Partition
	Batches [][]byte // each one record batch v2, already patched
}

// Encoded is the bytes of a journal object that is about to be stored. Its holder has a
// reference to the memory.
type Encoded struct {
	Memory *buffer.Buffer
	CRC    uint32 // CRC-32C of the bytes
}

// Build is Encode into memory of the garbage collector.
func Build(h Header, entries []Entry, parts []Records) ([]byte, *Footer, error) {
	e, f, err := Encode(nil, h, entries, parts)
	if err != nil {
		return nil, nil, err
	}
	return e.Memory.Bytes(), f, nil
}

// Encode lays out a journal object in one buffer of exactly its size, from the pool, into
// which it copies each batch once, and returns it with its footer. The reference belongs
// to the caller. Partitions and their lists may come in any order. The footer may alias
// the caller's slices, but not the batches.
//
// It refuses contradictory input (see FORMAT.md) and objects above the limits with
// ErrInvalid. The batches' own CRCs must be right: they are not checked again. For a large
// batch, the CRCs of its partition and of the object follow from its own.
func Encode(pool *buffer.Pool, h Header, entries []Entry, parts []Records) (Encoded, *Footer, error) {
	f, order, err := plan(h, entries, parts)
	if err != nil {
		return Encoded{}, nil, fmt.Errorf("build journal object: %w", err)
	}
	body := HeaderSize + int(f.Entries.Length)
	for i := range f.Partitions {
		f.Partitions[i].Position = uint64(body)
		body += int(f.Partitions[i].Length)
	}
	size := body + f.encodedSize() + TrailerSize
	if size > MaxObjectSize {
		return Encoded{}, nil, fmt.Errorf("build journal object: %w", invalid("%d bytes, at most %d", size, MaxObjectSize))
	}
	if reason := f.implausible(uint64(body)); reason != "" {
		return Encoded{}, nil, fmt.Errorf("build journal object: %w", invalid("%s", reason))
	}
	memory := pool.Get(size)
	crc, err := layOut(memory.Bytes(), f, entries, order)
	if err != nil {
		memory.Release()
		return Encoded{}, nil, fmt.Errorf("build journal object: %w", err)
	}
	return Encoded{Memory: memory, CRC: crc}, f, nil
}

// layOut writes the object into b, which has exactly its size, and sets the CRCs of the
// footer. It returns the CRC of the object.
func layOut(b []byte, f *Footer, entries []Entry, order []*Records) (crc uint32, err error) {
	w := wire.Writer{B: b[:0]}
	appendHeader(&w, f.Header)
	crc = checksum(w.B)
	appendEntries(&w, entries)
	f.Entries.CRC = checksum(w.B[HeaderSize:])
	crc = batch.AppendCRC(crc, f.Entries.CRC, int(f.Entries.Length))
	for i, r := range order {
		p := &f.Partitions[i]
		for _, b := range r.Batches {
			p.CRC = batch.UpdateCRC(p.CRC, b)
			w.Raw(b)
		}
		if p.Length < batch.Large {
			crc = crc32.Update(crc, castagnoli, w.B[p.Position:])
		} else {
			crc = batch.AppendCRC(crc, p.CRC, int(p.Length))
		}
	}
	body := w.Len()
	appendFooter(&w, f)
	if w.Len() != len(b) {
		return 0, invalid("%d bytes, %d were expected", w.Len(), len(b))
	}
	return batch.AppendCRC(crc, checksum(w.B[body:]), len(b)-body), w.Err()
}

// plan makes the footer without positions and CRCs, and sorts the partitions.
func plan(h Header, entries []Entry, parts []Records) (*Footer, []*Records, error) {
	if reason := h.implausible(); reason != "" {
		return nil, nil, invalid("%s", reason)
	}
	if err := checkEntries(entries); err != nil {
		return nil, nil, err
	}
	if len(parts) > MaxPartitions {
		return nil, nil, invalid("%d partitions, at most %d", len(parts), MaxPartitions)
	}
	order := make([]*Records, len(parts))
	for i := range parts {
		order[i] = &parts[i]
	}
	slices.SortFunc(order, func(a, b *Records) int { return a.compare(&b.Partition) })
	f := &Footer{
		Header:  h,
		Entries: Section{Position: HeaderSize, Length: uint64(entriesSize(entries))},
	}
	if len(parts) > 0 {
		f.Partitions = make([]Partition, len(parts))
	}
	for i, p := range order {
		if err := summarize(&f.Partitions[i], p); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.name(), err)
		}
	}
	return f, order, nil
}

// summarize sets p from the headers of r's batches.
func summarize(p *Partition, r *Records) error {
	*p = Partition{
		Topic: r.Topic, Index: r.Index, LeaderEpoch: r.LeaderEpoch,
		Producers:   sorted(r.Producers, func(a, b Producer) int { return cmp.Compare(a.ID, b.ID) }),
		OpenTxns:    sorted(r.OpenTxns, func(a, b OpenTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) }),
		AbortedTxns: sorted(r.AbortedTxns, func(a, b AbortedTxn) int { return cmp.Compare(a.LastOffset, b.LastOffset) }),
	}
	a := newAccount(r.LeaderEpoch, math.MaxInt64)
	indexed := uint64(0)
	for i, b := range r.Batches {
		h, err := batch.Parse(b)
		if err == nil && h.Size() != len(b) {
			err = fmt.Errorf("%d bytes, its header says %d", len(b), h.Size())
		}
		if err != nil {
			return invalid("batch %d: %v", i, err)
		}
		position := a.length()
		if err := a.add(&h); err != nil {
			return invalid("batch %d: %v", i, err)
		}
		// A batch too far off for a sparse entry's 32 bits gets none; readers
		// walk to it.
		if position-indexed >= sparseInterval && uint64(h.BaseOffset-a.base) <= math.MaxUint32 && position <= math.MaxUint32 {
			p.Sparse = append(p.Sparse, SparseEntry{RelOffset: uint32(h.BaseOffset - a.base), RelPosition: uint32(position)})
			indexed = position
		}
	}
	p.BaseOffset, p.LastOffset = a.base, a.last()
	p.Batches, p.Records = a.batches, a.records
	p.MaxTimestamp, p.Length = a.maxTimestamp, a.length()
	return nil
}

// sorted returns s itself if it is in order, otherwise a sorted copy. Nil if
// empty.
func sorted[T any](s []T, compare func(a, b T) int) []T {
	if len(s) == 0 {
		return nil
	}
	if slices.IsSortedFunc(s, compare) {
		return s
	}
	return slices.SortedFunc(slices.Values(s), compare)
}
