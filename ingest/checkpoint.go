package ingest

import (
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// minPaged is how many refs of a partition make a page of the index worth while;
// fewer stay in the checkpoint itself.
const minPaged = 64

// paging is the index page of the checkpoint being written.
type paging struct {
	index *partlog.Index // nil if the checkpoint has none
	page  segment.ID     // the index's object
}

// planCheckpoint bounds the objects that the next start has to read. It runs between two
// events, when everything the journal confirmed is applied to the state.
func (c *core) planCheckpoint(chain journal.Chain, history journal.History) journal.CheckpointJob {
	job := journal.CheckpointJob{Chain: chain, History: history}
	c.paging = paging{}
	if index, ok := c.state.PlanIndex(minPaged); ok {
		c.paging = paging{index: index, page: c.newID()}
		job.Index, job.Page = index.Payload(), c.paging.page
	}
	job.State = c.state.Encode(c.paging.index, c.paging.page)
	if c.attached != nil {
		job.Attached = c.attached()
	}
	return job
}

// checkCheckpoint returns why no node could start from a checkpoint of a data journal.
func (o *Options) checkCheckpoint(c *journal.Checkpoint) error {
	_, err := partlog.Decode(c.Chain.Journal, c.State)
	if err == nil && o.CheckAttached != nil {
		err = o.CheckAttached(c.Attached)
	}
	return err
}

// checkpointed drops the refs that the index page holds now, once a checkpoint that
// names the page is durable. more reports that there are more than one page can hold,
// so that the next checkpoint should not wait.
func (c *core) checkpointed(res journal.CheckpointResult) (more bool) {
	if res.Plan != nil {
		c.floor.plan = res.Plan
		c.commands.ride(&c.floor)
	}
	if res.Err == nil && c.paging.index != nil {
		c.state.Paged(c.paging.index, c.paging.page)
		more = c.paging.index.More()
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
