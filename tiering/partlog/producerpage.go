package partlog

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

const (
	producerPageVersion   = 1
	producerPageFixedSize = 8
	producersOfPartSize   = 24
	producerPageRefSize   = 32
)

// ProducerPage says where in the bucket producers lie that a checkpoint does not repeat.
type ProducerPage struct {
	segment.IndexName        // the index object it lies in
	Size              uint32 // bytes of the object's payload
	Position, Length  uint32 // bytes, from the start of the payload
	CRC               uint32 // CRC-32C of these bytes
	Producers         uint32 // in the page, also those that are not current
}

// Intact reports whether b has the bytes of the page.
func (p *ProducerPage) Intact(b []byte) bool {
	return uint64(len(b)) == uint64(p.Length) && checksum(b) == p.CRC
}

// ObjectKey returns the key of the index object that the page lies in.
func (p *ProducerPage) ObjectKey() string { return p.IndexName.Key() }

// producerPage is a page as the state keeps it. A page never changes. Those of its
// producers that were used or have expired since it was written are not current; the
// state, and newer pages, have the others.
type producerPage struct {
	object           *indexObject
	position, length uint32
	crc              uint32
	total            uint32 // producers in it
	live             int    // of which are current

	made     uint64 // how many expiries there were before it was planned
	beforeMs int64  // the latest expiry after it was planned, as its checkpoint says
	members  []producersOf
}

// producersOf are producers of a partition, by id.
type producersOf struct {
	key Key
	ids []int64
}

// expiries has the times that producers expired by, as pages need them: a page is not
// written again when its producers expire.
type expiries struct {
	n      uint64
	latest []numberedExpiry // numbers increase and times decrease: one, unless a clock is set back
}

type numberedExpiry struct {
	n        uint64
	beforeMs int64
}

func (e *expiries) note(beforeMs int64) {
	e.n++
	for len(e.latest) > 0 && e.latest[len(e.latest)-1].beforeMs <= beforeMs {
		e.latest = e.latest[:len(e.latest)-1]
	}
	e.latest = append(e.latest, numberedExpiry{e.n, beforeMs})
}

// since returns the latest time of the expiries after the first n, 0 if there is none.
func (e *expiries) since(n uint64) int64 {
	i, _ := slices.BinarySearchFunc(e.latest, n+1, func(x numberedExpiry, n uint64) int { return cmp.Compare(x.n, n) })
	if i == len(e.latest) {
		return 0
	}
	return e.latest[i].beforeMs
}

// expiredBefore returns the time before which a producer of the page was used last, if it
// has expired since. The last use of a producer never moves back, so this holds for the
// older states of a producer in older pages, too.
func (p *producerPage) expiredBefore(e *expiries) int64 { return max(p.beforeMs, e.since(p.made)) }

// dead reports whether no producer of the page is current: no checkpoint needs it.
func (p *producerPage) dead() bool { return p.live == 0 }

func (p *producerPage) export(journal uint32) *ProducerPage {
	return &ProducerPage{
		IndexName: p.object.name(journal), Size: p.object.size,
		Position: p.position, Length: p.length, CRC: p.crc, Producers: p.total,
	}
}

// ProducerPages returns the pages that have producers of the state, oldest first.
func (s *State) ProducerPages() []*ProducerPage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*ProducerPage
	for _, p := range s.producerPages {
		out = append(out, p.export(s.journal))
	}
	return out
}

// appendProducerPage writes producers as they stand in the payload of an index object:
//
//	0  2  version, 1
//	2  2  zero
//	4  4  partitions
//	8     the partitions, in the order of topic id and number:
//	    0 16  topic id
//	   16  4  number
//	   20  4  producers, 1 or more
//	   24     the producers, by id, as in a checkpoint
func (s *State) appendProducerPage(w *wire.Writer, members []producersOf) {
	w.U16(producerPageVersion)
	w.Zeros(2)
	w.U32(uint32(len(members)))
	for _, m := range members {
		w.ID(m.key.Topic)
		w.I32(m.key.Index)
		w.U32(uint32(len(m.ids)))
		t := &s.parts[m.key].producers
		for _, id := range m.ids {
			appendProducer(w, id, t.byID[id])
		}
	}
}

// appendProducer writes a producer:
//
//	 0  8  id
//	 8  2  epoch
//	10  1  batches, 1 to 5
//	11  1  zero
//	12  8  last used, Unix milliseconds
//	20     the batches, oldest first:
//	     0  4  first sequence number
//	     4  4  last sequence number
//	     8  8  base offset
//	    16  8  last offset
//	    24  8  max timestamp, Unix milliseconds
func appendProducer(w *wire.Writer, id int64, p *producer) {
	w.I64(id)
	w.I16(p.epoch)
	w.U8(uint8(len(p.batches)))
	w.U8(0)
	w.I64(p.usedMs)
	for _, b := range p.batches {
		w.I32(b.FirstSequence)
		w.I32(b.LastSequence)
		w.I64(b.BaseOffset)
		w.I64(b.LastOffset)
		w.I64(b.Timestamp)
	}
}

// readProducers yields n producers, which appendProducer wrote, with a reason in place of
// the last one if they are not plausible. It stops at an error of the reader.
func readProducers(r *wire.Reader, n uint32) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		before := int64(-1)
		for range r.Count(n, producerFixedSize+producerBatchSize) {
			q := stored{id: r.I64(), window: window{epoch: r.I16()}}
			batches := r.U8()
			r.Zeros(1)
			q.usedMs = r.I64()
			if r.Err() == nil && (q.id <= before || batches == 0 || batches > segment.MaxProducerBatches) {
				yield(stored{}, fmt.Errorf("producer %d with %d batches after producer %d", q.id, batches, before))
				return
			}
			q.batches = make([]segment.ProducerBatch, r.Count(uint32(batches), producerBatchSize))
			for i := range q.batches {
				q.batches[i] = segment.ProducerBatch{
					FirstSequence: r.I32(), LastSequence: r.I32(),
					BaseOffset: r.I64(), LastOffset: r.I64(), Timestamp: r.I64(),
				}
			}
			if r.Err() != nil || !yield(q, nil) {
				return
			}
			before = q.id
		}
	}
}

// stored is a producer as a checkpoint or a page has it.
type stored struct {
	id, usedMs int64
	window
}

// walkProducerPage checks b, the bytes of a page, and calls fn for each producer in it. At
// an error fn may have been called for some.
func walkProducerPage(p *ProducerPage, b []byte, fn func(Key, stored) error) error {
	if !p.Intact(b) {
		return p.corrupt("%d bytes do not have the CRC of its %d bytes", len(b), p.Length)
	}
	r := wire.NewReader(b)
	if v := r.U16(); r.Err() == nil && v != producerPageVersion {
		return fmt.Errorf("%w: %s is of version %d, this program reads %d", segment.ErrUnsupported, producerPageName, v, producerPageVersion)
	}
	r.Zeros(2)
	parts, total := r.U32(), uint32(0)
	var before Key
	for i := range r.Count(parts, producersOfPartSize) {
		k := readKey(r)
		n := r.U32()
		if r.Err() == nil && (!k.valid() || i > 0 && before.Compare(k) >= 0 || n == 0) {
			return p.corrupt("%d producers of partition %s-%d after %s-%d", n, k.Topic, k.Index, before.Topic, before.Index)
		}
		for q, err := range readProducers(r, n) {
			if err == nil {
				err = fn(k, q)
			}
			if err != nil {
				return p.corrupt("%v", err)
			}
			total++
		}
		before = k
	}
	if err := r.Close(); err != nil {
		return p.corrupt("%v", err)
	}
	if total != p.Producers {
		return p.corrupt("%d producers, not %d", total, p.Producers)
	}
	return nil
}

// CheckProducerPage returns why the bytes of a page cannot be its own, or nil.
func CheckProducerPage(p *ProducerPage, b []byte) error {
	return walkProducerPage(p, b, func(Key, stored) error { return nil })
}

const producerPageName = "index page of producers"

func (p *ProducerPage) corrupt(format string, args ...any) error {
	return &segment.CorruptError{Object: producerPageName, Offset: int64(p.Position), Reason: fmt.Sprintf(format, args...)}
}
