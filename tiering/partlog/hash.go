package partlog

import (
	"crypto/sha256"
	"hash"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Hash returns the SHA-256 of the whole state in one fixed order. Two nodes that applied
// the same objects have the same hash, whether or not they started from a checkpoint, and
// wherever the refs are by now. It takes time in proportion to partitions, epochs and
// producers, and Apply waits for it.
func (s *State) Hash() [32]byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d := digest{h: sha256.New()}
	d.w.U32(s.journal)
	d.w.U64(s.head)
	d.w.U32(s.epoch)
	d.w.U64(uint64(len(s.parts)))
	for _, k := range s.keysLocked() {
		d.part(k, s.parts[k])
	}
	d.tiering(&s.tiering)
	d.flush()
	return [32]byte(d.h.Sum(nil))
}

func (s *State) keysLocked() []Key {
	keys := make([]Key, 0, len(s.parts))
	for k := range s.parts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, Key.Compare)
	return keys
}

// digest feeds a hash through a buffer of bounded size. Every list is preceded
// by its length.
type digest struct {
	h hash.Hash
	w wire.Writer
}

func (d *digest) flush() {
	d.h.Write(d.w.B)
	d.w.B = d.w.B[:0]
}

func (d *digest) part(k Key, p *part) {
	d.w.ID(k.Topic)
	d.w.I32(k.Index)
	d.w.I64(p.start)
	d.w.I64(p.end)
	d.w.I32(p.epochBase)
	d.w.U8(flag(p.sealed))
	d.w.I32(p.sealedEpoch)
	d.w.I64(p.bytes)
	d.w.U64(uint64(len(p.epochs)))
	for _, e := range p.epochs {
		d.w.I32(e.epoch)
		d.w.I64(e.start)
	}
	d.w.Raw(p.refs.hash[:])
	d.w.Raw(p.below.hash[:])
	d.w.U8(flag(p.dropped))
	for _, v := range []int64{p.merged, p.freed, p.sourced, p.cleaned, p.cleanedMs, p.tombstonesBelow} {
		d.w.I64(v)
	}
	d.w.U64(uint64(p.producers.Len()))
	p.producers.Each(d.producer)
	d.flush()
}

// tiering leaves out the shared segments, which follow from the extents.
func (d *digest) tiering(t *tiering) {
	w := &d.w
	w.U8(flag(t.used))
	w.U64(t.judged.Seq)
	w.U32(t.judged.Epoch)
	w.U64(t.unmerged)
	w.U64(uint64(len(t.intents)))
	for _, job := range sortedIDs(t.intents) {
		objects := t.intents[job].objects
		w.ID(job)
		w.U64(uint64(len(objects)))
		for _, id := range sortedIDs(objects) {
			appendName(w, objects[id].Name)
			w.U8(flag(objects[id].Placed))
		}
	}
	w.U64(uint64(len(t.unreleased)))
	for _, id := range sortedIDs(t.unreleased) {
		appendName(w, t.unreleased[id].Name)
		w.U32(t.unreleased[id].Bytes)
	}
	w.U64(uint64(len(t.garbage) + len(t.seqs)))
	for _, id := range sortedIDs(t.garbage) {
		d.garbage(t.garbage[id])
	}
	for _, g := range t.seqs {
		d.garbage(g)
	}
	w.U64(uint64(len(t.kept)))
	for _, seq := range slices.Sorted(maps.Keys(t.kept)) {
		w.U64(seq)
		w.U64(uint64(t.kept[seq]))
	}
}

func (d *digest) garbage(g Garbage) {
	w := &d.w
	appendName(w, g.Name)
	w.U64(g.Seqs.First)
	w.U64(g.Seqs.Last)
	w.U8(uint8(g.Class))
	w.U8(flag(g.Ended))
	w.U8(flag(g.Deleted))
	w.I64(g.SinceMs)
}

func (d *digest) producer(p segment.Producer, usedMs int64) {
	d.w.I64(p.ID)
	d.w.I16(p.Epoch)
	d.w.I64(usedMs)
	d.w.U8(uint8(len(p.Batches)))
	for _, b := range p.Batches {
		d.w.I32(b.FirstSequence)
		d.w.I32(b.LastSequence)
		d.w.I64(b.BaseOffset)
		d.w.I64(b.LastOffset)
		d.w.I64(b.Timestamp)
	}
	if len(d.w.B) > 64<<10 {
		d.flush()
	}
}
