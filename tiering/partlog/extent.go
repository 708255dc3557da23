package partlog

import (
	"iter"
	"math"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// Extent is a piece of a partition's log: which offsets it answers for, and where in the
// bucket their batches lie. Extents of a partition follow each other without a gap or an
// overlap; whether their batches do is a matter of Gaps. All readers of records start from
// an Extent, whatever kind of object holds them.
type Extent struct {
	Object           segment.Name
	Base, Last       int64  // first and last offset
	MaxTimestamp     int64  // Unix milliseconds, -1 if it is not known
	Position, Length uint32 // bytes, from the start of the object
	Epoch            int32  // leader epoch of the batches; 0 in a merged segment, which has several
	CRC              uint32 // CRC-32C of the bytes

	// The rest is of merged segments, and zero in an extent of a journal object.
	IndexLength uint32 // bytes of the partition's section, which follows its batches
	Records     uint32 // as many as there are; math.MaxUint32 if there are more
	Size        uint32 // of the object
	SHA256      [32]byte
	BuiltMs     int64 // when the object was built
	SourceMs    int64 // when the newest of the journal objects that the records come from was built
}

// merged reports whether the extent lies in a merged segment.
func (e *Extent) merged() bool { return e.Object.Kind == segment.KindMerged }

// ExtentOf is the extent that a data object with this header has of a partition.
func ExtentOf(h *segment.Header, p *segment.Partition) Extent {
	r := refOf(h.Seq, p)
	return r.extent(h.Journal)
}

// extent is the ref of a journal's object as an Extent.
func (r *ref) extent(journal uint32) Extent {
	return Extent{
		Object: segment.DataObject(journal, r.Seq),
		Base:   r.Base, Last: r.Last,
		MaxTimestamp: r.MaxTimestamp,
		Position:     r.Position, Length: r.Length,
		Epoch: r.Epoch,
		CRC:   r.CRC,
	}
}

// refOfExtent is the inverse of ref.extent.
func refOfExtent(e *Extent) ref {
	return ref{
		Seq: e.Object.Seq, Base: e.Base, Last: e.Last, MaxTimestamp: e.MaxTimestamp,
		Position: e.Position, Length: e.Length, Epoch: e.Epoch, CRC: e.CRC,
	}
}

// Gaps reports whether offsets may be missing between the batches. The records of a
// journal object have none.
func (e *Extent) Gaps() bool { return e.merged() }

// Place returns the place of the batches, for a walk through them.
func (e *Extent) Place() batch.Place {
	return batch.Place{
		Position: int64(e.Position), Length: int64(e.Length),
		Base: e.Base, Last: e.Last, Epoch: e.walked(), Gaps: e.Gaps(),
	}
}

// walked is the leader epoch of the batches, for a walk.
func (e *Extent) walked() int32 {
	if e.merged() {
		return batch.AnyEpoch
	}
	return e.Epoch
}

// Fits reports whether a footer has the same records at the same place.
func (e *Extent) Fits(p *segment.Partition) bool {
	return p.Position == uint64(e.Position) && p.Length == uint64(e.Length) && p.CRC == e.CRC &&
		p.BaseOffset == e.Base && p.LastOffset == e.Last &&
		p.LeaderEpoch == e.Epoch && p.MaxTimestamp == e.MaxTimestamp
}

// FitsSection reports whether a section of a merged segment, which is of partition k, has
// the same records at the same place.
func (e *Extent) FitsSection(k Key, p *segment.MergedPartition) bool {
	return p.Object == e.Object.Object && p.Topic == k.Topic && p.Index == k.Index &&
		p.Position == e.Position && p.Length == e.Length && p.IndexLength == e.IndexLength && p.CRC == e.CRC &&
		p.From == e.Base && p.To == e.Last+1 && p.MaxTimestamp == e.MaxTimestamp &&
		min(p.Records, math.MaxUint32) == uint64(e.Records)
}

// withTime returns the first extent that ends at offset or after it and may have a
// timestamp of ts or more.
func withTime(all iter.Seq[Extent], offset, ts int64) (Extent, bool) {
	for e := range all {
		if e.Last >= offset && (e.MaxTimestamp >= ts || e.MaxTimestamp < 0) {
			return e, true
		}
	}
	return Extent{}, false
}

// newestOf returns the first with the greatest timestamp of the extents that end at
// offset or after it. It is false if none carries a timestamp.
func newestOf(all iter.Seq[Extent], offset int64) (Extent, bool) {
	newest := Extent{MaxTimestamp: -1}
	for e := range all {
		if e.Last >= offset && e.MaxTimestamp > newest.MaxTimestamp {
			newest = e
		}
	}
	return newest, newest.MaxTimestamp >= 0
}
