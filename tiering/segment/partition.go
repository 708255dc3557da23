package segment

import (
	"bytes"
	"cmp"
	"fmt"
	"math"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/wire"
)

// appendPartition writes a partition of the footer:
//
//	 0  16  topic id
//	16   4  index
//	20   4  leader epoch
//	24   8  position of its batches
//	32   8  length of its batches
//	40   4  CRC-32C of its batches
//	44   4  records
//	48   4  batches
//	52   8  base offset
//	60   8  last offset
//	68   8  max timestamp
//	76   4  sparse entries
//	80   4  producers
//	84   4  open transactions
//	88   4  aborted transactions
//	92   4  zero
//	96      the sparse entries, producers, open and aborted transactions
func appendPartition(w *wire.Writer, p *Partition) {
	w.ID(p.Topic)
	w.I32(p.Index)
	w.I32(p.LeaderEpoch)
	w.U64(p.Position)
	w.U64(p.Length)
	w.U32(p.CRC)
	w.U32(p.Records)
	w.U32(p.Batches)
	w.I64(p.BaseOffset)
	w.I64(p.LastOffset)
	w.I64(p.MaxTimestamp)
	w.U32(uint32(len(p.Sparse)))
	w.U32(uint32(len(p.Producers)))
	w.U32(uint32(len(p.OpenTxns)))
	w.U32(uint32(len(p.AbortedTxns)))
	w.U32(0)
	appendLists(w, p)
}

// appendLists writes the lists of a partition one after the other. The items
// are
//
//	sparse entry (8):  relative offset 4, relative position 4
//	producer (12):     id 8, epoch 2, batches 1, zero 1; then for each batch (32):
//	                   first sequence 4, last sequence 4, base offset 8, last offset 8, timestamp 8
//	open txn (20):     producer id 8, producer epoch 2, zero 2, first offset 8
//	aborted txn (24):  producer id 8, first offset 8, last offset 8
func appendLists(w *wire.Writer, p *Partition) {
	for _, s := range p.Sparse {
		w.U32(s.RelOffset)
		w.U32(s.RelPosition)
	}
	for _, q := range p.Producers {
		w.I64(q.ID)
		w.I16(q.Epoch)
		w.U8(uint8(len(q.Batches)))
		w.U8(0)
		for _, b := range q.Batches {
			w.I32(b.FirstSequence)
			w.I32(b.LastSequence)
			w.I64(b.BaseOffset)
			w.I64(b.LastOffset)
			w.I64(b.Timestamp)
		}
	}
	for _, t := range p.OpenTxns {
		w.I64(t.ProducerID)
		w.I16(t.ProducerEpoch)
		w.U16(0)
		w.I64(t.FirstOffset)
	}
	for _, t := range p.AbortedTxns {
		w.I64(t.ProducerID)
		w.I64(t.FirstOffset)
		w.I64(t.LastOffset)
	}
}

// encodedSize returns how many bytes appendPartition writes.
func (p *Partition) encodedSize() int {
	size := partitionFixedSize + sparseSize*len(p.Sparse) + openTxnSize*len(p.OpenTxns) + abortedTxnSize*len(p.AbortedTxns)
	for _, q := range p.Producers {
		size += producerFixedSize + producerBatchSize*len(q.Batches)
	}
	return size
}

func readPartition(r *wire.Reader) Partition {
	p := Partition{
		Topic:        r.ID(),
		Index:        r.I32(),
		LeaderEpoch:  r.I32(),
		Position:     r.U64(),
		Length:       r.U64(),
		CRC:          r.U32(),
		Records:      r.U32(),
		Batches:      r.U32(),
		BaseOffset:   r.I64(),
		LastOffset:   r.I64(),
		MaxTimestamp: r.I64(),
	}
	sparse, producers, open, aborted := r.U32(), r.U32(), r.U32(), r.U32()
	r.Zeros(4)
	p.Sparse = readList(r, sparse, sparseSize, readSparse)
	p.Producers = readList(r, producers, producerFixedSize, readProducer)
	p.OpenTxns = readList(r, open, openTxnSize, readOpenTxn)
	p.AbortedTxns = readList(r, aborted, abortedTxnSize, readAbortedTxn)
	return p
}

// readList reads n items of at least minSize bytes; nil if there are none.
func readList[T any](r *wire.Reader, n uint32, minSize int, read func(*wire.Reader) T) []T {
	count := r.Count(n, minSize)
	if count == 0 {
		return nil
	}
	list := make([]T, count)
	for i := range list {
		list[i] = read(r)
	}
	return list
}

func readSparse(r *wire.Reader) SparseEntry {
	return SparseEntry{RelOffset: r.U32(), RelPosition: r.U32()}
}

func readProducer(r *wire.Reader) Producer {
	p := Producer{ID: r.I64(), Epoch: r.I16()}
	n := r.U8()
	r.Zeros(1)
	p.Batches = readList(r, uint32(n), producerBatchSize, readProducerBatch)
	return p
}

func readProducerBatch(r *wire.Reader) ProducerBatch {
	return ProducerBatch{
		FirstSequence: r.I32(), LastSequence: r.I32(),
		BaseOffset: r.I64(), LastOffset: r.I64(), Timestamp: r.I64(),
	}
}

func readOpenTxn(r *wire.Reader) OpenTxn {
	t := OpenTxn{ProducerID: r.I64(), ProducerEpoch: r.I16()}
	r.Zeros(2)
	t.FirstOffset = r.I64()
	return t
}

func readAbortedTxn(r *wire.Reader) AbortedTxn {
	return AbortedTxn{ProducerID: r.I64(), FirstOffset: r.I64(), LastOffset: r.I64()}
}

// compare orders partitions by topic, then index.
func (p *Partition) compare(q *Partition) int {
	return comparePartitions(p.Topic, p.Index, q.Topic, q.Index)
}

func comparePartitions(topic ID, index int32, otherTopic ID, otherIndex int32) int {
	return cmp.Or(bytes.Compare(topic[:], otherTopic[:]), cmp.Compare(index, otherIndex))
}

// name returns the partition's name in errors.
func (p *Partition) name() string { return fmt.Sprintf("partition %s-%d", p.Topic, p.Index) }

// implausible returns why no partition can be like this, or "".
func (p *Partition) implausible() string {
	offsets := uint64(p.LastOffset) - uint64(p.BaseOffset) // less one
	switch {
	case p.Topic.IsZero():
		return "topic id is zero"
	case p.Index < 0 || p.LeaderEpoch < 0:
		return fmt.Sprintf("index %d or leader epoch %d is negative", p.Index, p.LeaderEpoch)
	case p.BaseOffset < 0 || p.LastOffset < p.BaseOffset:
		return fmt.Sprintf("offsets from %d to %d", p.BaseOffset, p.LastOffset)
	case p.Batches == 0 || p.Batches > p.Records || uint64(p.Records) > offsets+1:
		return fmt.Sprintf("%d batches of %d records at %d offsets", p.Batches, p.Records, offsets+1)
	case p.Length > MaxObjectSize || uint64(p.Batches)*batch.HeaderSize > p.Length:
		return fmt.Sprintf("%d batches in %d bytes", p.Batches, p.Length)
	case p.MaxTimestamp < -1:
		return fmt.Sprintf("max timestamp %d", p.MaxTimestamp)
	}
	if reason := p.implausibleSparse(); reason != "" {
		return reason
	}
	if reason := p.implausibleProducers(); reason != "" {
		return reason
	}
	return p.implausibleTxns()
}

func (p *Partition) implausibleSparse() string {
	var last SparseEntry
	for _, s := range p.Sparse {
		if s.RelOffset <= last.RelOffset || uint64(s.RelPosition) < uint64(last.RelPosition)+batch.HeaderSize {
			return "sparse entries do not increase"
		}
		last = s
	}
	if uint64(last.RelOffset) > uint64(p.LastOffset-p.BaseOffset) || uint64(last.RelPosition) >= p.Length {
		return "sparse entry outside of the partition's records"
	}
	return ""
}

func (p *Partition) implausibleProducers() string {
	lastID := int64(-1)
	for _, q := range p.Producers {
		if q.ID <= lastID {
			return "producers are not in the order of their ids"
		}
		lastID = q.ID
		if q.Epoch < 0 || len(q.Batches) > MaxProducerBatches {
			return fmt.Sprintf("producer %d has epoch %d and %d batches", q.ID, q.Epoch, len(q.Batches))
		}
		end := int64(-1)
		for _, b := range q.Batches {
			if b.FirstSequence < 0 || b.LastSequence < 0 || b.BaseOffset <= end || b.LastOffset < b.BaseOffset {
				return fmt.Sprintf("batches of producer %d are out of order", q.ID)
			}
			end = b.LastOffset
		}
		if end > p.LastOffset {
			return fmt.Sprintf("batch of producer %d ends after the segment", q.ID)
		}
	}
	return ""
}

func (p *Partition) implausibleTxns() string {
	last := int64(-1)
	for _, t := range p.OpenTxns {
		if t.ProducerID < 0 || t.ProducerEpoch < 0 || t.FirstOffset <= last || t.FirstOffset > p.LastOffset {
			return fmt.Sprintf("open transaction of producer %d at offset %d", t.ProducerID, t.FirstOffset)
		}
		last = t.FirstOffset
	}
	last = p.BaseOffset - 1
	for _, t := range p.AbortedTxns {
		if t.ProducerID < 0 || t.FirstOffset < 0 || t.FirstOffset > t.LastOffset || t.LastOffset <= last || t.LastOffset > p.LastOffset {
			return fmt.Sprintf("aborted transaction of producer %d from %d to %d", t.ProducerID, t.FirstOffset, t.LastOffset)
		}
		last = t.LastOffset
	}
	return ""
}

// account adds up the headers of a partition's batches. Build fills a footer
// from it, and Decode compares a footer with it.
type account struct {
	walker       batch.Walker
	base         int64
	batches      uint32
	records      uint32 // stays at the largest number it can hold
	maxTimestamp int64
}

// newAccount returns the account of batches of a leader epoch that have length bytes.
// It allows gaps between them, as the format does. The writer of a journal object leaves
// none, and readers check that (partlog.Extent.Gaps).
func newAccount(leaderEpoch int32, length int64) account {
	return account{
		walker:       batch.NewWalker(batch.Place{Length: length, Last: math.MaxInt64 - 1, Epoch: leaderEpoch, Gaps: true}),
		maxTimestamp: -1,
	}
}

// add takes the next batch, or returns why it cannot, with the position.
func (a *account) add(h *batch.Header) error {
	if f := a.walker.Faults(h); f != 0 {
		return a.walker.Failed(h, f)
	}
	if h.Records <= 0 || h.Records-1 > h.LastOffsetDelta {
		return fmt.Errorf("at byte %d: a batch has %d records and last offset delta %d", a.length(), h.Records, h.LastOffsetDelta)
	}
	if a.batches == 0 {
		a.base = h.BaseOffset
	}
	a.batches++
	a.records = uint32(min(uint64(a.records)+uint64(h.Records), math.MaxUint32))
	a.maxTimestamp = max(a.maxTimestamp, h.MaxTimestamp)
	a.walker.Skip(h)
	return nil
}

// last is the last offset so far.
func (a *account) last() int64 { return a.walker.Offset() - 1 }

// length is the bytes of the batches so far.
func (a *account) length() uint64 { return uint64(a.walker.Position()) }

// differs says how the account differs from a footer, or nothing.
func (a *account) differs(p *Partition) string {
	if a.base == p.BaseOffset && a.last() == p.LastOffset && a.batches == p.Batches && a.records == p.Records &&
		a.maxTimestamp == p.MaxTimestamp && a.length() == p.Length {
		return ""
	}
	return fmt.Sprintf("%d batches of %d records with offsets %d to %d, max timestamp %d, in %d bytes; the footer says %d of %d with %d to %d, %d, in %d",
		a.batches, a.records, a.base, a.last(), a.maxTimestamp, a.length(),
		p.Batches, p.Records, p.BaseOffset, p.LastOffset, p.MaxTimestamp, p.Length)
}
