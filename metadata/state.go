package metadata

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/varvelog/varve/tiering/segment"
)

// State is the state that the objects of journal 0 result in, up to its head. One caller
// applies, any number read; the values that they get are immutable.
type State struct {
	mu       sync.RWMutex
	img      *image
	head     segment.Header // of the last object applied
	version  uint64         // counts the objects that changed something
	listing  *listing       // made when asked for, dropped by a change
	cluster  *Cluster       // likewise
	watchers watchers

	placements placements
}

// listing is all topics by name, and the deleted ones also by the time of deletion.
type listing struct{ live, deleting, going []*Topic }

// New is the state before the first object of the journal.
func New() *State { return NewUpTo(SupportedLevel) }

// NewUpTo is the state of New for a binary that supports feature levels up to this one.
func NewUpTo(level uint16) *State {
	return &State{img: newImage(level), placements: newPlacements()}
}

// Apply takes the next valid object of journal 0: its footer and its entries,
// in the order of seqs, voids left out. The object is applied wholly or, when
// there is an error, not at all; the node must stop then. Errors wrap ErrTooOld
// or ErrCorrupt.
func (s *State) Apply(f *segment.Footer, entries []segment.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkLocked(f, entries); err != nil {
		return fmt.Errorf("apply metadata object: %w", err)
	}
	changes := make([]Change, len(entries))
	for i, e := range entries {
		var err error
		if changes[i], err = Decode(e); err != nil {
			return fmt.Errorf("apply metadata object %d: entry %d: %w", f.Header.Seq, i, err)
		}
	}
	if i, err := s.img.applyAll(changes); err != nil {
		return fmt.Errorf("apply metadata object %d: entry %d: %w", f.Header.Seq, i, err)
	}
	s.head = f.Header
	if len(changes) > 0 {
		s.listing, s.cluster = nil, nil
		s.version++
		s.placements.follow(f.Header.Seq, changes, s.img)
	}
	s.watchers.wake()
	return nil
}

// checkLocked checks that the object may be the next one of journal 0.
func (s *State) checkLocked(f *segment.Footer, entries []segment.Entry) error {
	h := f.Header
	switch {
	case h.Journal != 0:
		return fmt.Errorf("%w: object of journal %d", ErrCorrupt, h.Journal)
	case h.Seq <= s.head.Seq:
		return fmt.Errorf("%w: seq %d after %d", ErrCorrupt, h.Seq, s.head.Seq)
	case h.Epoch < s.head.Epoch:
		return fmt.Errorf("%w: seq %d has epoch %d after %d", ErrCorrupt, h.Seq, h.Epoch, s.head.Epoch)
	case len(f.Partitions) > 0:
		return fmt.Errorf("%w: seq %d holds records", ErrCorrupt, h.Seq)
	}
	switch h.Kind {
	case segment.KindData:
		return nil
	case segment.KindFence, segment.KindFiller:
		if len(entries) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: seq %d is of kind %d with %d entries", ErrCorrupt, h.Seq, h.Kind, len(entries))
}

// applyAll makes all changes or none, and says at which one it failed.
func (m *image) applyAll(changes []Change) (int, error) {
	undo := make([]func(), 0, len(changes))
	for i, c := range changes {
		u, err := m.apply(c)
		if err != nil {
			for _, u := range slices.Backward(undo) {
				u()
			}
			return i, err
		}
		undo = append(undo, u)
	}
	return 0, nil
}

// Head is the seq of the last object applied, 0 before the first.
func (s *State) Head() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head.Seq
}

// Version changes with every change of a topic, and now and then without one.
func (s *State) Version() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// Level is the feature level in force, 0 before it was first set.
func (s *State) Level() uint16 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.img.level
}

// TieredMs is when LevelTiering came into force, by the controller's clock; 0: the
// cluster began with it, or it is not in force.
func (s *State) TieredMs() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.img.tieredMs
}

// Topic finds a topic by its name. Deleted ones are not found.
func (s *State) Topic(name string) (*Topic, bool) {
	s.mu.RLock()
	t := s.img.names[fold(name)]
	s.mu.RUnlock()
	if t == nil || t.Name != name {
		return nil, false
	}
	return t, true
}

// TopicByID finds a topic by its id. Deleted ones are not found.
func (s *State) TopicByID(id segment.ID) (*Topic, bool) {
	s.mu.RLock()
	t := s.img.topics[id]
	s.mu.RUnlock()
	if t == nil || t.Deleting {
		return nil, false
	}
	return t, true
}

// TopicOrDeleted finds a topic by its id, also a deleted one that can be restored. In a
// state that is proved, false is for good: an id is never used again.
func (s *State) TopicOrDeleted(id segment.ID) (*Topic, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.img.topics[id]
	return t, ok
}

// TopicGone reports whether no topic has the id or, if that is zero, the name.
// Deleted topics are gone.
func (s *State) TopicGone(name string, id [16]byte) bool {
	var exists bool
	if id != [16]byte{} {
		_, exists = s.TopicByID(id)
	} else {
		_, exists = s.Topic(name)
	}
	return !exists
}

// Topics lists the topics by name, without deleted ones. The slice is shared:
// callers must not change it.
func (s *State) Topics() []*Topic { return s.list().live }

// Deleting lists the topics that are deleted and not yet purged, by name. The
// slice is shared: callers must not change it.
func (s *State) Deleting() []*Topic { return s.list().deleting }

func (s *State) list() *listing {
	s.mu.RLock()
	l := s.listing
	s.mu.RUnlock()
	if l != nil {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listing == nil {
		s.listing = s.img.list()
	}
	return s.listing
}

func (m *image) list() *listing {
	l := &listing{live: make([]*Topic, 0, len(m.names))}
	for _, t := range m.names {
		l.live = append(l.live, t)
	}
	for _, t := range m.deleted {
		l.deleting = append(l.deleting, t)
	}
	slices.SortFunc(l.live, compareNames)
	slices.SortFunc(l.deleting, compareNames)
	l.going = slices.Clone(l.deleting)
	slices.SortStableFunc(l.going, func(a, b *Topic) int { return cmp.Compare(a.DeletedMs, b.DeletedMs) })
	return l
}

// Journals lists the data journals, in order.
func (s *State) Journals() []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	journals := make([]uint32, s.img.journals)
	for i := range journals {
		journals[i] = uint32(i) + 1
	}
	return journals
}

// Watch sends on wake, without ever blocking, after each object, also after one that
// changes nothing: callers wait for its seq. A channel with room for one is enough: a
// reader that looks at the state after receiving misses nothing. cancel ends it.
func (s *State) Watch(wake chan<- struct{}) (cancel func()) {
	return s.watchers.watch(wake)
}
