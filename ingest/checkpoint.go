package ingest

import (
	"github.com/varvelog/varve/tiering/journal"
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

// checkpointed lets go of what the index page holds now, once a checkpoint that
// names the page is durable. more tells that there was more than one page can hold,
// so that the next checkpoint should not wait.
func (c *core) checkpointed(err error) (more bool) {
	if err == nil && c.index != nil {
		c.state.Paged(c.index, c.page)
		more = c.index.More()
	}
	c.index = nil
	return more
}
