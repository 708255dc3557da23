package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// checkpointLimit bounds the writing of a checkpoint with the moving of the floor. It
// bounds the reading of one, too: a checkpoint that was written and read back in this
// time can be read in it.
const checkpointLimit = time.Minute

// CheckpointPolicy says how often checkpoints are written and the floor moves.
// Fields that are zero have the default.
type CheckpointPolicy struct {
	// Every is how many objects a start reads beyond the newest checkpoint, about.
	Every uint64 // default 256: at 4 objects a second one checkpoint a minute
	// Bytes is of how many bytes of batches these objects are, at most.
	Bytes int64 // default 1 GiB
	// Pause is how long two checkpoints are apart at least, unless 16 times as many objects
	// or bytes have come. Without it a journal with 300 objects a second has a checkpoint a
	// second, and the floor passes a follower that is a few seconds behind.
	Pause time.Duration // default none
	// Most is how many checkpoints there may be above the floor before it moves. A
	// start that finds none of them reads the objects of each.
	Most int // default 6: objects below the floor but one can be deleted
	// Behind is how many checkpoints stay above the floor when it moves. A follower of
	// the journal falls below the floor only when it is as far behind.
	Behind int // default 4, as many as a start looks at
}

// without is how many times as many objects or bytes make a checkpoint due without a pause.
const without = 16

func (p CheckpointPolicy) withDefaults() CheckpointPolicy {
	if p.Every == 0 {
		p.Every = 256
	}
	if p.Bytes == 0 {
		p.Bytes = 1 << 30
	}
	if p.Most == 0 {
		p.Most = 6
	}
	if p.Behind == 0 {
		p.Behind = maxHints
	}
	return p
}

// CheckpointerOptions say how the checkpoints of one journal are written. NewID is
// needed.
type CheckpointerOptions struct {
	NewID func() segment.ID
	Last  uint64 // seq of the journal's newest checkpoint, 0 if there is none
	// Check says why a checkpoint could not be started from, nil if it could: the
	// floor moves only to one that was read back and found good. It must not keep c,
	// and runs next to its owner.
	//
	// An error that is ErrUnread leaves open whether it is good.
	Check func(ctx context.Context, store objstore.Store, c *Checkpoint) error
	// Names are the index objects of checkpoints: the floor moves only to one whose index
	// objects are all kept.
	Names  Names
	Policy CheckpointPolicy
	// OnTrouble is called with the reason each time that a step is not done, once that
	// is not likely to pass by itself. It is called with nil when the step is done
	// again. It must not block.
	OnTrouble func(step Step, err error)
}

// Step is a part of the work of a Checkpointer, one after the other.
type Step string

// The steps. A failure of one keeps the next ones from being tried.
const (
	WriteCheckpoint Step = "checkpoint"
	MoveFloor       Step = "floor"
	RemoveOld       Step = "old checkpoints"
)

// lasting is how often in a row a step fails before that is a trouble.
const lasting = 3

// failing is a step that failed the last time.
type failing struct {
	times    int // in a row
	reported bool
}

// Checkpointer writes the checkpoints of a journal that is led, one at a time, and
// moves the journal's floor after them. Due, Begin and Finished are for the owner of the
// journal. Write may run next to it, between Begin and Finished.
type Checkpointer struct {
	opt    CheckpointerOptions
	last   uint64 // seq of the last checkpoint
	every  uint64 // how many objects after it the next one is due
	bytes  int64  // of batches applied since then
	now    time.Time
	begun  time.Time // when the last checkpoint was begun
	busy   bool
	plan   segment.ID // floor object of the plan given out last, until the journal holds it
	failed map[Step]failing

	floors  floors // as of the last Write, whose these are
	keeping keeping
}

// NewCheckpointer prepares to write.
func NewCheckpointer(opt CheckpointerOptions) *Checkpointer {
	opt.Policy = opt.Policy.withDefaults()
	return &Checkpointer{opt: opt, last: opt.Last, every: opt.Policy.Every, failed: map[Step]failing{}}
}

// Applied takes note of an object.
func (c *Checkpointer) Applied(f *segment.Footer) {
	for i := range f.Partitions {
		c.bytes += int64(f.Partitions[i].Length)
	}
}

// Due reports whether a checkpoint should be written at this chain. Enough objects or bytes
// have come since the last one, or some if the pause after it is over. None is being
// written, and the object below Next is a valid one, to name it by.
func (c *Checkpointer) Due(chain Chain, now time.Time) bool {
	c.now = now
	if c.busy || chain.Last.Seq != chain.Next-1 || chain.Next-1 <= c.last {
		return false
	}
	objects := chain.Next - 1 - c.last
	if objects < c.every && c.bytes < c.opt.Policy.Bytes {
		return false
	}
	paused := c.every > 1 && !c.begun.IsZero() && now.Sub(c.begun) < c.opt.Policy.Pause
	return !paused || objects >= without*c.every || c.bytes >= without*c.opt.Policy.Bytes
}

// CheckpointJob holds the parts of a checkpoint.
type CheckpointJob struct {
	Chain   Chain
	History History
	Indexes []IndexObject // new ones
	// Named are the older index objects that State names.
	Named []segment.IndexName
	State []byte
	// Attached is Checkpoint's.
	Attached []byte

	plan bool // a floor may be planned: none is on its way into the journal
}

// IndexObject is an index object to be written before a checkpoint that names it: twice, if
// its key has a seq.
type IndexObject struct {
	Name    segment.IndexName
	Payload []byte
}

// CheckpointResult is the outcome of a job.
type CheckpointResult struct {
	// Renewed are index objects that were written again, because no floor keeps them. No
	// checkpoint was written: the state must name these first, and the next one follow soon.
	Renewed []Renewal
	// Err is why the checkpoint is not known to be durable, nil if it is.
	Err error
	// FloorErr is why the floor did not move though it should have. If it is ErrFenced
	// the leadership is over.
	FloorErr error
	// RemoveErr is why old checkpoints were not removed.
	RemoveErr error
	// Plan must be in the next data segment so that the floor moves; nil if there is
	// none. The owner waits with it for a segment that is written anyway.
	Plan *FloorPlan
}

// Begin takes note of a job before Write.
func (c *Checkpointer) Begin(job *CheckpointJob) {
	c.busy, c.every = true, c.opt.Policy.Every
	c.bytes, c.begun = 0, c.now
	c.last = job.Chain.Next - 1 // a failed one is made up for by the next
	if c.plan == job.History.floors.last().Object {
		c.plan = segment.ID{}
	}
	job.plan = c.plan.IsZero()
}

// Finished takes the outcome of Write. A checkpoint that was not written, or a floor
// that did not move, costs the next start of a node time and nothing else. It is logged
// and made up for later. The error, if any, ends the leadership.
func (c *Checkpointer) Finished(res CheckpointResult, log *slog.Logger) error {
	c.busy = false
	if res.Plan != nil {
		c.plan = res.Plan.Object
	}
	switch {
	case errors.Is(res.FloorErr, ErrFenced):
		return res.FloorErr
	case errors.Is(res.Err, ErrBelowFloor):
		return res.Err
	case res.Err == nil && len(res.Renewed) > 0:
		return nil
	}
	for _, step := range []struct {
		step Step
		err  error
	}{{WriteCheckpoint, res.Err}, {MoveFloor, res.FloorErr}, {RemoveOld, res.RemoveErr}} {
		if step.err != nil {
			c.stepFailed(step.step, step.err, log)
			return nil // the next ones were not tried
		}
		c.stepDone(step.step, log)
	}
	return nil
}

// Dropped takes note that the outcome of Write is of no use: the leadership that began it is
// over.
func (c *Checkpointer) Dropped() { c.busy = false }

// Deposed takes note that the leadership is over. A plan that the journal does not hold yet
// is given up, and troubles are those of the next leader.
func (c *Checkpointer) Deposed() {
	c.plan = segment.ID{}
	for step, f := range c.failed {
		if f.reported {
			c.opt.OnTrouble(step, nil)
		}
	}
	clear(c.failed)
}

// stepFailed logs or reports a step that failed.
func (c *Checkpointer) stepFailed(step Step, err error, log *slog.Logger) {
	f := c.failed[step]
	f.times++
	stays := errors.Is(err, ErrDamaged) || errors.Is(err, ErrBroken) || errors.Is(err, objstore.ErrDenied)
	switch {
	case c.opt.OnTrouble != nil && (stays || f.times >= lasting || f.reported):
		c.opt.OnTrouble(step, err)
		f.reported = true
	default:
		log.Warn(notDone[step]+", trying again later", "error", err)
	}
	c.failed[step] = f
}

// stepDone logs or reports that a step that failed the last time is done again.
func (c *Checkpointer) stepDone(step Step, log *slog.Logger) {
	f, ok := c.failed[step]
	if !ok {
		return
	}
	delete(c.failed, step)
	if f.reported {
		c.opt.OnTrouble(step, nil)
		return
	}
	log.Info(doneAgain[step])
}

var notDone = map[Step]string{
	WriteCheckpoint: "checkpoint not written", MoveFloor: "floor not moved", RemoveOld: "old checkpoints not removed",
}

var doneAgain = map[Step]string{
	WriteCheckpoint: "checkpoints are written again", MoveFloor: "floor moves again", RemoveOld: "old checkpoints are removed again",
}

// Hurry makes the next checkpoint due at the next object.
func (c *Checkpointer) Hurry() { c.every = 1 }

// Write stores the index objects and the checkpoint that names them, then moves the floor if
// that is due, and removes checkpoints that are of no more use.
func (c *Checkpointer) Write(ctx context.Context, store objstore.Store, job CheckpointJob) CheckpointResult {
	c.floors.store, c.floors.journal = store, job.Chain.Journal
	c.keeping.floors, c.keeping.names = &c.floors, c.opt.Names
	c.keeping.base = NewChain(job.Chain.Cluster, job.Chain.Journal, int(job.Chain.Window))
	if renewed, err := c.renew(ctx, store, &job); err != nil || len(renewed) > 0 {
		return CheckpointResult{Err: err, Renewed: renewed}
	}
	if err := c.write(ctx, store, job); err != nil {
		return CheckpointResult{Err: err}
	}
	m := mover{opt: &c.opt, store: store, job: &job, floors: &c.floors, keeping: &c.keeping}
	return m.move(ctx)
}

func (c *Checkpointer) write(ctx context.Context, store objstore.Store, job CheckpointJob) error {
	at, journal := job.Chain.Last, job.Chain.Journal
	for _, x := range job.Indexes {
		if err := c.writeIndex(ctx, store, &job, x); err != nil {
			return err
		}
	}
	cp := Checkpoint{Chain: job.Chain, History: job.History, State: job.State, Attached: job.Attached}
	blob := segment.Blob{Kind: segment.KindCheckpoint, Cluster: job.Chain.Cluster, Object: c.opt.NewID(), Journal: journal, Seq: at.Seq, Payload: cp.encode()}
	if err := create(ctx, store, segment.CheckpointKey(journal, at), blob); err != nil {
		return fmt.Errorf("write checkpoint of journal %d at seq %d: %w", journal, at.Seq, err)
	}
	return nil
}

func (c *Checkpointer) writeIndex(ctx context.Context, store objstore.Store, job *CheckpointJob, x IndexObject) error {
	blob := segment.Blob{Kind: segment.KindIndex, Cluster: job.Chain.Cluster, Object: x.Name.Object, Journal: x.Name.Journal, Seq: job.Chain.Last.Seq, Payload: x.Payload}
	for _, name := range x.Name.Copies() {
		if err := create(ctx, store, name.Key(), blob); err != nil {
			return fmt.Errorf("write index page of journal %d: %w", x.Name.Journal, err)
		}
	}
	return nil
}

// create creates an object and reads it back, whatever the outcome. A checkpoint that
// a floor names one day is complete if all its pages were there before it, as they were
// written.
func create(ctx context.Context, store objstore.Store, key string, blob segment.Blob) error {
	data, err := segment.EncodeBlob(blob)
	if err != nil {
		return err
	}
	createErr := store.Create(ctx, key, objstore.Plain(data))
	got, err := store.Get(ctx, key)
	switch {
	case err != nil:
		return errors.Join(createErr, err)
	case !bytes.Equal(got, data):
		return errors.Join(createErr, fmt.Errorf("%w: %s reads back otherwise than it was written", segment.ErrCorrupt, key))
	}
	return nil
}
