package merge

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// Topic is a topic as jobs need it.
type Topic struct {
	Name string
	// Class is the class of retention: only partitions of one class share a segment, so
	// that records which are kept for long do not keep those of others.
	Class string
	// Recompress says that batches of other codecs are written again.
	Recompress bool
	Codec      batch.Codec
	Level      int
}

// Clock is time. Sleep returns early with the error of ctx when that ends.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// Options are the surroundings of an Executor. Fields without a default are required.
type Options struct {
	Config
	Cluster           segment.ID
	Journal           uint32
	Node, Incarnation segment.ID
	Store             objstore.Store
	State             *partlog.State // only read
	// Carry commits entries in one object, and returns nil when they are applied. See
	// upkeep.Journal.
	Carry func(context.Context, []segment.Entry) error
	// Memory returns a journal object that the leader has in memory. The bytes are not
	// changed before release is called.
	Memory func(segment.Name) (b []byte, release func(), ok bool)
	// Page reads an index page.
	Page func(context.Context, *partlog.Page) (*partlog.PageExtents, error)
	// Topic returns a topic; false if there is none with this id.
	Topic func(segment.ID) (Topic, bool)
	Disk  Disk
	// Room returns how many bytes of the disk are free. Without it no job of an idle journal is
	// larger than others.
	Room  func() int64
	Clock Clock
	NewID func() segment.ID
	// Pace waits until a job may move so many more bytes. Several goroutines call it. It may
	// be left out.
	Pace func(ctx context.Context, bytes int64) error
	// CopyOnly reports that merging lags behind, and writes no batch again. It may be left
	// out.
	CopyOnly func() bool
	// Hurry reports whether a job may read and make several objects at once. Otherwise it
	// leaves more of the processors and of the store to clients. It may be left out: then
	// jobs hurry.
	Hurry func() bool
	// OnDamage is called with each source that cannot be read, and with nil when it can be
	// read again. It must not block, and may be left out.
	OnDamage func(partlog.Key, partlog.Extent, error)
	// OnMismatch is called with each ErrMismatch, and with nil when all records that it was
	// about were merged right since, or are deleted. It must not block, and may be left out.
	OnMismatch func(error)
	// Sequential keeps a job from starting goroutines.
	Sequential bool
	Log        *slog.Logger // of each step of a job, at level debug; may be left out
}

// Executor carries out the jobs of a journal, one at a time, for one leadership. One
// goroutine owns it, but for Stats. Up to two others make the outputs of a job while it waits
// for them.
type Executor struct {
	opt      Options
	cfg      Config
	suspects suspects
	wrong    mismatches
	named    map[segment.ID]bool // topics whose name is in the bucket
	scale    int64               // jobs of the journal read this part of Config.JobBytes: the first ones, and those after the disk was full
	failed   bool                // the last job
	count    counters
}

// Stats are counts of an Executor's work since it began.
type Stats struct {
	ReadBytes, WrittenBytes int64
	ReadObjects             int64 // GETs
	WrittenObjects          int64
	Jobs                    [4]int64 // that succeeded, by level
	Failed                  int64
	DamagedSources          int64 // that were given up
	Mismatches              int64 // outputs that differed from their sources
	// Entries that were committed.
	Intents, Results, Abandons int64
	// Bytes of batches that were compressed in another way, before and after.
	RecompressedFrom, RecompressedTo int64
}

type counters struct {
	readBytes, writtenBytes, reads, writes, failed, damaged, mismatches atomic.Int64
	intents, results, abandons                                          atomic.Int64
	recompressedFrom, recompressedTo                                    atomic.Int64
	jobs                                                                [4]atomic.Int64
}

func (c *counters) read(bytes int64) {
	c.reads.Add(1)
	c.readBytes.Add(bytes)
}

// Errors of a job that its caller looks at.
var (
	// ErrMismatch: an output does not have the records of its sources. That is a bug of
	// this program; nothing was put in place of the sources.
	ErrMismatch = errors.New("merged records differ from their sources")
	// ErrDisk: the folder for merging takes no more bytes.
	ErrDisk = errors.New("the folder for merging cannot be written")
)

// NewExecutor returns an Executor whose folder is empty.
func NewExecutor(opt Options) (*Executor, error) {
	if opt.Pace == nil {
		opt.Pace = func(context.Context, int64) error { return nil }
	}
	if opt.CopyOnly == nil {
		opt.CopyOnly = func() bool { return false }
	}
	if opt.Hurry == nil {
		opt.Hurry = func() bool { return true }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.OnDamage == nil {
		opt.OnDamage = func(partlog.Key, partlog.Extent, error) {}
	}
	if opt.OnMismatch == nil {
		opt.OnMismatch = func(error) {}
	}
	opt.Disk = marked{opt.Disk}
	x := &Executor{opt: opt, cfg: opt.Config.WithDefaults(), suspects: newSuspects(), wrong: mismatches{}, named: map[segment.ID]bool{}, scale: firstScale}
	return x, opt.Disk.Empty()
}

// Stats returns the counts until now. It may be called from any goroutine.
func (x *Executor) Stats() Stats {
	c := &x.count
	s := Stats{
		ReadBytes: c.readBytes.Load(), WrittenBytes: c.writtenBytes.Load(), ReadObjects: c.reads.Load(), WrittenObjects: c.writes.Load(),
		Failed: c.failed.Load(), DamagedSources: c.damaged.Load(), Mismatches: c.mismatches.Load(),
		Intents: c.intents.Load(), Results: c.results.Load(), Abandons: c.abandons.Load(),
		RecompressedFrom: c.recompressedFrom.Load(), RecompressedTo: c.recompressedTo.Load(),
	}
	for i := range s.Jobs {
		s.Jobs[i] = c.jobs[i].Load()
	}
	return s
}

// Run carries out a job that was planned on the state as it is, and reports whether
// anything came of it. After an error nothing of it is in place, or a part whose results
// are committed.
func (x *Executor) Run(ctx context.Context, job *Job) (done bool, err error) {
	done, err = x.run(ctx, job)
	switch {
	case err == nil:
		x.count.jobs[job.Level].Add(1)
		x.scale, x.failed = max(1, x.scale/2), false
	case ctx.Err() == nil:
		x.failed = true
		x.count.failed.Add(1)
		if errors.Is(err, ErrDisk) {
			x.scale = min(2*x.scale, maxScale)
		}
	}
	return done, err
}

// sound notes that a source was read.
func (x *Executor) sound(k partlog.Key, e *partlog.Extent) {
	if x.suspects.sound(k, e.Base) {
		x.opt.OnDamage(k, *e, nil)
	}
}

// firstScale is by how much the first job of a leadership is smaller; each next one may be
// twice as large. So a journal is merged even if its leaders die before they have read as much
// as a whole job. maxScale is by how much jobs become smaller when the disk is full.
const (
	firstScale = 8
	maxScale   = 64
)

func (x *Executor) run(ctx context.Context, job *Job) (done bool, err error) {
	g := &gatherer{x: x, job: job, bounds: x.bounds(), reader: readback.New()}
	if g.spool, err = x.newSpool(); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, g.spool.release()) }()
	if job.Level == 1 {
		err = g.journal(ctx)
	} else {
		err = g.pieces(ctx)
	}
	if err != nil {
		return false, err
	}
	if err := g.spool.written(); err != nil {
		return false, err
	}
	return x.commit(ctx, g)
}
