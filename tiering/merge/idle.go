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
	still, busy bound
	head        func() uint64
	began       uint64
}

// bounds returns those of the next job. One after a failure is small.
func (x *Executor) bounds() bounds {
	now := x.opt.Clock.Now()
	busy := bound{bytes: x.cfg.JobBytes / x.scale, until: now.Add(x.cfg.JobTime)}
	b := bounds{still: busy, busy: busy, head: x.opt.State.Head, began: x.opt.State.Head()}
	if !x.failed && x.opt.Room != nil {
		b.still.bytes = max(busy.bytes, min(idleJobs*x.cfg.JobBytes, x.opt.Room()/roomPart))
		b.still.until = now.Add(idleJobs * x.cfg.JobTime)
	}
	return b
}

// idle reports whether nothing was written to the journal since the job began.
func (b *bounds) idle() bool { return b.head() == b.began }

// calmBytes is how many bytes a shared object of the journal has at most while clients write
// and the job does not hurry. A store on one disk may write an object back in one burst when
// it ends, and flushes wait behind it. Shared objects are joined to larger ones later.
const calmBytes = 16 * mib

// sharedBytes is how many bytes a shared object of the job has at most.
func (g *gatherer) sharedBytes() int64 {
	if g.job.Level > 1 || g.bounds.idle() || g.x.opt.Hurry() {
		return g.x.cfg.ObjectBytes
	}
	return min(g.x.cfg.ObjectBytes, calmBytes)
}

func (b *bounds) reached(bytes int64, now time.Time) bool {
	if b.idle() {
		return b.still.reached(bytes, now)
	}
	return b.busy.reached(bytes, now)
}
