package expire

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Dropper drops the partitions of topics that are gone: their records become garbage
// (tiering/journal/PROTOCOL.md, rule 25). One goroutine calls Run; Dropped may be called
// from any.
type Dropper struct {
	opt     Options
	next    time.Time
	dropped atomic.Int64
}

// NewDropper returns a Dropper of one journal.
func NewDropper(opt Options) *Dropper {
	if opt.Every == 0 {
		opt.Every = time.Minute
	}
	return &Dropper{opt: opt}
}

// Dropped is how many partitions were dropped.
func (x *Dropper) Dropped() int64 { return x.dropped.Load() }

// Run drops the partitions that are due, if it is time for a look. It reports whether there
// may be more.
func (x *Dropper) Run(ctx context.Context) (again bool, err error) {
	now := x.opt.Now()
	if now.Before(x.next) && x.next.Sub(now) <= x.opt.Every {
		return false, nil
	}
	x.next = now.Add(x.opt.Every)
	if now.Before(x.opt.Begins()) || len(x.plan()) == 0 {
		return false, nil
	}
	now, err = agreed(ctx, x.opt.Clocks)
	if now.IsZero() || err != nil || now.Before(x.opt.Begins()) {
		return false, err
	}
	gone := x.plan() // by a state of journal 0 that is proved now
	if len(gone) == 0 {
		return false, nil
	}
	if err := x.opt.State.Try(gone); err != nil {
		return false, err
	}
	if err := x.opt.Carry(ctx, gone, func(segment.Entry) bool { return true }); err != nil {
		return false, err
	}
	x.opt.Log.Info("partitions of topics that are gone were dropped", "partitions", len(gone))
	x.dropped.Add(int64(len(gone)))
	if again = len(gone) == maxEntries; again {
		x.next = time.Time{}
	}
	return again, nil
}

// plan returns the entries for sealed partitions whose topics are gone, some of them.
func (x *Dropper) plan() (entries []segment.Entry) {
	x.opt.State.Partitions(func(k partlog.Key, v partlog.View) {
		if v.Sealed && !v.Dropped && len(entries) < maxEntries && x.opt.Gone(k.Topic) {
			entries = append(entries, partlog.Drop{Key: k}.Encode())
		}
	})
	return entries
}
