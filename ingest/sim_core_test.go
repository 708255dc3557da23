package ingest

import "fmt"

// Questions of the simulations to a core. They read no field of it themselves.

// idle reports whether the core leads, accepts requests and has nothing left to do.
func (c *core) idle() bool {
	return c.accepting && !c.closing && c.flusher.idle() && len(c.commands.waiting) == 0 && !c.answers.settlement.awaited() && c.flushed()
}

// flushed reports whether everything appended is committed and answered.
func (c *core) flushed() bool {
	return c.answers.committed == c.answers.appended && len(c.answers.onCommit.queue) == 0
}

// explain says where a core stands.
func (c *core) explain() string {
	a, f := &c.answers, &c.flusher
	return fmt.Sprintf("epoch %d, accepting %v, stalled %v, %d of %d committed, %d synced, %d in flight, %d entries, %d commands, %d waiting, older logs %d, room %v, head %d",
		c.epoch, c.accepting, c.stalled, a.committed, a.appended, a.synced, len(f.inFlight), len(f.buffer.entries), len(c.commands.waiting),
		len(a.onCommit.queue)+len(a.onSync.queue), len(c.replay.older), c.journal.Room(), c.state.Head())
}
