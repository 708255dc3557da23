package sim

import (
	"errors"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// Observed is what anybody has seen of one journal. It fails the world when two
// observations contradict each other, or what the bucket holds.
type Observed struct {
	Last  uint64 // highest seq that anybody applied
	Floor uint64 // of the journal, 0 if none was set

	s       *Store
	base    journal.Chain
	objects map[uint64]segment.ID   // applied, by seq
	kinds   map[uint64]segment.Kind // the same
	hashes  map[uint64][32]byte     // of the state after it
	floors  uint64
}

// NewObserved is for the journal that base stands before.
func NewObserved(s *Store, base journal.Chain) *Observed {
	return &Observed{
		s: s, base: base,
		objects: map[uint64]segment.ID{}, kinds: map[uint64]segment.Kind{}, hashes: map[uint64][32]byte{},
	}
}

func (t *Observed) key(seq uint64) string { return segment.JournalKey(t.base.Journal, seq) }

// Applied notes that somebody took o for the next valid object, with a state of
// this hash after it. It returns the object as the bucket has it to the first who
// did, nil to others.
func (t *Observed) Applied(who string, o *journal.Object, hash func() [32]byte) *segment.Object {
	w, ref := t.s.w, o.Ref()
	if id, ok := t.objects[ref.Seq]; ok {
		if id != ref.Object {
			w.Fail("%s applies object %s at seq %d, others %s", who, ref.Object, ref.Seq, id)
		}
		t.SameState(who, ref.Seq, hash)
		return nil
	}
	if ref.Seq <= t.Last {
		w.Fail("%s applies seq %d, which others passed over", who, ref.Seq)
		return nil
	}
	stored, err := segment.Decode(t.s.Object(t.key(ref.Seq)))
	if err != nil || stored.Footer.Header.Object != ref.Object {
		w.Fail("%s applies seq %d, which is not in the bucket (%v)", who, ref.Seq, err)
		return nil
	}
	h := &stored.Footer.Header
	w.Logf("%s is first to apply seq %d, kind %d, epoch %d", who, ref.Seq, h.Kind, h.Epoch)
	t.Last, t.objects[ref.Seq], t.kinds[ref.Seq] = ref.Seq, ref.Object, h.Kind
	t.hashes[ref.Seq] = hash()
	return stored
}

// SameState compares a state at seq with that of the first who was there. Of most
// seqs only a part is compared, for speed.
func (t *Observed) SameState(who string, seq uint64, hash func() [32]byte) {
	want, ok := t.hashes[seq]
	if !ok {
		t.s.w.Fail("%s has a state at seq %d, which nobody applied", who, seq)
		return
	}
	if seq%4 != 0 && seq != t.Last {
		return
	}
	if got := hash(); got != want {
		t.s.w.Fail("%s has state %x after seq %d, others had %x", who, got[:4], seq, want[:4])
	}
}

// MayEnd fails the world if err means that the journal is broken.
func (t *Observed) MayEnd(who string, err error) {
	for _, bad := range []error{
		journal.ErrBroken, journal.ErrTwin, journal.ErrUnsettled, journal.ErrForeign,
		segment.ErrCorrupt, segment.ErrUnsupported,
	} {
		if errors.Is(err, bad) {
			t.s.w.Fail("%s ended: %w", who, err)
		}
	}
}

// MoveFloor names the newest checkpoint by a new floor. It reports whether there
// is one.
func (t *Observed) MoveFloor(object segment.ID) bool {
	keys := t.s.Keys(segment.CheckpointPrefix(t.base.Journal))
	if len(keys) == 0 {
		return false
	}
	key := keys[len(keys)-1]
	at, _ := segment.ParseCheckpointKey(t.base.Journal, key)
	floor := segment.Floor{
		Journal: t.base.Journal, N: t.floors + 1, Floor: at.Seq + 1, Checkpoint: key, Hash: [32]byte{1},
		Object: object, Cluster: t.base.Cluster,
	}
	if floor.Floor <= t.Floor {
		return false
	}
	data, err := segment.EncodeFloor(floor)
	if err == nil {
		err = t.s.Put(segment.FloorKey(t.base.Journal, floor.N), data)
	}
	if err != nil {
		t.s.w.Fail("floor %d: %w", floor.N, err)
		return false
	}
	t.floors, t.Floor = floor.N, floor.Floor
	return true
}

// Sweep deletes the valid data segments below the floor. What was written late
// into the place of one that is gone stays.
func (t *Observed) Sweep() {
	for seq := uint64(1); seq < t.Floor; seq++ {
		if t.kinds[seq] == segment.KindData && t.holds(seq) {
			t.s.Remove(t.key(seq))
		}
	}
}

// holds reports whether the bucket has what was applied at seq.
func (t *Observed) holds(seq uint64) bool {
	o, err := segment.Decode(t.s.Object(t.key(seq)))
	return err == nil && o.Footer.Header.Object == t.objects[seq]
}

// CheckBucket fails the world if something that was applied is not in the bucket,
// at or above the floor.
func (t *Observed) CheckBucket() {
	for _, seq := range slices.Sorted(maps.Keys(t.objects)) {
		if seq >= t.Floor && !t.holds(seq) {
			t.s.w.Fail("seq %d is not what was committed there", seq)
			return
		}
	}
}

// ReadAnew reads the journal from chain on, in a process of its own, and compares
// the end of it with what is known. apply gets the objects.
func (t *Observed) ReadAnew(who string, chain journal.Chain, history journal.History, apply func(*journal.Object) error, hash func() [32]byte) {
	w := t.s.w
	atHead := false
	var ended error
	hooks := journal.Hooks{
		Apply: func(o *journal.Object, _ bool) error {
			if err := apply(o); err != nil {
				return err
			}
			t.Applied(who, o, hash)
			return nil
		},
		AtHead: func() { atHead = true },
		Ended:  func(err error) { ended = err },
	}
	j := StartJournal(w.NewProcess(who), t.s, journal.Config{Chain: chain, History: history}, hooks, func() {})
	w.Run(patience, func() bool { return atHead || ended != nil })
	switch head := j.Core.Chain().Last.Seq; {
	case ended != nil:
		w.Fail("%s: %w", who, ended)
	case !atHead:
		w.Fail("%s does not reach the head", who)
	case head != t.Last:
		w.Fail("%s ends at seq %d, seq %d was committed", who, head, t.Last)
	case t.Last > 0:
		t.SameState(who, t.Last, hash)
	}
}
