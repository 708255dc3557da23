package sim

import (
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// Observed is all that processes have seen of one journal. It fails the world when two
// observations contradict each other, or contradict the bucket.
type Observed struct {
	Last  uint64 // highest seq that a process applied
	Floor uint64 // of the journal, 0 if none was set

	s       *Store
	base    journal.Chain
	objects map[uint64]segment.ID          // applied, by seq
	kinds   map[uint64]segment.Kind        // the same
	hashes  map[uint64][32]byte            // of the state after it
	plans   map[uint64][]journal.FloorPlan // by number of the floor
	planned uint64                         // seq of the newest plan
	fence   uint64                         // of the newest fence
	floors  []segment.Floor
	chain   journal.Chain            // after Last
	before  map[uint64]journal.Chain // the chain before each applied object, by seq
}

// NewObserved is for the journal that base stands before.
func NewObserved(s *Store, base journal.Chain) *Observed {
	t := &Observed{
		s: s, base: base,
		objects: map[uint64]segment.ID{}, kinds: map[uint64]segment.Kind{}, hashes: map[uint64][32]byte{},
		plans: map[uint64][]journal.FloorPlan{}, chain: base, before: map[uint64]journal.Chain{},
	}
	s.stored = func(key string) {
		t.stored(key)
		t.storedLate(key)
	}
	return t
}

func (t *Observed) key(seq uint64) string { return segment.JournalKey(t.base.Journal, seq) }

// Applied notes that a process took o for the next valid object, with a state of this
// hash after it. To the first that did, it returns the object as the bucket has it,
// without the journal's own entries, and nil to others.
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
	t.follow(ref.Seq)
	if h.Kind == segment.KindFence {
		t.fence = h.Seq
	}
	if plan := o.Floor; plan != nil {
		t.planned = h.Seq
		w.Count("floor planned")
		if t.plans[plan.N] != nil {
			w.Count("floor planned again")
		}
		t.plans[plan.N] = append(t.plans[plan.N], *plan)
	}
	stored.Entries = o.Entries
	return stored
}

// SameState compares a state at seq with that of the first process there. It compares
// the states at some seqs only, for speed.
func (t *Observed) SameState(who string, seq uint64, hash func() [32]byte) {
	want, ok := t.hashes[seq]
	if !ok {
		t.s.w.Fail("%s has a state at seq %d, which no process applied", who, seq)
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

// stored checks a floor at the moment at which it comes into force.
func (t *Observed) stored(key string) {
	n := uint64(len(t.floors)) + 1
	if !strings.HasPrefix(key, segment.FloorPrefix(t.base.Journal)) {
		return
	}
	floor, err := segment.DecodeFloor(t.s.Object(key))
	switch {
	case err != nil || floor.N != n || key != segment.FloorKey(t.base.Journal, n):
		t.s.w.Fail("%s is stored after floor %d: %+v, %v", key, n-1, floor, err)
	case floor.Floor <= t.Floor:
		t.s.w.Fail("floor %d is seq %d after seq %d", n, floor.Floor, t.Floor)
	case floor.Floor > t.Last:
		t.s.w.Fail("floor %d is seq %d, seq %d was committed", n, floor.Floor, t.Last)
	case !t.wasPlanned(floor):
		t.s.w.Fail("floor %d at seq %d is not in the journal, which has %v", n, floor.Floor, t.plans[n])
	default:
		t.checkNamed(floor)
	}
	t.floors, t.Floor = append(t.floors, floor), floor.Floor
	t.s.w.Count("floor moved")
	if t.fence > t.planned {
		t.s.w.Count("floor moved in spite of a take-over")
	}
}

func (t *Observed) wasPlanned(f segment.Floor) bool {
	return slices.ContainsFunc(t.plans[f.N], func(p journal.FloorPlan) bool {
		return p.Object == f.Object && p.Floor() == f.Floor && segment.CheckpointKey(t.base.Journal, p.At) == f.Checkpoint
	})
}

// checkNamed: a floor's checkpoint is there, as it was written, and stands for all
// below the floor.
func (t *Observed) checkNamed(f segment.Floor) {
	if t.s.rotten[f.Checkpoint] {
		return
	}
	b := t.s.Object(f.Checkpoint)
	blob, err := segment.DecodeBlob(segment.KindCheckpoint, b)
	if err != nil || sha256.Sum256(b) != f.Hash || blob.Seq != f.Floor-1 {
		t.s.w.Fail("floor %d at seq %d names %s, which is not that: %v", f.N, f.Floor, f.Checkpoint, err)
	}
}

// CheckFloors checks that the checkpoints of the last two floors stay.
func (t *Observed) CheckFloors() {
	for _, f := range t.floors[max(0, len(t.floors)-2):] {
		t.checkNamed(f)
	}
}

// ForgetHints removes all checkpoints but those that the last two floors name, and
// lets every listing fail from now on.
func (t *Observed) ForgetHints() {
	if n := len(t.floors); n > 0 && t.s.rotten[t.floors[n-1].Checkpoint] {
		t.s.w.Count("start without the newest floor")
	}
	named := map[string]bool{}
	for _, f := range t.floors[max(0, len(t.floors)-2):] {
		named[f.Checkpoint] = true
	}
	for _, key := range t.s.Keys(segment.CheckpointPrefix(t.base.Journal)) {
		if !named[key] {
			t.s.Remove(key)
		}
	}
	t.s.Faults.List = 1
}

// Sweep deletes the valid data segments below the floor. An object that was written late
// into the place of a deleted one stays.
func (t *Observed) Sweep() {
	t.CheckFloors()
	for seq := uint64(1); seq < t.Floor; seq++ {
		if t.kinds[seq] == segment.KindData && t.holds(seq) {
			t.s.Remove(t.key(seq))
			t.s.w.Count("data deleted below the floor")
		}
	}
}

// Newest is the newest floor, false if there are less than two, or the checkpoint of the one
// before is damaged.
func (t *Observed) Newest() (segment.Floor, bool) {
	n := len(t.floors)
	if n < 2 || t.s.rotten[t.floors[n-2].Checkpoint] || t.s.rotten[t.floors[n-1].Checkpoint] {
		return segment.Floor{}, false
	}
	return t.floors[n-1], true
}

// sound is the last floor but one whose checkpoint is good, 0 if there is none. That of the
// newest one may have rotted only while it was the newest, before it was read for deletions.
func (t *Observed) sound() uint64 {
	for i := len(t.floors) - 2; i >= 0; i-- {
		if f := t.floors[i]; !t.s.rotten[f.Checkpoint] {
			return f.Floor
		}
	}
	return 0
}

// CheckDeletion fails the world unless a start from the last floor but one can do without
// the object at seq, and the object may be deleted at all. It is called before Remove.
func (t *Observed) CheckDeletion(seq uint64) {
	switch {
	case seq >= t.sound():
		t.s.w.Fail("seq %d is deleted, and is not below the last floor but one with a good checkpoint", seq)
	case t.kinds[seq] != segment.KindData && t.holds(seq):
		t.s.w.Fail("seq %d is deleted, which is no data segment", seq)
	case t.objects[seq] == segment.ID{}:
		t.s.w.Fail("seq %d is deleted, which no process took for valid", seq)
	}
}

// holds reports whether the bucket has the object that was applied at seq.
func (t *Observed) holds(seq uint64) bool {
	o, err := segment.Decode(t.s.Object(t.key(seq)))
	return err == nil && o.Footer.Header.Object == t.objects[seq]
}

// CheckBucket fails the world if an applied object, at or above the floor, is not in the
// bucket.
func (t *Observed) CheckBucket() {
	for _, seq := range slices.Sorted(maps.Keys(t.objects)) {
		if seq >= t.Floor && !t.holds(seq) {
			t.s.w.Fail("seq %d is not the object that was committed there", seq)
			return
		}
	}
}

// patience is how long a reader has to reach the end without faults.
const patience = 10 * time.Minute

// ReadAgain reads the journal from chain on, in a process of its own, and compares the
// end of it with the observations. apply gets the objects.
func (t *Observed) ReadAgain(who string, chain journal.Chain, history journal.History, apply func(*journal.Object) error, hash func() [32]byte) {
	w := t.s.w
	p := w.NewProcess(who)
	o := Follow(p, t.s, journal.Config{Chain: chain, History: history}, func(o *journal.Object) error {
		if err := apply(o); err != nil {
			return err
		}
		t.Applied(who, o, hash)
		return nil
	}, time.Minute, func(error) {})
	w.Run(patience, func() bool { return o.Ready() || o.Ended() })
	p.Kill()
	switch head := o.Core().Chain().Last.Seq; {
	case o.Err() != nil:
		w.Fail("%s: %w", who, o.Err())
	case !o.Ready():
		w.Fail("%s does not reach the head", who)
	case head != t.Last:
		w.Fail("%s ends at seq %d, seq %d was committed", who, head, t.Last)
	case t.Last > 0:
		t.SameState(who, t.Last, hash)
	}
}
