package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Names returns the index objects that a checkpoint names. It is nil where checkpoints
// never name any.
type Names func(c *Checkpoint) ([]segment.IndexName, error)

// kept says which index objects of a journal stay (PROTOCOL.md, rule 23). A leader may
// remove all others, and a node may hold pages that lie in these.
type kept struct {
	from  uint64 // seq of the checkpoint of the last floor but one; 0: all are kept
	names map[segment.IndexName]bool
}

// has reports whether an index object is kept. Objects whose key has no seq always are.
func (k *kept) has(n segment.IndexName) bool {
	n.Copy = false
	return n.Seq == 0 || n.Seq >= k.from || k.names[n]
}

func keptFrom(before *floors) *kept {
	return &kept{from: before.floor.Floor - 1, names: map[segment.IndexName]bool{}}
}

func (k *kept) add(names []segment.IndexName) {
	for _, n := range names {
		k.names[n] = true
	}
}

// keeping finds the index objects that are kept at the floors as they were read last.
type keeping struct {
	floors *floors
	base   Chain
	names  Names
	known  map[uint64][]segment.IndexName // of the checkpoints of floors, by number
}

// lastTwo returns the floors whose checkpoints say what is kept, the last one first; none
// if all index objects are.
func (k *keeping) lastTwo(ctx context.Context) ([]*floors, error) {
	if k.names == nil || k.floors.n < 2 {
		return nil, nil
	}
	for n := range k.known {
		if n+1 < k.floors.n {
			delete(k.known, n)
		}
	}
	before, err := k.floors.before(ctx)
	return []*floors{k.floors, before}, err
}

// now returns the index objects that are kept. A checkpoint of the last two floors that is lost is an error.
func (k *keeping) now(ctx context.Context) (*kept, error) {
	two, err := k.lastTwo(ctx)
	if err != nil || two == nil {
		return &kept{}, err
	}
	all := keptFrom(two[1])
	for _, f := range two {
		names, err := k.named(ctx, f)
		if err != nil {
			return nil, err
		}
		all.add(names)
	}
	return all, nil
}

// without returns the names that are not kept. A checkpoint of a floor that is lost names
// nothing. It reads no more than it needs.
func (k *keeping) without(ctx context.Context, names []segment.IndexName) ([]segment.IndexName, error) {
	two, err := k.lastTwo(ctx)
	if err != nil || two == nil {
		return nil, err
	}
	all := keptFrom(two[1])
	names = slices.DeleteFunc(slices.Clone(names), all.has)
	for _, f := range two {
		if len(names) == 0 {
			break
		}
		of, err := k.named(ctx, f)
		if err != nil && !unusable(err) {
			return nil, err
		}
		all.add(of)
		names = slices.DeleteFunc(names, all.has)
	}
	return names, nil
}

// named returns the index objects that the checkpoint of a floor names.
func (k *keeping) named(ctx context.Context, f *floors) ([]segment.IndexName, error) {
	if names, ok := k.known[f.n]; ok {
		return names, nil
	}
	c, err := f.checkpoint(ctx, k.base)
	if err != nil {
		return nil, err
	}
	names, err := k.names(c)
	if err == nil {
		if k.known == nil {
			k.known = map[uint64][]segment.IndexName{}
		}
		k.known[f.n] = names
	}
	return names, err
}

// errNotKept is a checkpoint that names index objects that may be removed.
var errNotKept = errors.New("the checkpoint names index objects that no floor keeps")

// check returns errNotKept if a checkpoint may not become a floor.
func (k *keeping) check(ctx context.Context, c *Checkpoint) error {
	if k.names == nil {
		return nil
	}
	names, err := k.names(c)
	if err != nil {
		return err
	}
	lost, err := k.without(ctx, names)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnread, err)
	case len(lost) > 0:
		return fmt.Errorf("%w: %s", errNotKept, lost[0].Key())
	}
	return nil
}

// there returns errNotKept if a listing does not show all index objects that a checkpoint
// names. It is asked where the floors cannot say which ones are kept.
func (k *keeping) there(ctx context.Context, c *Checkpoint) error {
	names, err := k.names(c)
	if err != nil {
		return err
	}
	missing := map[segment.IndexName]bool{}
	for _, n := range names {
		missing[n] = true
	}
	ctx, cancel := context.WithTimeout(ctx, checkpointLimit)
	defer cancel()
	err = k.floors.store.List(ctx, segment.IndexPrefix(k.base.Journal), "", func(i objstore.Info) error {
		if n, ok := segment.ParseIndexKey(k.base.Journal, i.Key); ok {
			n.Copy = false
			delete(missing, n)
		}
		return nil
	})
	if err == nil && len(missing) > 0 {
		err = errNotKept
	}
	return err
}

// Renewal is an index object that was written again under another name.
type Renewal struct{ Old, New segment.IndexName }

// maxRenewals is how many index objects are written again before the next try of a
// checkpoint.
const maxRenewals = 16

// renew writes index objects again that a leader's checkpoint may not name (PROTOCOL.md,
// rule 23). The error is ErrBelowFloor if one is gone: the state began with a checkpoint
// that the floors have left behind.
func (c *Checkpointer) renew(ctx context.Context, store objstore.Store, job *CheckpointJob) (done []Renewal, err error) {
	if c.opt.Names == nil {
		return nil, nil
	}
	if _, err := c.floors.read(ctx); err != nil {
		return nil, nil // the move of the floor says so, and does not go to this checkpoint
	}
	lost, err := c.keeping.without(ctx, job.Named)
	if err != nil {
		return nil, nil
	}
	for i, old := range lost {
		if i == maxRenewals {
			break
		}
		fresh := segment.IndexName{Journal: old.Journal, Seq: job.Chain.Last.Seq, Object: c.opt.NewID()}
		payload, err := readIndex(ctx, store, old)
		if err == nil {
			err = c.writeIndex(ctx, store, job, IndexObject{Name: fresh, Payload: payload})
		}
		if err != nil {
			return done, err
		}
		done = append(done, Renewal{Old: old, New: fresh})
	}
	return done, nil
}

// readIndex reads the payload of an index object from either copy.
func readIndex(ctx context.Context, store objstore.Store, name segment.IndexName) ([]byte, error) {
	var errs []error
	for _, copy := range name.Copies() {
		b, err := store.Get(ctx, copy.Key())
		var blob segment.Blob
		if err == nil {
			blob, err = segment.DecodeBlob(segment.KindIndex, b)
		}
		if err == nil && (blob.Object != name.Object || blob.Journal != name.Journal) {
			err = fmt.Errorf("%w: it is index object %s of journal %d", segment.ErrCorrupt, blob.Object, blob.Journal)
		}
		switch {
		case err == nil:
			return blob.Payload, nil
		case !unusable(err):
			return nil, fmt.Errorf("read %s: %w", copy.Key(), err)
		}
		errs = append(errs, fmt.Errorf("read %s: %w", copy.Key(), err))
	}
	return nil, fmt.Errorf("%w: no floor keeps an index page: %v", ErrBelowFloor, errors.Join(errs...)) // not corrupt: the next start needs it no more
}

// NotKept returns those of some index objects of a journal that no floor keeps now: leaders
// may have removed them. base is the result of NewChain.
func NotKept(ctx context.Context, store objstore.Store, base Chain, names Names, of []segment.IndexName) ([]segment.IndexName, error) {
	f := floors{store: store, journal: base.Journal}
	if _, err := f.read(ctx); err != nil {
		return nil, err
	}
	k := keeping{floors: &f, base: base, names: names}
	return k.without(ctx, of)
}

// NewestFloor reads the checkpoint of the newest floor of a journal. One goroutine uses it.
type NewestFloor struct {
	floors floors
	base   Chain
	taken  uint64 // number of the floor whose checkpoint was taken
}

// NewNewestFloor prepares to look. base is the result of NewChain.
func NewNewestFloor(store objstore.Store, base Chain) *NewestFloor {
	return &NewestFloor{floors: floors{store: store, journal: base.Journal}, base: base}
}

// Look calls take with the checkpoint, if the floor has moved since it took one. If the
// checkpoint is lost, it is that of the floor before.
func (f *NewestFloor) Look(ctx context.Context, take func(c *Checkpoint) error) error {
	if _, err := f.floors.read(ctx); err != nil || f.floors.n == f.taken {
		return err
	}
	c, err := f.floors.checkpointOrBefore(ctx, f.base)
	if err == nil {
		err = take(c)
	}
	if err == nil {
		f.taken = f.floors.n
	}
	return err
}
