package verify

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// partitions follows the end of each partition of a data journal. Unlike the
// journal's state it goes on after damage, and finds out from later objects
// which offsets the damage took.
type partitions struct {
	byKey  map[partlog.Key]*partition
	starts map[partlog.Key]int64 // where records were deleted
	holes  []hole
	// gaps: partitions may have been opened in objects that were not read, in a
	// hole or below the floor
	gaps bool
}

type partition struct {
	end       int64 // next offset
	seq       uint64
	epochBase int32
	adopted   bool // its open entry was not read: epochBase is unknown
	producers partlog.Producers
}

// hole is an object whose records and entries are not known.
type hole struct {
	seq     uint64
	finding *Finding
}

func newPartitions() *partitions {
	return &partitions{byKey: map[partlog.Key]*partition{}, starts: map[partlog.Key]int64{}}
}

// lost notes that the contents of an object are not known; f is the finding to
// which their offsets are added.
func (t *partitions) lost(seq uint64, f *Finding) {
	t.holes = append(t.holes, hole{seq, f})
	t.gaps = true
}

// take compares the next valid object of the journal with the partitions.
// excused reports that a contradiction in it comes from lost objects.
func (t *partitions) take(o *object) (excused bool) {
	h := o.header
	for _, e := range o.entries {
		t.entry(h, e)
	}
	for i := range o.footer.Partitions {
		var headers []batch.Header
		if o.batches != nil {
			headers = o.batches[i]
		}
		if t.records(o, &o.footer.Partitions[i], headers) {
			excused = true
		}
	}
	return excused
}

// entry follows an entry. One that does not decode or fit is found when the
// object is applied.
func (t *partitions) entry(h *segment.Header, e segment.Entry) {
	switch e.Kind {
	case partlog.EntryOpen:
		if open, err := partlog.DecodeOpen(e.Payload); err == nil && t.byKey[open.Key] == nil {
			t.byKey[open.Key] = &partition{end: open.StartOffset, seq: h.Seq, epochBase: open.EpochBase}
		}
	case partlog.EntryDeleteRecords:
		if del, err := partlog.DecodeDeleteRecords(e.Payload); err == nil {
			t.starts[del.Key] = max(t.starts[del.Key], del.Before)
		}
	case partlog.EntryExpireProducers:
		if expire, err := partlog.DecodeExpireProducers(e.Payload); err == nil {
			for _, p := range t.byKey {
				p.producers.Expire(expire.BeforeMs)
			}
		}
	}
}

func (t *partitions) records(o *object, r *segment.Partition, headers []batch.Header) (excused bool) {
	k := keyOf(r)
	p := t.byKey[k]
	if p == nil {
		p = &partition{end: r.BaseOffset, adopted: true}
		t.byKey[k] = p
		if excused = t.gaps; !excused {
			f := o.find(Error, CodeState, int64(r.Position), hintStored, "records of a partition that was not opened in this journal")
			f.Affects = []Range{offsets(k, r.BaseOffset, r.LastOffset)}
		}
	}
	if r.BaseOffset != p.end && t.discontinuity(o, r, p) {
		excused = true
	}
	if want := int64(o.header.Epoch) + int64(p.epochBase); !p.adopted && int64(r.LeaderEpoch) != want {
		f := o.find(Error, CodeEpoch, int64(r.Position), hintStored, "leader epoch %d, in journal epoch %d it must be %d", r.LeaderEpoch, o.header.Epoch, want)
		f.Affects = []Range{offsets(k, r.BaseOffset, r.LastOffset)}
	}
	p.note(o, r, headers)
	p.end, p.seq = r.LastOffset+1, o.seq
	return excused
}

// discontinuity reports records that do not begin at the partition's end. It
// attributes missing offsets to unreadable objects since then, if there are
// any.
func (t *partitions) discontinuity(o *object, r *segment.Partition, p *partition) (excused bool) {
	k := keyOf(r)
	if r.BaseOffset < p.end {
		f := o.find(Error, CodeOffsets, int64(r.Position), hintStored, "offsets begin at %d, but the partition ended at %d before: offsets are used twice", r.BaseOffset, p.end)
		f.Affects = []Range{offsets(k, r.BaseOffset, min(p.end-1, r.LastOffset))}
		return false
	}
	p.producers = partlog.Producers{} // the missing records may have changed them
	lost := offsets(k, p.end, r.BaseOffset-1)
	for _, hole := range t.holes {
		if hole.seq > p.seq {
			hole.finding.Affects = append(hole.finding.Affects, lost)
			excused = true
		}
	}
	if !excused {
		f := o.find(Error, CodeOffsets, int64(r.Position), hintStored, "offsets begin at %d, but the partition ended at %d before: no object has the records between", r.BaseOffset, p.end)
		f.Affects = []Range{lost}
	}
	return excused
}

// note follows the partition's idempotent producers, batch by batch if the
// batches were read, otherwise by the footer.
func (p *partition) note(o *object, r *segment.Partition, headers []batch.Header) {
	builtMs := o.header.BuiltMs
	if len(headers) == 0 {
		for _, producer := range r.Producers {
			if len(producer.Batches) > 0 {
				p.producers.Merge(producer, builtMs)
			}
		}
		return
	}
	for _, h := range headers {
		p.sequence(o, r, h)
		p.producers.Add(h, h.BaseOffset, builtMs)
	}
}

// sequence compares a batch with the producer's earlier batches, as the leader
// did when it accepted the batch.
func (p *partition) sequence(o *object, r *segment.Partition, h batch.Header) {
	verdict, original, err := p.producers.Check(h)
	var f *Finding
	switch {
	case verdict == partlog.VerdictDuplicate:
		f = o.find(Error, CodeProducers, int64(r.Position), "consumers get these records twice",
			"%s: the same records as at offsets %d to %d: a retry was stored twice", about(h), original.BaseOffset, original.LastOffset)
	case errors.Is(err, partlog.ErrDuplicateSequence):
		f = o.find(Error, CodeProducers, int64(r.Position), "consumers may get these records twice",
			"%s: sequence numbers that were used before: a retry was stored twice", about(h))
	case err != nil:
		f = o.find(Warning, CodeProducers, int64(r.Position), "harmless if the producer's state had just expired; otherwise records before these are missing",
			"%s: %v", about(h), err)
	default:
		return
	}
	f.Affects = []Range{offsets(keyOf(r), h.BaseOffset, h.LastOffset())}
}

func about(h batch.Header) string {
	return fmt.Sprintf("batch of producer %d, epoch %d, sequence %d", h.ProducerID, h.ProducerEpoch, h.BaseSequence)
}
