package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Versions of the payload. The first one is that of feature levels before LevelTiering,
// the second that of LevelTiering.
const (
	checkpointVersion  = 1
	tieredCheckpoint   = 2
	clusterCheckpoint  = 3
	securityCheckpoint = 4
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
	switch {
	case m.level < LevelTiering:
		return checkpointVersion
	case m.level < LevelCluster:
		return tieredCheckpoint
	case m.level < LevelSecurity:
		return clusterCheckpoint
	}
	return securityCheckpoint
}

// encode writes the image in one canonical form. Fields in brackets are there from version 2
// on, those in braces from version 3 on, and those in parentheses from version 4 on:
//
//	level u16 [ | tiered i64 (ms)] | next producer id i64 | data journals u32
//	| nodes: count u32, each: node id[16] | broker id i32 { | state u8 | fence u8 | run }; by broker id
//	{ | assignments: count u32, each: payload of JournalAssigned; by journal }
//	| topics: count u32, each: deleting u8 [ | deleted i64 (ms)] { | version u8 } | payload of TopicCreated; by topic id
//	( | access )
//
// A run is that of NodeStarted. It is left out if the state is 0 or removed. The version is
// that of the payload of TopicCreated.
func (m *image) encode(w *wire.Writer) {
	version := m.checkpointVersion()
	w.U16(m.level)
	if version >= tieredCheckpoint {
		w.I64(m.tieredMs)
	}
	w.I64(m.nextProducer)
	w.U32(m.journals)
	m.encodeNodes(w, version)
	topics := make([]*Topic, 0, len(m.topics))
	for _, t := range m.topics {
		topics = append(topics, t)
	}
	slices.SortFunc(topics, func(a, b *Topic) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	w.U32(uint32(len(topics)))
	for _, t := range topics {
		w.U8(boolByte(t.Deleting))
		if version >= tieredCheckpoint {
			w.I64(t.DeletedMs)
		}
		created := t.created()
		if version >= clusterCheckpoint {
			w.U8(created.version())
		}
		created.encode(w)
	}
	if version >= securityCheckpoint {
		m.access.encode(w)
	}
}

func (m *image) encodeNodes(w *wire.Writer, version uint8) {
	nodes := m.nodeList()
	w.U32(uint32(len(nodes)))
	for _, n := range nodes {
		NodeRegistered{n.Node, n.ID}.encode(w)
		if version < clusterCheckpoint {
			continue
		}
		w.U8(uint8(n.State))
		w.U8(uint8(n.Fence))
		if n.runs() {
			n.Run.encode(w)
		}
	}
	if version < clusterCheckpoint {
		return
	}
	w.U32(uint32(len(m.assigned)))
	for _, j := range slices.Sorted(maps.Keys(m.assigned)) {
		a := m.assigned[j]
		a.encode(w)
	}
}

// Restore puts a state, of which less has been applied, where Encode was called. It
// makes every change again, and so refuses a payload that contradicts itself; then the
// state is as it was before. Errors wrap ErrTooOld or ErrCorrupt.
func (s *State) Restore(payload []byte) error {
	r := wire.NewReader(payload)
	version := r.U8()
	if r.Err() == nil && (version < checkpointVersion || version > securityCheckpoint) {
		return fmt.Errorf("%w: checkpoint version %d", ErrTooOld, version)
	}
	head := segment.Header{Seq: r.U64(), Epoch: r.U32()}
	img, err := decodeImage(r, version, s.img.supported)
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
	s.head, s.img, s.listing, s.cluster, s.placements = head, img, nil, nil, restoredPlacements(head.Seq, img)
	s.version++
	s.watchers.wake()
	return nil
}

// decodeImage is the inverse of image.encode.
func decodeImage(r *wire.Reader, version uint8, supported uint16) (*image, error) {
	m := newImage(supported)
	level := FeatureLevel{Level: r.U16()}
	if version >= tieredCheckpoint {
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
	nodes, registered, err := decodeNodes(r, version)
	if err != nil {
		return nil, err
	}
	changes = append(changes, registered...)
	if journals > maxDecodedJournals {
		return nil, fmt.Errorf("%d journals", journals)
	}
	for id := range journals {
		changes = append(changes, JournalCreated{id + 1})
	}
	assigned, err := decodeAssignments(r, version)
	if err != nil {
		return nil, err
	}
	topics, err := decodeTopics(r, version)
	if err != nil {
		return nil, err
	}
	access, err := decodeAccess(r, version)
	if err != nil {
		return nil, err
	}
	if _, err := m.applyAll(slices.Concat(changes, topics, access)); err != nil {
		return nil, err
	}
	if version != m.checkpointVersion() {
		return nil, fmt.Errorf("feature level %d in a checkpoint of version %d", m.level, version)
	}
	return m, m.restore(nodes, assigned)
}

// decodeTopics returns the changes that make the topics of an image. The deleted ones
// come first: their names may be in use again.
func decodeTopics(r *wire.Reader, version uint8) ([]Change, error) {
	var deleted, live []Change
	for range r.Count(r.U32(), 40) {
		deleting, deletedMs, created := r.U8(), int64(0), uint8(payloadVersion)
		if version >= tieredCheckpoint {
			deletedMs = r.I64()
		}
		if version >= clusterCheckpoint {
			created = r.U8()
		}
		topic, err := decodeCheckpointed(r, created)
		if err != nil {
			return nil, err
		}
		switch {
		case deleting > 1 || deleting == 0 && deletedMs != 0 || deletedMs < 0:
			return nil, fmt.Errorf("topic %q is deleted %d, at %d ms", topic.Name, deleting, deletedMs)
		case deleting == 1:
			deleted = append(deleted, topic, TopicDeleted{ID: topic.ID, AtMs: deletedMs})
		default:
			live = append(live, topic)
		}
	}
	return append(deleted, live...), r.Err()
}

// maxDecodedJournals limits the work that a damaged count can cause in a decoder.
const maxDecodedJournals = 1 << 16

// decodeCheckpointed decodes a payload of TopicCreated with its own checks: the version is
// the only one that the content may have.
func decodeCheckpointed(r *wire.Reader, version uint8) (TopicCreated, error) {
	if r.Err() == nil && version != payloadVersion && version != basedVersion {
		return TopicCreated{}, fmt.Errorf("topic of version %d", version)
	}
	c, err := decodeTopic(r, version)
	if err != nil {
		return TopicCreated{}, err
	}
	topic := c.(TopicCreated)
	return topic, errors.Join(r.Err(), checkBases(topic.Bases, len(topic.Journals)))
}

// decodeNodes returns the nodes of an image, and the changes that register them.
func decodeNodes(r *wire.Reader, version uint8) (nodes []Node, registered []Change, err error) {
	for range r.Count(r.U32(), 20) {
		n := Node{Node: r.ID(), ID: r.I32()}
		registered = append(registered, NodeRegistered{n.Node, n.ID})
		if version < clusterCheckpoint {
			continue
		}
		n.State, n.Fence = NodeState(r.U8()), Fence(r.U8())
		if n.runs() {
			n.Run = decodeRun(r)
			err = errors.Join(err, n.Run.check())
		}
		nodes = append(nodes, n)
	}
	return nodes, registered, err
}

func decodeAssignments(r *wire.Reader, version uint8) (assigned []Assignment, err error) {
	if version < clusterCheckpoint {
		return nil, nil
	}
	for range r.Count(r.U32(), 44) {
		a := decodeAssignment(r)
		err = errors.Join(err, JournalAssigned{a}.check())
		assigned = append(assigned, a)
	}
	return assigned, err
}

// runs reports whether a process is known to have run with the data folder.
func (n *Node) runs() bool { return n.State != 0 && n.State != StateRemoved }

// restore puts nodes and assignments into an image that has the nodes and journals.
func (m *image) restore(nodes []Node, assigned []Assignment) error {
	for _, n := range nodes {
		switch {
		case n.State > StateRemoved || n.Fence > FencedSilent || !n.runs() && n.Fence != NotFenced:
			return fmt.Errorf("node %d is %v, fenced: %v", n.ID, n.State, n.Fence)
		case n.runs() && (m.level < n.Run.MinLevel || m.level > n.Run.MaxLevel):
			return fmt.Errorf("node %d supports feature levels %d to %d", n.ID, n.Run.MinLevel, n.Run.MaxLevel)
		}
		m.nodes[n.Node] = &n
	}
	last := uint32(0)
	for _, a := range assigned {
		home, node := m.nodes[a.Home], m.nodes[a.Node]
		if a.Journal <= last || a.Journal > m.journals || home == nil || !home.runs() || !a.Node.IsZero() && (node == nil || !node.runs()) {
			return fmt.Errorf("assignment %+v after that of journal %d", a, last)
		}
		last = a.Journal
		m.assigned[a.Journal] = a
	}
	return nil
}
