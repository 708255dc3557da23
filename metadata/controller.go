package metadata

import (
	"fmt"
	"maps"
	"slices"

	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/segment"
)

// Defaults are the values of a topic that its creator leaves open.
type Defaults struct {
	Partitions        int32  // num.partitions
	ReplicationFactor int16  // default.replication.factor
	Journals          uint32 // data journals of a new cluster, 0: one
}

// Controller plans the changes of one leadership of the metadata journal. It
// starts from a state that is applied up to the head at which the leadership
// was settled. It keeps a copy of it that is ahead by the planned changes.
//
// Each method returns the entries to commit, which the caller puts into the
// journal in the order of the calls. An answer, also an error, depends on
// everything planned before it. The caller may pass it on only when that is
// committed, and must return ErrUnavailable instead if it may not be committed.
// If the entries are not, or may not be, committed in this order, the caller
// drops the Controller, as it does at the end of the leadership.
//
// It has one owner and no lock.
type Controller struct {
	img      *image
	defaults Defaults

	// deletedMs is the time of the last deletion. Each call has a later one, so that a
	// topic which was restored in between is deleted at another time.
	deletedMs int64
}

// NewController starts planning on a copy of s.
func NewController(s *State, d Defaults) *Controller {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := &Controller{img: s.img.clone(), defaults: d}
	for _, t := range c.img.deleted {
		c.deletedMs = max(c.deletedMs, t.DeletedMs)
	}
	return c
}

// trial returns a Controller whose plans change nothing here.
func (c *Controller) trial() *Controller {
	return &Controller{img: c.img.clone(), defaults: c.defaults}
}

// Bootstrap plans the entries that a new cluster lacks: its feature level and
// its data journals. For any other cluster it plans nothing.
func (c *Controller) Bootstrap() ([]segment.Entry, error) {
	var entries []segment.Entry
	if c.img.level == 0 {
		e, err := c.plan(FeatureLevel{Level: c.img.supported})
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if c.img.journals == 0 {
		more, err := c.createJournals(max(1, c.defaults.Journals))
		if err != nil {
			return nil, err
		}
		entries = append(entries, more...)
	}
	return entries, nil
}

// Raise plans a higher feature level from nowMs on. A level that is in force already needs
// nothing.
func (c *Controller) Raise(nowMs int64, level uint16, validateOnly bool) ([]segment.Entry, error) {
	switch {
	case level > c.img.supported:
		return nil, fmt.Errorf("%w: %d, this node knows up to %d", ErrUnknownLevel, level, c.img.supported)
	case level < c.img.level:
		return nil, fmt.Errorf("%w: %d is in force, it cannot go down to %d", ErrLowerLevel, c.img.level, level)
	case level == c.img.level || validateOnly && c.img.unready(level) == nil:
		return nil, nil
	}
	if n := c.img.unready(level); n != nil {
		return nil, fmt.Errorf("%w: %d, node %d is not known to support it: upgrade it, or remove it if it is gone", ErrUnknownLevel, level, n.ID)
	}
	raise := FeatureLevel{Level: level}
	if level >= LevelTiering {
		raise.AtMs = nowMs
	}
	e, err := c.plan(raise)
	if err != nil {
		return nil, err
	}
	return []segment.Entry{e}, nil
}

// RegisterNode returns the broker id of a data folder, and plans one if it has
// none.
func (c *Controller) RegisterNode(node segment.ID) ([]segment.Entry, int32, error) {
	if n, ok := c.img.nodes[node]; ok {
		return nil, n.ID, nil
	}
	id := c.img.nextNode()
	e, err := c.plan(NodeRegistered{Node: node, ID: id})
	if err != nil {
		return nil, 0, err
	}
	return []segment.Entry{e}, id, nil
}

// ProducerIDBlock is a range of producer ids, [Next, End), to give out one by
// one once its entry is committed. The zero value is empty.
type ProducerIDBlock struct{ Next, End int64 }

// Take removes the first id, if there is one.
func (b *ProducerIDBlock) Take() (int64, bool) {
	if b.Next >= b.End {
		return 0, false
	}
	b.Next++
	return b.Next - 1, true
}

// ProducerIDBlockSize is how many ids to allocate at a time, as Kafka does.
const ProducerIDBlockSize = 1000

// AllocateProducerIDs plans a block of count ids.
func (c *Controller) AllocateProducerIDs(count uint32) ([]segment.Entry, ProducerIDBlock, error) {
	from := c.img.nextProducer
	e, err := c.plan(ProducerIDs{From: from, Count: count})
	if err != nil {
		return nil, ProducerIDBlock{}, err
	}
	return []segment.Entry{e}, ProducerIDBlock{Next: from, End: from + int64(count)}, nil
}

// CreateTopics plans topics, each as a whole or not at all. nowMs is the time
// of their creation, in Unix milliseconds; ids draws 128 random bits. With
// validateOnly it returns the same answers and plans nothing.
func (c *Controller) CreateTopics(nowMs int64, topics []NewTopic, validateOnly bool, ids func() segment.ID) ([]segment.Entry, []CreateResult) {
	var entries []segment.Entry
	results := make([]CreateResult, len(topics))
	left := int32(MaxPartitions)
	for i, nt := range topics {
		created, err := c.design(nowMs, nt, left)
		if err == nil && !validateOnly {
			created.ID, err = c.drawTopicID(ids)
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		left -= int32(len(created.Journals))
		if validateOnly {
			results[i].Topic, results[i].Err = created.topic()
			continue
		}
		e, err := c.plan(created)
		if err != nil {
			results[i].Err = err
			continue
		}
		entries = append(entries, e)
		results[i].Topic = c.img.topics[created.ID]
	}
	return entries, results
}

// DeleteTopics plans the deletion of each topic, at nowMs.
func (c *Controller) DeleteTopics(nowMs int64, topics []segment.ID) ([]segment.Entry, []error) {
	var entries []segment.Entry
	errs := make([]error, len(topics))
	c.deletedMs = max(nowMs, c.deletedMs+1)
	for i, id := range topics {
		if t, ok := c.img.topics[id]; !ok || t.Deleting {
			errs[i] = fmt.Errorf("%w: id %s", ErrUnknownTopic, id.Base64())
			continue
		}
		deletion := TopicDeleted{ID: id}
		if c.img.level >= LevelTiering {
			deletion.AtMs = c.deletedMs
		}
		e, err := c.plan(deletion)
		if err != nil {
			errs[i] = err
			continue
		}
		entries = append(entries, e)
	}
	return entries, errs
}

// RestoreTopics plans to restore deleted topics, and answers for each in turn.
func (c *Controller) RestoreTopics(topics []segment.ID) ([]segment.Entry, []error) {
	return planEach(c, topics, false, func(id segment.ID) (Change, error) {
		t := c.img.deleted[id]
		switch {
		case c.img.level < LevelTiering:
			return nil, fmt.Errorf("%w: topics are restored from %d on, %d is in force", ErrUnknownLevel, LevelTiering, c.img.level)
		case t == nil && c.img.topics[id] != nil:
			return nil, fmt.Errorf("%w: topic %q is not deleted", ErrTopicExists, c.img.topics[id].Name)
		case t == nil:
			return nil, fmt.Errorf("%w: id %s was never a topic, or is purged", ErrUnknownTopic, id.Base64())
		}
		if err := c.checkFree(t.Name); err != nil {
			return nil, err
		}
		return TopicRestored{id}, nil
	})
}

// Purge plans to forget deleted topics, each as a whole or not at all. For each
// of their partitions, the caller has seen one of two things: the seal
// committed in the partition's journal, or that journal's proved head with the
// partition never opened.
func (c *Controller) Purge(topics []segment.ID) ([]segment.Entry, []error) {
	return planEach(c, topics, false, func(id segment.ID) (Change, error) {
		if t, ok := c.img.topics[id]; !ok || !t.Deleting {
			return nil, fmt.Errorf("%w: id %s is not being deleted", ErrUnknownTopic, id.Base64())
		}
		return TopicPurged{id}, nil
	})
}

// stillDeleted reports whether no change is planned since the deletion of a topic that
// the state shows: neither its purge, nor its return with perhaps another deletion.
func (c *Controller) stillDeleted(t *Topic) bool {
	now := c.img.deleted[t.ID]
	return now != nil && now.DeletedMs == t.DeletedMs
}

// plan makes the change here and encodes it for the journal.
func (c *Controller) plan(change Change) (segment.Entry, error) {
	e, err := Encode(change)
	if err != nil {
		return segment.Entry{}, err
	}
	if _, err := c.img.apply(change); err != nil {
		return segment.Entry{}, fmt.Errorf("plan metadata change: %w", err)
	}
	return e, nil
}

// design checks the request for one topic and lays it out, except for its id.
// left is how many partitions the whole request may still ask for.
func (c *Controller) design(nowMs int64, nt NewTopic, left int32) (TopicCreated, error) {
	if err := c.checkFree(nt.Name); err != nil {
		return TopicCreated{}, err
	}
	partitions, rf := nt.Partitions, nt.ReplicationFactor
	if partitions == -1 {
		partitions = c.defaults.Partitions
	}
	if rf == -1 {
		rf = c.defaults.ReplicationFactor
	}
	switch {
	case partitions < 1 || partitions > MaxPartitions:
		return TopicCreated{}, fmt.Errorf("%w: %d, want 1 to %d, or -1 for the default", ErrInvalidPartitions, partitions, MaxPartitions)
	case partitions > left:
		return TopicCreated{}, fmt.Errorf("%w: one request may ask for %d in all, create fewer topics at a time", ErrInvalidPartitions, MaxPartitions)
	case rf < 1 || rf > MaxReplicationFactor:
		return TopicCreated{}, fmt.Errorf("%w: %d, want 1 to %d, or -1 for the default", ErrInvalidReplication, rf, MaxReplicationFactor)
	}
	if err := topicconfig.Validate(nt.Configs); err != nil {
		return TopicCreated{}, err
	}
	journals, err := c.place(nt.Name, int(partitions))
	if err != nil {
		return TopicCreated{}, err
	}
	return TopicCreated{
		Name: nt.Name, ReplicationFactor: rf, CreatedMs: nowMs, Configs: maps.Clone(nt.Configs), Journals: journals,
	}, nil
}

// checkFree reports whether a topic of that name may be created now.
func (c *Controller) checkFree(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	t := c.img.taken(name)
	switch {
	case t == nil:
		return nil
	case t.Name != name:
		return fmt.Errorf("%w: %q collides with existing topic %q, '.' and '_' count as the same", ErrInvalidName, name, t.Name)
	case t.Deleting:
		return fmt.Errorf("%w: %q is being deleted, try again when that is done", ErrTopicExists, name)
	}
	return fmt.Errorf("%w: %q", ErrTopicExists, name)
}

// place puts each partition into the data journal that has the fewest, those of internal
// topics into the first. It goes by the image alone, so it goes on in the next leadership.
func (c *Controller) place(topic string, partitions int) ([]uint32, error) {
	if c.img.journals == 0 {
		return nil, fmt.Errorf("%w: the cluster has no data journal yet", ErrUnavailable)
	}
	if IsInternal(topic) {
		return slices.Repeat([]uint32{1}, partitions), nil
	}
	held, journals := maps.Clone(c.img.held), make([]uint32, partitions)
	for i := range journals {
		least := uint32(1)
		for j := range c.img.journals {
			if held[j+1] < held[least] {
				least = j + 1
			}
		}
		journals[i] = least
		held[least]++
	}
	return journals, nil
}

// drawTopicID draws until the id is usable: unused, not zero, and, as in Kafka,
// not read as an option when typed on a command line.
func (c *Controller) drawTopicID(ids func() segment.ID) (segment.ID, error) {
	for range 100 {
		id := ids()
		if _, used := c.img.topics[id]; !used && !id.IsZero() && id.Base64()[0] != '-' {
			return id, nil
		}
	}
	return segment.ID{}, fmt.Errorf("%w: no fit topic id in 100 draws, the source of randomness is broken", ErrUnavailable)
}
