package ingest

import (
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
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

// checkpointed lets go of what the index page holds now, once a checkpoint that
// names the page is durable. more tells that there was more than one page can hold,
// so that the next checkpoint should not wait. A plan for the floor waits for the
// next segment: an idle journal writes none for it.
func (c *core) checkpointed(res journal.CheckpointResult) (more bool) {
	if res.Plan != nil {
		c.floor = res.Plan
	}
	if res.Err == nil && c.index != nil {
		c.state.Paged(c.index, c.page)
		more = c.index.More()
	}
	c.index = nil
	return more
}
