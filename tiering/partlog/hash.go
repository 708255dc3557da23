package partlog

import (
	"crypto/sha256"
	"hash"
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
	if p.sealed {
		d.w.U8(1)
	} else {
		d.w.U8(0)
	}
	d.w.I32(p.sealedEpoch)
	d.w.I64(p.bytes)
	d.w.U64(uint64(len(p.epochs)))
	for _, e := range p.epochs {
		d.w.I32(e.epoch)
		d.w.I64(e.start)
	}
	d.w.Raw(p.refs.hash[:])
	d.w.U64(uint64(p.producers.Len()))
	p.producers.Each(d.producer)
	d.flush()
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
