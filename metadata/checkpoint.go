package metadata

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// checkpointVersion is the only version of the payload.
const checkpointVersion = 1

// Encode returns the state for a checkpoint, in one canonical form:
//
//	version u8 | head seq u64 | head epoch u32 | image
func (s *State) Encode() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := &wire.Writer{}
	w.U8(checkpointVersion)
	w.U64(s.head.Seq)
	w.U32(s.head.Epoch)
	s.img.encode(w)
	return w.B
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

// Restore puts a state, of which less has been applied, where Encode was called. It
// makes every change again, and so refuses a payload that contradicts itself; then the
// state is as it was before. Errors wrap ErrTooOld or ErrCorrupt.
func (s *State) Restore(payload []byte) error {
	r := wire.NewReader(payload)
	if v := r.U8(); r.Err() == nil && v != checkpointVersion {
		return fmt.Errorf("%w: checkpoint version %d", ErrTooOld, v)
	}
	head := segment.Header{Seq: r.U64(), Epoch: r.U32()}
	img, err := decodeImage(r)
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		return fmt.Errorf("%w: restore metadata checkpoint: %w", ErrCorrupt, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head.Seq != 0 && s.head.Seq >= head.Seq {
		return fmt.Errorf("restore metadata checkpoint of seq %d: seq %d was applied already", head.Seq, s.head.Seq)
	}
	s.head, s.img, s.listing, s.placements = head, img, nil, restoredPlacements(head.Seq, img)
	s.version++
	s.watchers.wake()
	return nil
}

// decodeImage is the inverse of image.encode.
func decodeImage(r *wire.Reader) (*image, error) {
	m := newImage()
	level, nextProducer, journals := r.U16(), r.I64(), r.U32()
	if nextProducer < m.nextProducer || r.Err() != nil {
		return nil, fmt.Errorf("next producer id is %d", nextProducer)
	}
	m.nextProducer = nextProducer
	var changes []Change
	if level > 0 {
		changes = append(changes, FeatureLevel{level})
	}
	for range r.Count(r.U32(), 20) {
		changes = append(changes, NodeRegistered{Node: r.ID(), ID: r.I32()})
	}
	if journals > maxDecodedJournals {
		return nil, fmt.Errorf("%d journals", journals)
	}
	for id := range journals {
		changes = append(changes, JournalCreated{id + 1})
	}
	for range r.Count(r.U32(), 40) {
		deleting := r.U8()
		created, err := decodeTopicCreated(r)
		if err != nil {
			return nil, err
		}
		changes = append(changes, created)
		if deleting != 0 {
			changes = append(changes, TopicDeleted{created.(TopicCreated).ID})
		}
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	_, err := m.applyAll(changes)
	return m, err
}

// maxDecodedJournals limits the work that a damaged count can cause in a decoder.
const maxDecodedJournals = 1 << 16
