package ingest

import (
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// minPaged is how many refs of a partition make a page of the index worth while;
// fewer stay in the checkpoint itself.
const minPaged = 64

// planCheckpoint bounds what the next start has to read. It runs between two
// events, when everything the journal confirmed is applied to the state.
func (c *core) planCheckpoint(chain journal.Chain, history journal.History) journal.CheckpointJob {
	job := journal.CheckpointJob{Chain: chain, History: history}
	c.index = nil
	if index, ok := c.state.PlanIndex(minPaged); ok {
		c.index, c.page = index, c.newID()
		job.Index, job.Page = index.Payload(), c.page
	}
	job.State = c.state.Encode(c.index, c.page)
	if c.attached != nil {
		job.Attached = c.attached()
	}
	return job
}

// checkCheckpoint says why nobody could start from a checkpoint of a data journal.
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
	if res.Err == nil && c.index != nil {
		c.state.Paged(c.index, c.page)
		more = c.index.More()
	}
	c.index = nil
	return more
}

// floorPlan is the command that plans the floor: the newest plan only.
type floorPlan struct {
	unawaited
	plan *journal.FloorPlan
}

func (f *floorPlan) propose(add func(segment.Entry)) { add(f.plan.Entry()) }
