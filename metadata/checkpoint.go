package metadata

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Versions of the payload. The first one is that of feature levels before LevelTiering.
const (
	checkpointVersion = 1
	tieredCheckpoint  = 2
)

// Encode returns the state for a checkpoint, in one canonical form:
//
//	version u8 | head seq u64 | head epoch u32 | image
func (s *State) Encode() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := &wire.Writer{}
	w.U8(s.img.checkpointVersion())
	w.U64(s.head.Seq)
	w.U32(s.head.Epoch)
	s.img.encode(w)
	return w.B
}

func (m *image) checkpointVersion() uint8 {
	if m.level < LevelTiering {
		return checkpointVersion
	}
	return tieredCheckpoint
}

// encode writes the image in one canonical form, with the fields in brackets from
// version 2 on:
//
//	level u16 [ | tiered i64 (ms)] | next producer id i64 | data journals u32
//	| nodes: count u32, each: node id[16] | broker id i32; by broker id
//	| topics: count u32, each: deleting u8 [ | deleted i64 (ms)] | payload of TopicCreated; by topic id
func (m *image) encode(w *wire.Writer) {
	tiered := m.checkpointVersion() == tieredCheckpoint
	w.U16(m.level)
	if tiered {
		w.I64(m.tieredMs)
	}
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
		if tiered {
			w.I64(t.DeletedMs)
		}
		t.created().encode(w)
	}
}

// Restore puts a state, of which less has been applied, where Encode was called. It
// makes every change again, and so refuses a payload that contradicts itself; then the
// state is as it was before. Errors wrap ErrTooOld or ErrCorrupt.
func (s *State) Restore(payload []byte) error {
	r := wire.NewReader(payload)
	version := r.U8()
	if r.Err() == nil && version != checkpointVersion && version != tieredCheckpoint {
		return fmt.Errorf("%w: checkpoint version %d", ErrTooOld, version)
	}
	head := segment.Header{Seq: r.U64(), Epoch: r.U32()}
	img, err := decodeImage(r, version == tieredCheckpoint)
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
func decodeImage(r *wire.Reader, tiered bool) (*image, error) {
	m := newImage()
	level := FeatureLevel{Level: r.U16()}
	if tiered {
		level.AtMs = r.I64()
	}
	nextProducer, journals := r.I64(), r.U32()
	if nextProducer < m.nextProducer || r.Err() != nil {
		return nil, fmt.Errorf("next producer id is %d", nextProducer)
	}
	m.nextProducer = nextProducer
	var changes []Change
	if level != (FeatureLevel{}) {
		if err := level.check(); err != nil {
			return nil, err
		}
		changes = append(changes, level)
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
	topics, err := decodeTopics(r, tiered)
	if err != nil {
		return nil, err
	}
	if _, err := m.applyAll(append(changes, topics...)); err != nil {
		return nil, err
	}
	if tiered != (m.level >= LevelTiering) {
		return nil, fmt.Errorf("feature level %d in a checkpoint of the wrong version", m.level)
	}
	return m, nil
}

// decodeTopics returns the changes that make the topics of an image. The deleted ones
// come first: their names may be in use again.
func decodeTopics(r *wire.Reader, tiered bool) ([]Change, error) {
	var deleted, live []Change
	for range r.Count(r.U32(), 40) {
		deleting, deletedMs := r.U8(), int64(0)
		if tiered {
			deletedMs = r.I64()
		}
		c, err := decodeTopicCreated(r)
		if err != nil {
			return nil, err
		}
		created := c.(TopicCreated)
		switch {
		case deleting > 1 || deleting == 0 && deletedMs != 0 || deletedMs < 0:
			return nil, fmt.Errorf("topic %q is deleted %d, at %d ms", created.Name, deleting, deletedMs)
		case deleting == 1:
			deleted = append(deleted, created, TopicDeleted{ID: created.ID, AtMs: deletedMs})
		default:
			live = append(live, created)
		}
	}
	return append(deleted, live...), r.Err()
}

// maxDecodedJournals limits the work that a damaged count can cause in a decoder.
const maxDecodedJournals = 1 << 16
