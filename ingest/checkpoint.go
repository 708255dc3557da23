package ingest

import (
	"context"
	"fmt"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// defaultMinPaged is how many refs of a partition make a page of the index worth while;
// fewer stay in the checkpoint itself.
const defaultMinPaged = 64

// paging has the index objects of the checkpoint being written.
type paging struct {
	index *partlog.Index // nil if the checkpoint has none
	page  segment.ID     // the index's object

	producers *partlog.ProducerPlan // nil if the checkpoint has no new pages of them
}

// planCheckpoint bounds the objects that the next start has to read. It runs between two
// events, when everything the journal confirmed is applied to the state.
func (c *core) planCheckpoint(chain journal.Chain, history journal.History) journal.CheckpointJob {
	job := journal.CheckpointJob{Chain: chain, History: history, Named: c.state.IndexObjects()}
	c.paging = paging{producers: c.state.PlanProducers(c.newID, c.producerPaging)}
	if index, ok := c.state.PlanIndex(c.minPaged); ok {
		c.paging.index, c.paging.page = index, c.newID()
		job.Indexes = append(job.Indexes, journal.IndexObject{Name: index.Name(c.paging.page), Payload: index.Payload()})
	}
	if c.paging.producers != nil {
		for _, o := range c.paging.producers.Objects {
			job.Indexes = append(job.Indexes, journal.IndexObject{Name: o.Name, Payload: o.Payload})
		}
	}
	job.State = c.state.Encode(c.paging.index, c.paging.page, c.paging.producers)
	if c.attached != nil {
		job.Attached = c.attached()
	}
	return job
}

func (o *Options) checkCheckpoint(ctx context.Context, store objstore.Store, c *journal.Checkpoint) error {
	return startable(ctx, store, c, o.CheckAttached)
}

// startable returns why no node could start from a checkpoint of a data journal, or
// nil. attached is Options.CheckAttached.
func startable(ctx context.Context, store objstore.Store, c *journal.Checkpoint, attached func([]byte) error) error {
	err := partlog.Check(c.Chain.Journal, c.State, restore.Pages(ctx, store))
	if err != nil && !lost.Unreadable(err) {
		return fmt.Errorf("%w: %w", journal.ErrUnread, err)
	}
	if err == nil && attached != nil {
		err = attached(c.Attached)
	}
	return err
}

// CheckSpared returns why objects below a checkpoint of a data journal may not be deleted,
// or nil. No node could start from it, or it names an index object that is stored once:
// the journal could not make that again (tiering/journal/PROTOCOL.md, rule 23). attached is
// Options.CheckAttached.
func CheckSpared(ctx context.Context, store objstore.Store, c *journal.Checkpoint, attached func([]byte) error) error {
	if err := startable(ctx, store, c, attached); err != nil {
		return err
	}
	names, err := restore.Names(c)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.Seq == 0 {
			return fmt.Errorf("%w: %s", errSingle, n.Key())
		}
	}
	return nil
}

// errSingle: later checkpoints do without the index object.
var errSingle = fmt.Errorf("%w: an index object has no second copy", journal.ErrNotYet)

// checkpointed follows a checkpoint that is durable: refs that are in its index page leave
// the memory, and the next checkpoint does not repeat producers that are in pages. more
// reports that there are more refs than one page can hold, so that the next checkpoint
// should not wait.
func (c *core) checkpointed(res journal.CheckpointResult) (more bool) {
	if res.Plan != nil {
		c.floor.plan = res.Plan
		c.commands.ride(&c.floor)
	}
	for _, r := range res.Renewed {
		c.state.Renamed(r.Old, r.New)
	}
	if len(res.Renewed) > 0 { // the checkpoint is not written
		c.paging = paging{}
		return true
	}
	if res.Err == nil && c.paging.index != nil {
		c.state.Paged(c.paging.index, c.paging.page)
		more = c.paging.index.More()
	}
	if res.Err == nil && c.paging.producers != nil {
		c.state.PagedProducers(c.paging.producers)
	}
	c.paging = paging{}
	return more
}

// floorPlan is the command that plans the floor: the newest plan only.
type floorPlan struct {
	unawaited
	plan *journal.FloorPlan
}

func (f *floorPlan) propose(add func(segment.Entry)) { add(f.plan.Entry()) }
