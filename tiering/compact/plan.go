package compact

import "time"

// Policy is how a topic is compacted, by its configs.
type Policy struct {
	MinDirtyRatio   float64       // min.cleanable.dirty.ratio
	MinLag, MaxLag  time.Duration // min.compaction.lag.ms, max.compaction.lag.ms
	DeleteRetention time.Duration // delete.retention.ms
}

// Piece is an extent of a partition, as far as a plan needs it.
type Piece struct {
	Base, Last int64 // offsets that it answers for
	Bytes      int64
	Newest     time.Time // no record is newer
}

// Log is a partition that may be due.
type Log struct {
	Start, End int64     // first offset, and the offset after the last one
	Cleaned    int64     // below it each key has one record, tombstones aside
	CleanedAt  time.Time // when that was committed
	Pieces     []Piece   // that are merged, from Start on
}

// Due is a partition for which a pass is due.
type Due struct {
	Range
	Dirty, Total int64 // bytes that are not clean, and all bytes below To
}

// Plan says whether a pass over a log is due. Records younger than MinLag are left out
// with all after them. Otherwise a pass is due once the share of bytes that are not clean
// reaches MinDirtyRatio, or once one of them is older than MaxLag.
//
// If now is zero, the time is not known. Then nothing is due that goes by time, and no
// tombstone goes.
func Plan(l Log, p Policy, now time.Time) (Due, bool) {
	if now.IsZero() && p.MinLag > 0 {
		return Due{}, false
	}
	from := max(l.Cleaned, l.Start)
	d := Due{Range: Range{From: from, To: from, Last: l.End - 1}}
	var oldest time.Time // of the pieces that are not clean
	for _, x := range l.Pieces {
		if x.Last < l.Start {
			continue
		}
		if x.Last >= from {
			if p.MinLag > 0 && now.Sub(x.Newest) < p.MinLag {
				break
			}
			if oldest.IsZero() || x.Newest.Before(oldest) {
				oldest = x.Newest
			}
			d.Dirty += x.Bytes
			d.To = x.Last + 1
		}
		d.Total += x.Bytes
	}
	if d.Dirty == 0 {
		return Due{}, false
	}
	if l.Cleaned > l.Start && now.Sub(l.CleanedAt) >= p.DeleteRetention {
		d.TombstonesBelow = l.Cleaned
	}
	late := p.MaxLag > 0 && now.Sub(oldest) >= p.MaxLag
	return d, late || float64(d.Dirty) >= p.MinDirtyRatio*float64(d.Total)
}
