package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// checkpointEvery is how many objects a start reads beyond the newest
	// checkpoint, about.
	checkpointEvery = 256
	// checkpointsKept is how many checkpoints stay in the bucket, the newest.
	checkpointsKept = 4
	// checkpointLimit bounds the writing of one.
	checkpointLimit = time.Minute
)

// Checkpointer writes the checkpoints of a journal that is led, one at a time, on
// a goroutine of its own. Due, Start and the receiving from Done are for the
// journal's owner.
type Checkpointer struct {
	store  objstore.Store
	newID  func() segment.ID
	last   uint64 // seq of the last checkpoint
	every  uint64 // how many objects after it the next one is due
	busy   bool
	done   chan error
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewCheckpointer is for a journal whose newest checkpoint is at seq last, 0 if
// there is none.
func NewCheckpointer(store objstore.Store, newID func() segment.ID, last uint64) *Checkpointer {
	ctx, cancel := context.WithCancel(context.Background())
	return &Checkpointer{store: store, newID: newID, last: last, every: checkpointEvery, done: make(chan error, 1), ctx: ctx, cancel: cancel}
}

// Due reports whether a checkpoint should be written at this chain: enough has
// come since the last one, none is being written, and the object below Next is a
// valid one, to name it by.
func (c *Checkpointer) Due(chain Chain) bool {
	return !c.busy && chain.Last.Seq == chain.Next-1 && chain.Next-1 >= c.last+c.every
}

// CheckpointJob is what a checkpoint is made of.
type CheckpointJob struct {
	Chain   Chain
	History History
	// Index is the payload of a new index page, nil if there is none, and Page the
	// id it will be found by.
	Index []byte
	Page  segment.ID
	State []byte // names Page, if there is one
	// Attached is Checkpoint's.
	Attached []byte
}

// Start writes a checkpoint. Done tells when it is durable, or why it is not.
func (c *Checkpointer) Start(job CheckpointJob) {
	c.busy, c.every = true, checkpointEvery
	c.last = job.Chain.Next - 1 // a failed one is made up for by the next
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, checkpointLimit)
		defer cancel()
		c.done <- c.write(ctx, job)
	})
}

// Done gives the outcome of each Start; Finished must be called with it.
func (c *Checkpointer) Done() <-chan error { return c.done }

// Finished makes room for the next Start. That a checkpoint could not be written
// costs the next start time, and nothing else: it is told and made up for later.
func (c *Checkpointer) Finished(err error, log *slog.Logger) {
	c.busy = false
	if err != nil && c.ctx.Err() == nil {
		log.Warn("checkpoint not written, trying again later", "error", err)
	}
}

// Hurry makes the next checkpoint due at the next object.
func (c *Checkpointer) Hurry() { c.every = 1 }

// Close gives up what is being written and waits.
func (c *Checkpointer) Close() {
	c.cancel()
	c.wg.Wait()
}

// write stores the page, then the checkpoint that names it, and then removes
// checkpoints that nobody needs any more.
func (c *Checkpointer) write(ctx context.Context, job CheckpointJob) error {
	at, journal := job.Chain.Last, job.Chain.Journal
	if job.Index != nil {
		blob := segment.Blob{Kind: segment.KindIndex, Cluster: job.Chain.Cluster, Object: job.Page, Journal: journal, Seq: at.Seq, Payload: job.Index}
		if err := c.create(ctx, segment.IndexKey(journal, job.Page), blob); err != nil {
			return fmt.Errorf("write index page of journal %d: %w", journal, err)
		}
	}
	cp := Checkpoint{Chain: job.Chain, History: job.History, State: job.State, Attached: job.Attached}
	blob := segment.Blob{Kind: segment.KindCheckpoint, Cluster: job.Chain.Cluster, Object: c.newID(), Journal: journal, Seq: at.Seq, Payload: cp.encode()}
	if err := c.create(ctx, segment.CheckpointKey(journal, at), blob); err != nil {
		return fmt.Errorf("write checkpoint of journal %d at seq %d: %w", journal, at.Seq, err)
	}
	return c.tidy(ctx, journal)
}

// create creates an object and, if that is not plainly confirmed, looks whether
// the bytes are there.
func (c *Checkpointer) create(ctx context.Context, key string, blob segment.Blob) error {
	data, err := segment.EncodeBlob(blob)
	if err != nil {
		return err
	}
	createErr := c.store.Create(ctx, key, data)
	if createErr == nil {
		return nil
	}
	got, err := c.store.Get(ctx, key)
	switch {
	case err != nil:
		return errors.Join(createErr, err)
	case !bytes.Equal(got, data):
		return createErr
	}
	return nil
}

// tidy removes all but the newest checkpoints. The one that the floor names is
// never among those that are removed.
func (c *Checkpointer) tidy(ctx context.Context, journal uint32) error {
	f := floors{store: c.store, journal: journal}
	if _, err := f.read(ctx); err != nil {
		return err
	}
	found, err := listCheckpoints(ctx, c.store, journal)
	if err != nil {
		return err
	}
	for i := 0; i < len(found)-checkpointsKept; i++ {
		key := segment.CheckpointKey(journal, found[i])
		if key == f.floor.Checkpoint || found[i].Seq < f.floor.Floor {
			continue
		}
		if err := c.store.Delete(ctx, key); err != nil {
			return fmt.Errorf("remove old checkpoint: %w", err)
		}
	}
	return nil
}
