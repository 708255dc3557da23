package metadata

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/varvelog/varve/tiering/wire"
)

// Hash is the SHA-256 of the whole state up to its head, in one canonical form:
// two nodes that applied the same objects have the same hash.
func (s *State) Hash() [32]byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := &wire.Writer{}
	w.U64(s.head.Seq)
	w.U32(s.head.Epoch)
	s.img.encode(w)
	return sha256.Sum256(w.B)
}

// encode writes the image in one canonical form:
//
//	level u16 | next producer id i64 | data journals u32
//	| nodes: count u32, each: node id[16] | broker id i32; by broker id
//	| topics: count u32, each: deleting u8 | payload of TopicCreated; by topic id
func (m *image) encode(w *wire.Writer) {
	w.U16(m.level)
	w.I64(m.nextProducer)
	w.U32(m.journals)
	nodes := m.nodeList()
	w.U32(uint32(len(nodes)))
	for _, n := range nodes {
		NodeRegistered(n).encode(w)
	}
	topics := make([]*Topic, 0, len(m.topics))
	for _, t := range m.topics {
		topics = append(topics, t)
	}
	slices.SortFunc(topics, func(a, b *Topic) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	w.U32(uint32(len(topics)))
	for _, t := range topics {
		deleting := uint8(0)
		if t.Deleting {
			deleting = 1
		}
		w.U8(deleting)
		t.created().encode(w)
	}
}
