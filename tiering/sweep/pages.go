package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// PageRemover removes index objects that no floor keeps. One goroutine calls Run; the other
// methods may be called from any.
type PageRemover struct {
	deleter Deleter   // for its holds, pace and counts
	from    uint64    // of the last round that went through the listing
	next    time.Time // of the next look
	removed atomic.Int64
}

// NewPageRemover returns a PageRemover. Its options need Kept.
func NewPageRemover(opt Options) *PageRemover {
	opt.OnHold, opt.Retains = nil, false // a Deleter reports these
	return &PageRemover{deleter: Deleter{opt: opt.withDefaults()}}
}

// Removed returns how many index objects were removed, copies included.
func (r *PageRemover) Removed() int64 { return r.removed.Load() }

// Run lists the older index objects, if the floor has moved since the last time, and removes
// those that are not kept, up to a bound. A PUT that is late makes garbage that a later
// listing shows. It reports whether there may be more.
func (r *PageRemover) Run(ctx context.Context) (again bool, err error) {
	opt := &r.deleter.opt
	now := opt.Now()
	if now.Before(r.next) {
		return false, nil
	}
	r.next = now.Add(opt.PagesEvery)
	from, kept, err := opt.Kept(ctx)
	if err != nil || from == r.from {
		return false, err
	}
	keys, more, err := r.list(ctx, from, kept)
	if err != nil {
		return false, err
	}
	if len(keys) > 0 {
		now, trusted, err := opt.round(ctx)
		if !trusted {
			return false, err
		}
		if held, err := r.deleter.holds(ctx, now); held || err != nil {
			return false, err
		}
	}
	for some := range slices.Chunk(keys, objstore.MaxBatch) {
		// tiering/journal/PROTOCOL.md, rule 23: neither of the last two floors names these.
		for i, outcome := range r.deleter.keys(ctx, some, true) {
			if outcome != nil {
				return false, fmt.Errorf("delete %s: %w", some[i], outcome)
			}
			r.removed.Add(1)
		}
	}
	if more {
		r.next = time.Time{}
		return true, nil
	}
	r.from = from
	return false, nil
}

// errEnough ends a listing.
var errEnough = errors.New("the listing went far enough")

// list returns the keys of index objects below a seq that are not kept, up to a bound.
func (r *PageRemover) list(ctx context.Context, from uint64, kept func(segment.IndexName) bool) (keys []string, more bool, err error) {
	opt := &r.deleter.opt
	err = opt.Store.List(ctx, segment.IndexPrefix(opt.Journal), "", func(i objstore.Info) error {
		name, ok := segment.ParseIndexKey(opt.Journal, i.Key)
		switch {
		case !ok || name.Seq == 0: // not ours, or of before keys had a seq
			return nil
		case name.Seq >= from: // and so are all that follow
			return errEnough
		case kept(name):
			return nil
		case len(keys) == perRound:
			more = true
			return errEnough
		}
		keys = append(keys, i.Key)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return keys, more, err
}
