package ingest

import "fmt"

// Questions of the simulations to a core. They read no field of it themselves.

// idle reports whether the core leads, accepts requests and has nothing left to do.
func (c *core) idle() bool {
	return c.accepting && !c.closing && c.buffer.empty() && len(c.inFlight) == 0 &&
		len(c.commands.waiting) == 0 && len(c.settlement.waiting) == 0 && c.flushed()
}

// flushed reports whether everything appended is committed and answered.
func (c *core) flushed() bool { return c.committed == c.appended && len(c.onCommit.queue) == 0 }

// explain says where a core stands.
func (c *core) explain() string {
	return fmt.Sprintf("epoch %d, accepting %v, stalled %v, %d of %d committed, %d synced, %d in flight, %d entries, %d commands, %d waiting, older logs %d, room %v, head %d",
		c.epoch, c.accepting, c.stalled, c.committed, c.appended, c.synced, len(c.inFlight), len(c.buffer.entries), len(c.commands.waiting),
		len(c.onCommit.queue)+len(c.onSync.queue), len(c.replay.older), c.journal.Room(), c.state.Head())
}
