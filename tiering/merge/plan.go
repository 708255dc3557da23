package merge

import (
	"slices"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
)

// Partition is a partition as a Planner sees it.
type Partition struct {
	partlog.Key
	Start    int64  // records before it are deleted
	Ingested int64  // bytes of all batches that were ever appended
	Class    string // of retention: only partitions of one class share a segment

	// The journal's ranges that may be merged. There are none if First is 0.
	From    int64  // the offset up to which it is merged
	Stable  int64  // no range ends above it
	Pending int64  // bytes
	Deleted int64  // bytes of ranges that were deleted before they were merged
	First   uint64 // the seq of the first range, or 1 if that is not in memory

	// Merged are the merged extents in memory that may be read, in offset order.
	Merged []partlog.Extent
}

// Piece is a part of a job: adjacent merged extents of a partition, which become one.
type Piece struct {
	partlog.Key
	Start   int64
	Extents []partlog.Extent
}

// Ranges is a part of a job: the journal's ranges of a partition from an offset on.
type Ranges struct {
	partlog.Key
	Start, From, Stable int64
	Deleted             int64 // bytes of ranges before Start that no Result has counted
}

// Job is one piece of work.
type Job struct {
	// Level is 1 for a job that reads the journal, 2 for one that reads shared segments,
	// and 3 for one that also reads own ones.
	Level  int
	Ranges []Ranges // of level 1, in the order of their keys
	Pieces []Piece  // of the others, in the order of their keys
	// Own is the number of bytes from which on a partition gets segments of its own.
	Own int64
}

// bytes is how many bytes of batches the job's pieces have.
func (j *Job) bytes() (n int64) {
	for i := range j.Pieces {
		n += length(j.Pieces[i].Extents)
	}
	return n
}

// Debt is the part of a journal that is not merged.
type Debt struct {
	Bytes   int64
	Objects uint64        // seqs from the first range that is not merged to the head
	Age     time.Duration // since that range was first seen as the first one
	// Done are the bytes that did not wait any more, of those that were appended since the
	// leadership began, or could be merged then. Writing is a part of them, whatever the leader
	// before has left.
	Done int64
}

// Planner decides which job comes next. It is pure. Its owner calls Begin, Add with each
// partition in the order of their keys, and Next; then Done when the job has succeeded.
//
// Most bytes are written twice: into a shared segment, and then into an own one of OwnBytes
// or more, which is final. Small extents are joined before there are as many bytes, too. For
// all but the first time there is a credit of rewriteShare of the appended bytes, so the
// amplification stays below 2.5. A credit that is short makes extents wait, until more of
// them are joined at once.
type Planner struct {
	cfg Config

	begun     bool
	ingested  int64 // when it began, less the bytes of then that may be written again, or were not merged
	rewritten int64

	first uint64    // first seq that is not merged
	since time.Time // when that was first seen
	debt  Debt
	many  int // extents that may be merged again, of all partitions

	inRow int         // jobs of level 1 since the last turn of the others
	next  partlog.Key // of the tidying, which goes round the partitions
	seen  survey
}

// survey is all that a Planner keeps of the partitions that were added.
type survey struct {
	head     uint64
	now      time.Time
	first    uint64
	pending  int64
	ingested int64
	bytes    int64 // of extents that may be merged again
	small    int   // how many there are
	ranges   []Ranges
	own      [2]pieces // of small extents, and of those that are read well as they are
	tidy     [2]pieces // from the key next on, and before it
}

// The journal and the joins take turns. While behindJobs jobs of the journal wait, it has
// rowJobs of them in a row: producers are slowed down by its debt, and its replay takes the
// most requests. Joins go on, or shared extents pile up.
const (
	behindJobs = 4
	rowJobs    = 4
)

// rewriteShare is the credit for merging extents again, as a part of the appended bytes.
const rewriteShare = 1.5

// pieces are candidates for a job, up to a number of bytes.
type pieces struct {
	of   []Piece
	left int64
	next *partlog.Key // the first for which there was no room
}

func (p *pieces) add(x *Partition, run []partlog.Extent) {
	n := length(run)
	if p.next == nil && n > p.left {
		p.next = &x.Key
	}
	if p.next != nil {
		return
	}
	p.left -= n
	p.of = append(p.of, Piece{Key: x.Key, Start: x.Start, Extents: slices.Clone(run)})
}

// NewPlanner returns a Planner at the begin of a leadership. After one job of the journal,
// which is small, the others have a turn: if leaders die soon, some extents are joined, too.
func NewPlanner(cfg Config) *Planner { return &Planner{cfg: cfg.WithDefaults(), inRow: rowJobs - 1} }

// Debt is the debt as the last Next saw it.
func (p *Planner) Debt() Debt { return p.debt }

// Begin begins to look at the partitions. head is the seq of the last object that is
// applied.
func (p *Planner) Begin(head uint64, now time.Time) {
	both := [2]pieces{{left: p.cfg.JobBytes}, {left: p.cfg.JobBytes}}
	p.seen = survey{head: head, now: now, own: both, tidy: both}
}

// Add looks at a partition, and keeps nothing of its extents but those of candidates.
func (p *Planner) Add(x *Partition) {
	s := &p.seen
	s.ingested += x.Ingested
	if x.First > 0 {
		s.pending += x.Pending
		if s.first == 0 || x.First < s.first {
			s.first = x.First
		}
		s.ranges = append(s.ranges, Ranges{Key: x.Key, Start: x.Start, From: x.From, Stable: x.Stable, Deleted: x.Deleted})
	}
	before := s.now.Add(-p.cfg.TidyAge).UnixMilli()
	p.runs(x, func(run []partlog.Extent) {
		s.small += len(run)
		s.bytes += length(run)
		if sharedLength(run) < p.cfg.OwnBytes {
			if run = p.untidy(run, before); len(run) > 0 {
				s.tidy[flag(x.Compare(p.next) < 0)].add(x, run)
			}
			return
		}
		if run = upTo(p.fromShared(run), min(p.cfg.ObjectBytes, p.cfg.JobBytes)); length(run) >= p.cfg.OwnBytes {
			s.own[flag(length(run) >= int64(len(run))*p.cfg.OwnBytes/wellPart)].add(x, run)
		}
	})
}

func flag(is bool) int {
	if is {
		return 1
	}
	return 0
}

// Next returns the next job, nil if there is nothing to do.
func (p *Planner) Next() *Job {
	s := &p.seen
	defer func() { p.seen = survey{} }()
	p.many = s.small
	p.owe()
	due := p.due()
	if due && p.inRow < p.row() {
		return p.journal()
	}
	p.inRow = 0
	for _, job := range []func() *Job{
		func() *Job { return p.again(p.cfg.OwnBytes, s.own[0].of) },
		func() *Job {
			if !due {
				return nil
			}
			return p.journal()
		},
		p.tidy,
		func() *Job { return p.again(p.cfg.OwnBytes, s.own[1].of) },
	} {
		if j := job(); j != nil {
			return j
		}
	}
	return nil
}

// row is how many jobs of the journal come before the others have a turn. If there are many
// small extents, joining them is as urgent.
func (p *Planner) row() int {
	if p.debt.Bytes >= behindJobs*p.cfg.DueBytes && p.many < p.cfg.MaxExtents {
		return rowJobs
	}
	return 1
}

// journal is the job of level 1.
func (p *Planner) journal() *Job {
	p.inRow++
	return &Job{Level: 1, Own: p.cfg.OwnBytes, Ranges: p.seen.ranges}
}

// tidy is the job that joins small extents of partitions that have many. It goes round the
// partitions in the order of their keys, because so do the bytes of shared segments: a job
// reads each segment in few pieces.
func (p *Planner) tidy() *Job {
	t := &p.seen.tidy
	all := t[0].of
	if t[0].next == nil {
		all = append(all, t[1].of...)
	}
	j := p.again(p.cfg.SmallBytes, all)
	switch {
	case j != nil && len(j.Pieces) < len(all):
		p.next = all[len(j.Pieces)].Key
	case j != nil && t[0].next != nil:
		p.next = *t[0].next
	}
	return j
}

// again is a job that merges extents again, as many as there is a credit for.
func (p *Planner) again(own int64, all []Piece) *Job {
	if p.ingested > p.seen.ingested {
		p.ingested = p.seen.ingested // partitions have gone
	}
	left := min(p.cfg.JobBytes, int64(rewriteShare*float64(p.seen.ingested-p.ingested))-p.rewritten)
	j := &Job{Level: 2, Own: own}
	for i := range all {
		x := &all[i]
		if left -= length(x.Extents); left < 0 {
			break
		}
		if sharedLength(x.Extents) < length(x.Extents) {
			j.Level = 3
		}
		j.Pieces = append(j.Pieces, *x)
	}
	if len(j.Pieces) == 0 {
		return nil
	}
	j.Pieces = slices.SortedFunc(slices.Values(j.Pieces), func(a, b Piece) int { return a.Compare(b.Key) })
	return j
}

// Done notes a job that succeeded.
func (p *Planner) Done(j *Job) {
	p.rewritten += j.bytes()
}

// owe notes the debt.
func (p *Planner) owe() {
	s := &p.seen
	if !p.begun {
		p.begun, p.ingested = true, s.ingested-s.bytes-s.pending
	}
	if s.first != p.first {
		p.first, p.since = s.first, s.now
	}
	p.debt = Debt{Bytes: s.pending, Done: max(0, s.ingested-p.ingested-s.pending)}
	if s.first > 0 {
		p.debt.Objects, p.debt.Age = s.head+1-min(s.first, s.head+1), s.now.Sub(p.since)
	}
}

// due reports whether enough of the journal waits.
func (p *Planner) due() bool {
	d := &p.debt
	return d.Bytes > 0 && (d.Bytes >= p.cfg.DueBytes || d.Objects >= p.cfg.DueObjects || d.Age >= p.cfg.DueAge)
}
