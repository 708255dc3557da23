package merge

import "time"

// idleJobs is how many jobs' worth one job reads from a journal to which nothing is written.
// Each entry of a merge waits for minutes there (tiering/journal/PROTOCOL.md, rule 26), so
// jobs of the usual size would take days for the records of an hour. On a busy journal they are
// small, because the end of a leadership undoes the job that is under way.
const idleJobs = 20

// roomPart: such a job takes no more than this part of the free disk.
const roomPart = 4

// bound is how much a job reads, and until when.
type bound struct {
	bytes int64
	until time.Time
}

func (b *bound) reached(bytes int64, now time.Time) bool {
	return bytes >= b.bytes || !now.Before(b.until)
}

// bounds are those of a job of the journal: one while nothing is written to the journal since
// the job began, and one from then on.
type bounds struct {
	idle, busy bound
	head       func() uint64
	began      uint64
}

// bounds returns those of the next job. One after a failure is small.
func (x *Executor) bounds() bounds {
	now := x.opt.Clock.Now()
	busy := bound{bytes: x.cfg.JobBytes / x.scale, until: now.Add(x.cfg.JobTime)}
	b := bounds{idle: busy, busy: busy, head: x.opt.State.Head, began: x.opt.State.Head()}
	if !x.failed && x.opt.Room != nil {
		b.idle.bytes = max(busy.bytes, min(idleJobs*x.cfg.JobBytes, x.opt.Room()/roomPart))
		b.idle.until = now.Add(idleJobs * x.cfg.JobTime)
	}
	return b
}

func (b *bounds) reached(bytes int64, now time.Time) bool {
	if b.head() == b.began {
		return b.idle.reached(bytes, now)
	}
	return b.busy.reached(bytes, now)
}
