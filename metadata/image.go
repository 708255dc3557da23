package metadata

import (
	"fmt"
	"maps"
	"math"

	"github.com/varvelog/varve/tiering/segment"
)

// image is the state that the entries so far result in. It has one owner and no
// lock; State guards one, Controller keeps another.
type image struct {
	supported    uint16 // the highest level
	level        uint16
	tieredMs     int64                 // when LevelTiering came into force; 0: with the cluster, or not yet
	nodes        map[segment.ID]*Node  // broker ids are 1 to len(nodes): none is ever forgotten
	journals     uint32                // data journals are 1 to journals: none is ever removed
	assigned     map[uint32]Assignment // by data journal
	topics       map[segment.ID]*Topic // deleted ones too
	names        map[string]*Topic     // those that are not deleted, by folded name
	deleted      map[segment.ID]*Topic // the other ones
	held         map[uint32]int        // partitions of topics, by data journal
	nextProducer int64
	access       access
}

func newImage(supported uint16) *image {
	return &image{
		supported: supported,
		nodes:     map[segment.ID]*Node{}, assigned: map[uint32]Assignment{}, topics: map[segment.ID]*Topic{}, names: map[string]*Topic{},
		deleted: map[segment.ID]*Topic{}, held: map[uint32]int{}, nextProducer: 1, access: newAccess(),
	}
}

// clone shares the topics, nodes and credentials, which are immutable.
func (m *image) clone() *image {
	c := *m
	c.nodes, c.assigned, c.held = maps.Clone(m.nodes), maps.Clone(m.assigned), maps.Clone(m.held)
	c.topics, c.names, c.deleted = maps.Clone(m.topics), maps.Clone(m.names), maps.Clone(m.deleted)
	c.access = m.access.clone()
	return &c
}

// apply makes one change. If the change contradicts the image, it returns an
// error and leaves the image as it was. undo reverts the change if it was the
// last.
func (m *image) apply(c Change) (undo func(), err error) {
	if _, ok := c.(FeatureLevel); !ok && m.level == 0 {
		return nil, fmt.Errorf("%w: %T before any feature level", ErrCorrupt, c)
	}
	if m.level < levelOf(c.kind()) {
		return nil, fmt.Errorf("%w: %T at feature level %d", ErrCorrupt, c, m.level)
	}
	return c.apply(m)
}

// levelOf is the feature level that brought a kind of entries. They are not written below it.
func levelOf(kind uint16) uint16 {
	switch {
	case kind >= EntryACLsAdded:
		return LevelSecurity
	case kind >= EntryNodeStarted:
		return LevelCluster
	case kind == EntryTopicRestored:
		return LevelTiering
	}
	return 0
}

func (c FeatureLevel) apply(m *image) (func(), error) {
	if c.Level > m.supported {
		return nil, fmt.Errorf("%w: feature level %d is in force, this binary knows up to %d", ErrTooOld, c.Level, m.supported)
	}
	if c.Level <= m.level {
		return nil, fmt.Errorf("%w: feature level %d after %d", ErrCorrupt, c.Level, m.level)
	}
	if n := m.unready(c.Level); n != nil {
		return nil, fmt.Errorf("%w: feature level %d, which node %d does not support", ErrCorrupt, c.Level, n.ID)
	}
	before, beforeMs := m.level, m.tieredMs
	if m.level < LevelTiering {
		m.tieredMs = c.AtMs
	}
	m.level = c.Level
	return func() { m.level, m.tieredMs = before, beforeMs }, nil
}

func (c NodeRegistered) apply(m *image) (func(), error) {
	if n, ok := m.nodes[c.Node]; ok {
		return nil, fmt.Errorf("%w: node %s registered again, it has broker id %d", ErrCorrupt, c.Node, n.ID)
	}
	if c.ID != m.nextNode() {
		return nil, fmt.Errorf("%w: node %s has broker id %d, want %d", ErrCorrupt, c.Node, c.ID, m.nextNode())
	}
	m.nodes[c.Node] = &Node{Node: c.Node, ID: c.ID}
	return func() { delete(m.nodes, c.Node) }, nil
}

func (m *image) nextNode() int32 { return int32(len(m.nodes)) + 1 }

func (c JournalCreated) apply(m *image) (func(), error) {
	if m.journals == math.MaxUint32 || c.ID != m.journals+1 {
		return nil, fmt.Errorf("%w: data journal %d created, last is %d", ErrCorrupt, c.ID, m.journals)
	}
	m.journals++
	return func() { m.journals-- }, nil
}

func (c TopicCreated) apply(m *image) (func(), error) {
	if t, ok := m.topics[c.ID]; ok {
		return nil, fmt.Errorf("%w: topic id %s created again, it is topic %q", ErrCorrupt, c.ID, t.Name)
	}
	if t := m.taken(c.Name); t != nil {
		return nil, fmt.Errorf("%w: topic %q created while there is topic %q", ErrCorrupt, c.Name, t.Name)
	}
	if err := m.checkJournals(c.Name, 0, c.Journals, c.Bases); err != nil {
		return nil, err
	}
	t, err := c.topic()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	m.put(t)
	return func() { m.forget(t) }, nil
}

// taken returns the topic that keeps a name, or one that collides with it, from being
// used; nil: the name is free. Deleted topics keep theirs before LevelTiering.
func (m *image) taken(name string) *Topic {
	key := fold(name)
	if t := m.names[key]; t != nil || m.level >= LevelTiering {
		return t
	}
	for _, t := range m.deleted {
		if fold(t.Name) == key {
			return t
		}
	}
	return nil
}

// checkJournals checks that the partitions of a topic from one on live in
// existing journals, and have epoch bases only where these are known.
func (m *image) checkJournals(name string, from int, journals []uint32, bases []int32) error {
	if bases != nil && m.level < LevelCluster {
		return fmt.Errorf("%w: epoch bases of topic %q at feature level %d", ErrCorrupt, name, m.level)
	}
	for i, j := range journals {
		if j < 1 || j > m.journals {
			return fmt.Errorf("%w: partition %d of topic %q in journal %d, last is %d", ErrCorrupt, from+i, name, j, m.journals)
		}
	}
	return nil
}

func (c PartitionsAdded) apply(m *image) (func(), error) {
	t, ok := m.topics[c.ID]
	if !ok || t.Deleting {
		return nil, fmt.Errorf("%w: partitions added to topic id %s, which is unknown or deleted", ErrCorrupt, c.ID)
	}
	if int(c.From) != len(t.Partitions) {
		return nil, fmt.Errorf("%w: partitions of topic %q added from %d on, it has %d", ErrCorrupt, t.Name, c.From, len(t.Partitions))
	}
	if err := m.checkJournals(t.Name, len(t.Partitions), c.Journals, c.Bases); err != nil {
		return nil, err
	}
	m.put(t.withPartitions(c.Journals, c.Bases))
	return func() { m.put(t) }, nil
}

func (c TopicConfigured) apply(m *image) (func(), error) {
	t, ok := m.topics[c.ID]
	if !ok || t.Deleting {
		return nil, fmt.Errorf("%w: topic id %s configured, but it is unknown or deleted", ErrCorrupt, c.ID)
	}
	configured, err := t.withConfigs(c.Configs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	m.put(configured)
	return func() { m.put(t) }, nil
}

func (c TopicDeleted) apply(m *image) (func(), error) {
	t, ok := m.topics[c.ID]
	if !ok || t.Deleting {
		return nil, fmt.Errorf("%w: topic id %s deleted, but it is unknown or deleted already", ErrCorrupt, c.ID)
	}
	if c.AtMs != 0 && m.level < LevelTiering {
		return nil, fmt.Errorf("%w: deletion of topic %q with a time, at feature level %d", ErrCorrupt, t.Name, m.level)
	}
	deleted := *t
	deleted.Deleting, deleted.DeletedMs = true, c.AtMs
	m.put(&deleted)
	return func() { m.put(t) }, nil
}

func (c TopicRestored) apply(m *image) (func(), error) {
	t, ok := m.deleted[c.ID]
	if !ok {
		return nil, fmt.Errorf("%w: topic id %s restored, but it is unknown or not deleted", ErrCorrupt, c.ID)
	}
	if other := m.taken(t.Name); other != nil {
		return nil, fmt.Errorf("%w: topic %q restored while there is topic %q", ErrCorrupt, t.Name, other.Name)
	}
	restored := *t
	restored.Deleting, restored.DeletedMs = false, 0
	m.put(&restored)
	return func() { m.put(t) }, nil
}

// put adds a topic, or puts it in place of the one with its id.
func (m *image) put(t *Topic) {
	m.forget(t)
	m.topics[t.ID] = t
	m.hold(t, 1)
	if t.Deleting {
		m.deleted[t.ID] = t
	} else {
		m.names[fold(t.Name)] = t
	}
}

// forget removes the topic with the id of t, which has the name of t.
func (m *image) forget(t *Topic) {
	if before := m.topics[t.ID]; before != nil {
		m.hold(before, -1)
	}
	delete(m.topics, t.ID)
	delete(m.deleted, t.ID)
	if named := m.names[fold(t.Name)]; named != nil && named.ID == t.ID {
		delete(m.names, fold(t.Name))
	}
}

// hold counts the partitions of a topic, or with -1 no longer.
func (m *image) hold(t *Topic, by int) {
	for _, p := range t.Partitions {
		m.held[p.Journal] += by
	}
}

func (c TopicPurged) apply(m *image) (func(), error) {
	t, ok := m.topics[c.ID]
	if !ok || !t.Deleting {
		return nil, fmt.Errorf("%w: topic id %s purged, but it is unknown or not deleted", ErrCorrupt, c.ID)
	}
	m.forget(t)
	return func() { m.put(t) }, nil
}

func (c ProducerIDs) apply(m *image) (func(), error) {
	if c.From != m.nextProducer {
		return nil, fmt.Errorf("%w: producer ids from %d, want %d", ErrCorrupt, c.From, m.nextProducer)
	}
	m.nextProducer += int64(c.Count)
	return func() { m.nextProducer = c.From }, nil
}
