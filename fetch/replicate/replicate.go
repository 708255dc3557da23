// Package replicate copies a bucket into another one, while nodes write to the first.
//
// It owns the order of a copy. A hold is placed first, then the heads of all journals are
// proved, and only then is decided which objects the copy consists of. Marks (package
// replica) say from the first object to the last that the target is not whole.
//
// It promises that a copy which is marked as done has each object that the states at those
// heads name. Each was checked on the way: merged segments by their SHA-256, others by
// their own checksums. Copying again adds the objects that are missing.
//
// It never deletes or changes an object, but for its own hold. It never copies into a bucket
// that nodes write to.
package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/tiering/hold"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

// ErrTarget is a bucket that is no copy of the source, and not empty.
var ErrTarget = errors.New("the target is neither empty nor a copy of the source")

const (
	tries     = 4
	tryPause  = 500 * time.Millisecond
	plans     = 5 // that are made at most: each because an object of the one before is gone
	holdLasts = time.Hour
	holdAgain = 20 * time.Minute
	minCost   = 64 << 10
)

// Options are the settings of a copy. The first three are required.
type Options struct {
	Source, Target objstore.Store
	Bucket         *offline.Bucket // of Source
	DryRun         bool            // decide, and write nothing
	Parallel       int             // objects copied at once; default 16
	Memory         int64           // bytes of objects being copied; default 256 MiB
	Log            *slog.Logger
	Now            func() time.Time
}

// Progress is how far a copy is.
type Progress struct {
	Doing          string
	Objects, Bytes int64 // copied
	TotalObjects   int64 // to be copied
	TotalBytes     int64 // of these, as far as it is known
}

// Result is a finished copy.
type Result struct {
	Number  uint64 // of the run
	Objects int64  // that the copy consists of
	Bytes   int64  // of these
	Copied  int64  // objects
	Written int64  // bytes
	Heads   map[uint32]uint64
}

// Copier copies once.
type Copier struct {
	opt     Options
	cluster segment.ID

	copied, written atomic.Int64
	mu              sync.Mutex
	progress        Progress // guarded by mu
	damaged         []error  // guarded by mu
}

// New prepares a copy.
func New(opt Options) *Copier {
	if opt.Parallel == 0 {
		opt.Parallel = 16
	}
	if opt.Memory == 0 {
		opt.Memory = 256 << 20
	}
	opt.Memory = max(opt.Memory, segment.MaxMergedSize)
	return &Copier{opt: opt, cluster: opt.Bucket.Cluster.ID}
}

// Progress may be called while Run runs.
func (c *Copier) Progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.progress
	p.Objects, p.Bytes = c.copied.Load(), c.written.Load()
	return p
}

func (c *Copier) doing(what string, objects, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = Progress{Doing: what, TotalObjects: objects, TotalBytes: bytes}
}

// Run copies. After an error the target is marked as not whole, unless nothing was
// written; another Run goes on.
func (c *Copier) Run(ctx context.Context) (*Result, error) {
	source, err := replica.Read(ctx, c.opt.Source)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	before, err := c.checkTarget(ctx, &source)
	if err != nil {
		return nil, err
	}
	if c.opt.DryRun {
		p, err := c.planned(ctx)
		if err != nil {
			return nil, err
		}
		return p.result(before.Begun.Number + 1), nil
	}
	release, err := c.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	// Before the target is marked: a source that has lost its end leaves an older copy whole.
	p, err := c.planned(ctx)
	if err != nil {
		return nil, err
	}
	mark := segment.Copy{
		State: segment.CopyBegun, Cluster: c.cluster, Object: segment.NewID(), Incarnation: source.Incarnation(),
		Number: before.Begun.Number + 1, TimeMs: c.opt.Now().UnixMilli(), Source: c.opt.Source.String(),
	}
	if err := replica.Write(ctx, c.opt.Target, mark); err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	// A node may have opened the target since it was checked. One of the two sees the other.
	if now, err := replica.Read(ctx, c.opt.Target); err != nil && !errors.Is(err, replica.ErrUnfinished) {
		return nil, fmt.Errorf("target: %w", err)
	} else if now.Opened.Number > 0 {
		return nil, fmt.Errorf("target: %w", replica.ErrOpened)
	}
	if p, err = c.copyAll(ctx, p); err != nil {
		return nil, err
	}
	if err := c.copyCluster(ctx); err != nil {
		return nil, err
	}
	c.copied.Add(p.cluster())
	result := p.result(mark.Number)
	result.Copied, result.Written = c.copied.Load(), c.written.Load()
	mark.State, mark.TimeMs, mark.Objects, mark.Bytes = segment.CopyDone, c.opt.Now().UnixMilli(), uint64(result.Objects), uint64(result.Bytes)
	if err := replica.Write(ctx, c.opt.Target, mark); err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	return result, nil
}

// checkTarget returns the marks of the target, which must be empty, or a copy of the same
// incarnation of the same cluster.
func (c *Copier) checkTarget(ctx context.Context, source *replica.Status) (replica.Status, error) {
	marks, err := replica.Read(ctx, c.opt.Target)
	if err != nil && !errors.Is(err, replica.ErrUnfinished) {
		return marks, fmt.Errorf("target: %w", err)
	}
	switch {
	case marks.Opened.Number > 0:
		return marks, fmt.Errorf("target: %w", replica.ErrOpened)
	case marks.Begun.Number == 0:
		return marks, c.checkEmpty(ctx)
	case marks.Begun.Cluster != c.cluster || marks.Begun.Incarnation != source.Incarnation():
		return marks, fmt.Errorf("%w: it is a copy of cluster %s, made from %s", ErrTarget, marks.Begun.Cluster.Base64(), marks.Begun.Source)
	}
	return marks, nil
}

var errSeen = errors.New("seen")

func (c *Copier) checkEmpty(ctx context.Context) error {
	var key string
	err := c.opt.Target.List(ctx, "", "", func(i objstore.Info) error {
		key = i.Key
		return errSeen
	})
	switch {
	case errors.Is(err, errSeen):
		return fmt.Errorf("%w: it has %s", ErrTarget, key)
	case err != nil:
		return fmt.Errorf("list the target: %w", err)
	}
	return nil
}

// hold pauses deletions at the source until release is called. A source that may only be
// read is copied without: an object that is deleted until the end is noticed.
func (c *Copier) hold(ctx context.Context) (release func(), err error) {
	place := func() (segment.ID, error) {
		now := c.opt.Now()
		h := segment.Hold{Cluster: c.cluster, Object: segment.NewID(), CreatedMs: now.UnixMilli(), UntilMs: now.Add(holdLasts).UnixMilli(),
			Reason: "varve bucket copy to " + c.opt.Target.String()}
		return h.Object, hold.Place(ctx, c.opt.Source, h)
	}
	id, err := place()
	if errors.Is(err, objstore.ErrDenied) {
		c.opt.Log.Warn("the source may only be read, so deletions are not paused; a copy that takes longer than they wait begins in parts again", "error", err)
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(holdAgain)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			next, err := place()
			if err != nil {
				c.opt.Log.Warn("the hold cannot be renewed", "error", err)
				continue
			}
			c.release(id)
			id = next
		}
	}()
	return func() {
		close(stop)
		<-done
		c.release(id)
	}, nil
}

// release gives a hold up, also after an interruption. It ends by itself otherwise.
func (c *Copier) release(id segment.ID) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := hold.Release(ctx, c.opt.Source, id); err != nil {
		c.opt.Log.Warn("the hold ends by itself within an hour", "error", err)
	}
}

// copyAll copies all objects of a plan, and makes a new plan if one of them is gone.
func (c *Copier) copyAll(ctx context.Context, p *plan) (*plan, error) {
	for i := 1; ; i++ {
		err := c.copyPlan(ctx, p)
		if err == nil || i == plans || !errors.Is(err, errGone) {
			return p, err
		}
		c.opt.Log.Info("objects were deleted during the copy; the heads are proved again", "error", err)
		if p, err = c.planned(ctx); err != nil {
			return p, err
		}
	}
}

// planned makes a plan, and another one if a floor has moved until it was made.
func (c *Copier) planned(ctx context.Context) (*plan, error) {
	for i := 1; ; i++ {
		p, err := c.plan(ctx)
		if err == nil || i == plans || !errors.Is(err, errGone) {
			return p, err
		}
	}
}

// errGone is an object of the plan that is not there any more.
var errGone = errors.New("an object is gone")

func (c *Copier) copyPlan(ctx context.Context, p *plan) error {
	memory := semaphore.NewWeighted(c.opt.Memory)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(c.opt.Parallel)
	for _, o := range p.missing {
		cost := min(max(o.size, minCost), c.opt.Memory)
		if memory.Acquire(ctx, cost) != nil {
			break
		}
		work.Go(func() error {
			defer memory.Release(cost)
			return c.copyOne(ctx, &o)
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.damaged...)
}

// noteDamage notes a damaged object. The rest is copied all the same: it may be all that
// is left of the source one day.
func (c *Copier) noteDamage(o *object, err error) {
	const most = 100
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.damaged) < most {
		c.damaged = append(c.damaged, fmt.Errorf("%s cannot be copied: %w", o.key, err))
	}
}

// copyOne copies an object, and checks it on the way.
func (c *Copier) copyOne(ctx context.Context, o *object) error {
	b, err := c.get(ctx, o)
	switch {
	case errors.Is(err, objstore.ErrNotFound) && o.optional:
		return nil
	case errors.Is(err, objstore.ErrNotFound):
		return fmt.Errorf("%w: %s", errGone, o.key)
	case errors.Is(err, segment.ErrCorrupt) && !o.optional:
		c.noteDamage(o, err)
		return nil
	case errors.Is(err, segment.ErrCorrupt): // no reader needs it
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", o.key, err)
	}
	if err := put(ctx, c.opt.Target, o.key, b); err != nil {
		return fmt.Errorf("write %s: %w", o.key, err)
	}
	c.copied.Add(1)
	c.written.Add(int64(len(b)))
	return nil
}

// get reads an object until it is sound.
func (c *Copier) get(ctx context.Context, o *object) (b []byte, err error) {
	for i := range tries {
		if i > 0 && !pause(ctx) {
			return nil, ctx.Err()
		}
		if b, err = c.opt.Source.Get(ctx, o.key); err == nil {
			err = o.check(b)
		}
		if err == nil || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrDenied) || ctx.Err() != nil {
			break
		}
	}
	return b, err
}

// put stores an object. Objects never change, so one that is there must have these bytes.
func put(ctx context.Context, store objstore.Store, key string, b []byte) (err error) {
	for i := range tries {
		if i > 0 && !pause(ctx) {
			return ctx.Err()
		}
		if err = store.Create(ctx, key, objstore.Plain(b)); err == nil {
			return nil
		}
		got, getErr := store.Get(ctx, key)
		switch {
		case getErr == nil && string(got) == string(b):
			return nil
		case getErr == nil:
			return fmt.Errorf("%w: the target has other bytes", ErrTarget)
		case errors.Is(err, objstore.ErrDenied), errors.Is(err, objstore.ErrFull), ctx.Err() != nil:
			return err
		}
	}
	return err
}

func pause(ctx context.Context) bool {
	select {
	case <-time.After(tryPause):
		return true
	case <-ctx.Done():
		return false
	}
}

// copyCluster copies the cluster object, without which no program opens the target.
func (c *Copier) copyCluster(ctx context.Context) error {
	b, err := c.opt.Source.Get(ctx, segment.ClusterKey)
	if err == nil {
		_, err = segment.DecodeCluster(b)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", segment.ClusterKey, err)
	}
	return put(ctx, c.opt.Target, segment.ClusterKey, b)
}
