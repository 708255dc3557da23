package ingest

import (
	"time"

	"github.com/varvelog/varve/tiering/batch"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// buffered is a batch with offsets that is in no segment yet. It holds a reference to the
// memory of its data.
type buffered struct {
	key    partlog.Key
	data   []byte
	memory *pooled.Buffer
	header batch.Header // with the offsets and the epoch of the log
	at     time.Time
}

// size is how many bytes of memory its reference keeps.
func (x *buffered) size() int {
	if x.memory == nil {
		return len(x.data)
	}
	return len(x.memory.Bytes())
}

// shares reports whether both lie in the same memory. The batches of a request follow each
// other.
func (x *buffered) shares(other *buffered) bool { return x.memory != nil && x.memory == other.memory }

// bufferedEntry is a state change of the journal that is in no segment yet.
//
// Invariant: it comes after the batch with LSN after in the journal, so that a
// partition's seal is never before its last records.
type bufferedEntry struct {
	entry segment.Entry
	after uint64
	at    time.Time
}

// buffer holds, in the order of their LSNs, the batches that the next segments
// will carry, and the journal's own entries. When memory runs short the newest
// batches are left to the write-ahead log alone, from where they are read back.
//
// Invariant: batches[i] has LSN first+i, and the spilled ones follow them.
type buffer struct {
	first   uint64 // LSN of batches[0], or of the batch that comes next
	batches []buffered
	bytes   int    // of batches
	held    int    // bytes of their memory, in which other batches and refused ones may lie
	spilled uint64 // how many batches follow that are not in memory
	entries []bufferedEntry
}

// next is the LSN of the batch that is added next.
func (b *buffer) next() uint64 { return b.first + uint64(len(b.batches)) + b.spilled }

// add takes the batch with LSN next, into memory unless it is to be spilled. Batches
// after a spilled one are spilled too.
func (b *buffer) add(x buffered, spill bool) {
	if spill || b.spilled > 0 {
		b.spilled++
		x.memory.Release()
		return
	}
	b.push(x)
}

// unspill takes the first spilled batch back into memory.
func (b *buffer) unspill(x buffered) {
	b.spilled--
	b.push(x)
}

func (b *buffer) push(x buffered) {
	if n := len(b.batches); n == 0 || !x.shares(&b.batches[n-1]) {
		b.held += x.size()
	}
	b.batches = append(b.batches, x)
	b.bytes += len(x.data)
}

func (b *buffer) addEntry(e segment.Entry, at time.Time) {
	b.entries = append(b.entries, bufferedEntry{entry: e, after: b.next() - 1, at: at})
}

func (b *buffer) empty() bool { return len(b.batches) == 0 && b.spilled == 0 && len(b.entries) == 0 }

// oldest is when the first batch or entry in memory was added.
func (b *buffer) oldest() time.Time {
	var at time.Time
	if len(b.batches) > 0 {
		at = b.batches[0].at
	}
	if len(b.entries) > 0 && (at.IsZero() || b.entries[0].at.Before(at)) {
		at = b.entries[0].at
	}
	return at
}

// take removes as many batches from the front as fill a segment of about limit
// bytes, at least one if there is any.
func (b *buffer) take(limit int) []buffered {
	n, bytes := 0, 0
	for n < len(b.batches) && (n == 0 || bytes+len(b.batches[n].data) <= limit) {
		bytes += len(b.batches[n].data)
		n++
	}
	for i := range n {
		if i+1 == len(b.batches) || !b.batches[i].shares(&b.batches[i+1]) {
			b.held -= b.batches[i].size()
		}
	}
	taken := b.batches[:n:n]
	b.batches = b.batches[n:]
	if len(b.batches) == 0 {
		b.batches = nil
	}
	b.first += uint64(n)
	b.bytes -= bytes
	return taken
}

// takeEntries removes the entries that may follow the batches taken so far, behind
// those of taken: as many as an object and limit bytes hold, at least one.
func (b *buffer) takeEntries(taken []segment.Entry, limit int) []segment.Entry {
	for bytes := 0; len(b.entries) > 0 && b.entries[0].after < b.first && len(taken) < segment.MaxEntries; {
		e := b.entries[0].entry
		if bytes > 0 && bytes+len(e.Payload) > limit {
			break
		}
		bytes += len(e.Payload)
		taken = append(taken, e)
		b.entries = b.entries[1:]
	}
	return taken
}

// group arranges batches by partition, as a segment holds them. epoch gives a
// partition's leader epoch.
func group(batches []buffered, epoch func(partlog.Key) int32) []segment.Records {
	parts, of := partitions(batches, epoch)
	producers := map[producerAt]int{}
	for i := range batches {
		b, p := &batches[i], &parts[of[i]]
		p.Batches = append(p.Batches, b.data)
		if id := b.header.ProducerID; id >= 0 {
			which, ok := producers[producerAt{of[i], id}]
			if !ok {
				which = len(p.Producers)
				producers[producerAt{of[i], id}] = which
				p.Producers = append(p.Producers, segment.Producer{ID: id})
			}
			noteBatch(&p.Producers[which], &b.header)
		}
	}
	return parts
}

// partitions lists the partitions of batches, each with room for its batches, and says
// of which one each batch is.
func partitions(batches []buffered, epoch func(partlog.Key) int32) (parts []segment.Records, of []int) {
	index, of := map[partlog.Key]int{}, make([]int, len(batches))
	var counts []int
	for i := range batches {
		k := batches[i].key
		at, ok := index[k]
		if !ok {
			at = len(parts)
			index[k] = at
			parts = append(parts, segment.Records{Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: epoch(k)}})
			counts = append(counts, 0)
		}
		of[i] = at
		counts[at]++
	}
	room := make([][]byte, len(batches))
	for i, n := range counts {
		parts[i].Batches, room = room[:0:n], room[n:]
	}
	return parts, of
}

// producerAt is a producer in a partition of a segment. There may be as many as batches.
type producerAt struct {
	partition int // index in the segment
	id        int64
}

// noteBatch adds a batch to the segment's entry for its producer: the last batches of the
// last epoch that the producer wrote in this segment.
func noteBatch(producer *segment.Producer, h *batch.Header) {
	if producer.Epoch != h.ProducerEpoch {
		producer.Epoch, producer.Batches = h.ProducerEpoch, nil
	}
	if len(producer.Batches) == segment.MaxProducerBatches {
		producer.Batches = append(producer.Batches[:0], producer.Batches[1:]...)
	}
	producer.Batches = append(producer.Batches, segment.ProducerBatch{
		FirstSequence: h.BaseSequence, LastSequence: h.LastSequence(),
		BaseOffset: h.BaseOffset, LastOffset: h.LastOffset(), Timestamp: h.MaxTimestamp,
	})
}
