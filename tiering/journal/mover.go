package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// mover moves the floor of a journal, one step after each checkpoint (PROTOCOL.md,
// rule 9). First it plans, and the plan goes into the journal as an entry. When the
// entry is confirmed, it reads the checkpoint back that the plan names. Then it creates
// the floor object. The next step follows from the contents of the journal and the
// bucket, so a leadership may end between any two steps.
type mover struct {
	opt    *CheckpointerOptions
	store  objstore.Store
	job    *CheckpointJob
	floors *floors

	keeping *keeping
}

// move does the next step, and returns the plan to put into the journal, if any.
// Then it removes checkpoints that are of no more use.
func (m *mover) move(ctx context.Context) CheckpointResult {
	floor, err := m.floors.read(ctx)
	if err == nil {
		err = m.floors.damaged // no floor can follow it
	}
	if isDamaged(err) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return CheckpointResult{FloorErr: err}
	}
	found, err := listCheckpoints(ctx, m.store, m.floors.journal)
	if err != nil {
		return CheckpointResult{FloorErr: err}
	}
	plan, err := m.next(ctx, found, floor)
	if err != nil {
		return CheckpointResult{Plan: plan, FloorErr: err}
	}
	return CheckpointResult{Plan: plan, RemoveErr: m.tidy(ctx, found)}
}

func (m *mover) next(ctx context.Context, found []segment.Ref, floor uint64) (*FloorPlan, error) {
	plans := m.job.History.floors
	switch last := plans.last(); {
	case m.floors.n > last.N, m.floors.n == last.N && last.N > 0 && !plans.Has(m.floors.floor, m.floors.journal):
		return nil, m.rival()
	case m.floors.n+1 < last.N:
		return nil, fmt.Errorf("%w: floor %d of journal %d is missing, floor %d was planned after it", ErrBroken, m.floors.n+1, m.floors.journal, last.N)
	case m.floors.n < last.N:
		return m.carryOut(ctx, plans, found)
	}
	above := m.above(found, floor)
	if !m.job.plan || len(above) < m.opt.Policy.Most {
		return nil, nil
	}
	return m.plan(ctx, m.floors.n+1, above), nil
}

// keeps reports whether all index objects that a checkpoint names are kept, as far as the
// checkpoint can be read. If it cannot, that is found when the plan is carried out.
func (m *mover) keeps(ctx context.Context, at segment.Ref) bool {
	if m.opt.Names == nil {
		return true
	}
	c, err := readCheckpoint(ctx, m.store, m.keeping.base, segment.CheckpointKey(m.floors.journal, at))
	return err != nil || m.keeping.check(ctx, c) == nil
}

// above leaves of the checkpoints those a floor may name that is higher than it is:
// none that this leader has not confirmed.
func (m *mover) above(found []segment.Ref, floor uint64) []segment.Ref {
	var above []segment.Ref
	for _, at := range found {
		if at.Seq >= floor && at.Seq <= m.job.Chain.Last.Seq {
			above = append(above, at)
		}
	}
	return above
}

// plan names the newest checkpoint that leaves enough above the floor. If it names index
// objects that may be removed, one of the next is going to be better.
func (m *mover) plan(ctx context.Context, n uint64, above []segment.Ref) *FloorPlan {
	i := len(above) - 1 - m.opt.Policy.Behind
	if i < 0 || above[i].Seq <= m.job.History.floors.last().At.Seq { // a listing may lack the newest
		return nil
	}
	if !m.keeps(ctx, above[i]) {
		return nil
	}
	return &FloorPlan{N: n, At: above[i], Object: m.opt.NewID()}
}

// carryOut creates the floor object that the last plan describes. When the
// checkpoint turns out to be of no use, another plan is made.
func (m *mover) carryOut(ctx context.Context, plans FloorPlans, found []segment.Ref) (*FloorPlan, error) {
	plan := plans.last()
	hash, err := m.readBack(ctx, plan)
	if err != nil {
		err = fmt.Errorf("floor %d of journal %d at seq %d: %w", plan.N, m.floors.journal, plan.Floor(), err)
		if !unusable(err) || !m.job.plan || len(plans) == maxFloorPlans {
			return nil, err
		}
		return m.plan(ctx, plan.N, m.above(found, plan.Floor())), err
	}
	return nil, m.create(ctx, plans, segment.Floor{
		Journal: m.floors.journal, N: plan.N, Floor: plan.Floor(), Checkpoint: segment.CheckpointKey(m.floors.journal, plan.At),
		Hash: hash, Object: plan.Object, Cluster: m.job.Chain.Cluster,
	})
}

// ErrUnread is a checkpoint of which a part could not be read now.
var ErrUnread = errors.New("not all of the checkpoint could be read")

// unusable: err is about the checkpoint, not about the reading.
func unusable(err error) bool {
	return lost.Unreadable(err) || errors.Is(err, errNotKept)
}

// readBack reads the checkpoint of a plan and makes sure that a start could begin
// there. Damage is read again: it may have been done on the way.
func (m *mover) readBack(ctx context.Context, plan FloorPlan) (hash [32]byte, err error) {
	key := segment.CheckpointKey(m.floors.journal, plan.At)
	for range maxDamagedReads {
		var b []byte
		if b, err = m.store.Get(ctx, key); err != nil {
			return hash, fmt.Errorf("read checkpoint: %w", err)
		}
		if err = m.check(ctx, plan, key, b); err == nil || !unusable(err) {
			return sha256.Sum256(b), err
		}
	}
	return hash, err
}

func (m *mover) check(ctx context.Context, plan FloorPlan, key string, b []byte) error {
	c, err := OpenCheckpoint(m.keeping.base, key, b)
	if err == nil {
		err = m.keeping.check(ctx, c)
	}
	if err != nil {
		return err
	}
	if m.opt.Check != nil {
		switch err := m.opt.Check(ctx, m.store, c); {
		case errors.Is(err, ErrUnread):
			return err
		case err != nil:
			return fmt.Errorf("%w: checkpoint %s: %w", segment.ErrCorrupt, key, err)
		}
	}
	o, err := ReadObject(ctx, m.store, m.floors.journal, plan.At.Seq)
	if err == nil && o.Ref() != plan.At {
		err = fmt.Errorf("%w: checkpoint %s stands for another object than the journal has", segment.ErrCorrupt, key)
	}
	return err
}

// create creates the floor object and finds out the outcome. All nodes that may create
// it have the same bytes. An outcome that is not known now is asked for again after the
// next checkpoint: the request may still land, and its effect is right then, too.
func (m *mover) create(ctx context.Context, plans FloorPlans, floor segment.Floor) error {
	data, err := segment.EncodeFloor(floor)
	if err != nil {
		return err
	}
	key := segment.FloorKey(floor.Journal, floor.N)
	createErr := m.store.Create(ctx, key, objstore.Plain(data))
	if createErr == nil {
		return nil
	}
	got, err := m.store.Get(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("create floor %d of journal %d: %w", floor.N, floor.Journal, errors.Join(createErr, err))
	case bytes.Equal(got, data):
		return nil
	}
	if err := m.floors.take(floor.N, got); err != nil {
		return err
	}
	if plans.Has(m.floors.floor, floor.Journal) {
		return nil // an earlier plan for the number was carried out after all
	}
	return m.rival()
}

// rival: there is a floor that this journal, as far as it was read, has not planned.
func (m *mover) rival() error {
	return fmt.Errorf("%w: floor %d of journal %d, at seq %d, is another leader's", ErrFenced, m.floors.n, m.floors.journal, m.floors.floor.Floor)
}

// tidy removes the checkpoints below the floor but those that the last two floors
// name. No floor to come can name a lower one: this holds for a leader too that was
// deposed long ago and does not know it.
func (m *mover) tidy(ctx context.Context, found []segment.Ref) error {
	var old []string
	for _, at := range found {
		if key := segment.CheckpointKey(m.floors.journal, at); at.Seq < m.floors.floor.Floor && key != m.floors.floor.Checkpoint {
			old = append(old, key)
		}
	}
	if len(old) < 2 { // the last one is that of the floor before
		return nil
	}
	before := &floors{}
	if m.floors.n > 1 {
		var err error
		if before, err = m.floors.before(ctx); err != nil {
			return err
		}
	}
	for _, key := range old {
		if key == before.floor.Checkpoint {
			continue
		}
		if err := m.store.Delete(ctx, key); err != nil {
			return fmt.Errorf("remove old checkpoint: %w", err)
		}
	}
	return nil
}
