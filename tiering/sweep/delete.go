package sweep

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/hold"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// perRound bounds the objects of one round of deletions.
const perRound = 5000

// Deleter deletes garbage of one journal under one leadership. One goroutine calls Run; the
// other methods may be called from any.
type Deleter struct {
	opt  Options
	held bool
	look floorLook
	from int // of the list of garbage: those before it were not deleted a moment ago

	deleted, failed, retained atomic.Int64
}

// NewDeleter returns a Deleter.
func NewDeleter(opt Options) *Deleter { return &Deleter{opt: opt.withDefaults()} }

// Counts returns how many objects were deleted since the Deleter began, second deletions
// included, and how many deletions failed.
func (d *Deleter) Counts() (deleted, failed int64) { return d.deleted.Load(), d.failed.Load() }

// round is the garbage that is due now.
type round struct {
	first, second []partlog.Garbage
	seqs          []partlog.Seqs
	more          bool
	next          int // of the list, the first that is not looked at
}

// Run deletes garbage whose grace is over, up to a bound, and commits that it did. It
// reports whether there may be more.
func (d *Deleter) Run(ctx context.Context) (again bool, err error) {
	limit, head := unknown, d.opt.State.Head()
	if d.look.waits(d.opt.Now(), head) {
		limit = 0
	}
	due := d.due(d.opt.State.Garbage(), limit, d.opt.Now())
	if due.empty() {
		return false, nil
	}
	now, trusted, err := d.opt.round(ctx)
	if !trusted {
		return false, err
	}
	floor := uint64(0)
	if len(due.seqs) > 0 {
		// tiering/journal/PROTOCOL.md, rule 22: a start from the last floor but one finds all objects from there on.
		if floor, err = d.opt.Floor(ctx); err != nil {
			d.opt.Log.Warn("no journal objects are deleted", "error", err)
		}
	}
	if len(due.seqs) > 0 && limit > 0 {
		d.look.missed(d.opt.Now(), head, d.opt.Every)
	}
	if due = d.due(d.opt.State.Garbage(), floor, now); due.empty() {
		return false, err
	}
	if len(due.seqs) > 0 {
		d.look = floorLook{}
	}
	if held, err := d.holds(ctx, now); held || err != nil {
		return false, err
	}
	swept, failed := d.delete(ctx, due)
	if d.from = 0; failed != nil && due.more {
		d.from = due.next // the store may refuse these for long, and not others
	}
	if err = errors.Join(err, failed); len(swept) == 0 {
		return false, err
	}
	d.opt.Log.Debug("tiering: deleted", "objects", len(due.first)+len(due.second), "ranges", len(due.seqs))
	if carryErr := d.opt.carry(ctx, swept); carryErr != nil {
		return false, errors.Join(fmt.Errorf("note deletions: %w", carryErr), err)
	}
	d.opt.Log.Debug("tiering: swept")
	return due.more && err == nil, err
}

func (r *round) empty() bool { return len(r.first)+len(r.second)+len(r.seqs) == 0 }

// floorLook says when it is worth to look at the floor again, which had not moved. It moves
// with objects of the journal, so the looks at an idle one get rarer.
type floorLook struct {
	head       uint64 // of the journal at the last look
	soon, next time.Time
	pause      time.Duration
}

// rarest is the longest pause between two looks, in usual ones.
const rarest = 64

func (l *floorLook) waits(now time.Time, head uint64) bool {
	return now.Before(l.soon) || head == l.head && now.Before(l.next)
}

func (l *floorLook) missed(now time.Time, head uint64, every time.Duration) {
	if l.head != head || l.pause == 0 {
		l.pause = every
	} else {
		l.pause = min(2*l.pause, rarest*every)
	}
	l.head, l.soon, l.next = head, now.Add(every), now.Add(l.pause)
}

// due returns the garbage whose time has come. Of journal objects it takes those below the
// floor.
func (d *Deleter) due(garbage []partlog.Garbage, floor uint64, now time.Time) *round {
	r, room := &round{}, uint64(perRound)
	for i := range garbage {
		at := (d.from + i) % len(garbage)
		g := garbage[at]
		since := now.Sub(time.UnixMilli(g.SinceMs))
		switch {
		case g.Deleted && since < d.opt.Again, !g.Deleted && since < d.grace(g.Class):
			continue
		case room == 0:
			r.more, r.next = true, at
			return r
		case g.Seqs.First > 0:
			q := g.Seqs
			if q.Last = min(q.Last, floor-1); floor == 0 || q.Last < q.First {
				continue
			}
			if n := q.Last - q.First + 1; n > room {
				q.Last, r.more, r.next = q.First+room-1, true, at+1
			}
			r.seqs = append(r.seqs, q)
			room -= q.Last - q.First + 1
			continue
		case g.Deleted:
			r.second = append(r.second, g)
		default:
			r.first = append(r.first, g)
		}
		room--
	}
	return r
}

func (d *Deleter) grace(c partlog.Class) time.Duration {
	if c == partlog.ClassUser {
		return d.opt.UserGrace
	}
	return d.opt.MergeGrace
}

// holds reports whether a hold keeps this round from deleting.
func (d *Deleter) holds(ctx context.Context, now time.Time) (bool, error) {
	active, err := hold.Active(ctx, d.opt.Store, d.opt.Cluster, now)
	if err != nil {
		return false, err
	}
	if held := len(active) > 0; held || d.held {
		d.held = held
		d.opt.OnHold(active)
	}
	return len(active) > 0, nil
}

// delete deletes garbage that is due, and returns the entries that say which deletions are done.
// The error is that of the first one that is not.
func (d *Deleter) delete(ctx context.Context, due *round) (swept []segment.Entry, err error) {
	first, firstErr := d.objects(ctx, due.first)
	second, secondErr := d.objects(ctx, due.second)
	seqs, seqsErr := d.ranges(ctx, due.seqs)
	if len(first)+len(seqs) > 0 {
		swept = append(swept, (&partlog.Swept{Objects: first, Seqs: seqs}).Encode())
	}
	if len(second) > 0 {
		swept = append(swept, (&partlog.Swept{Second: true, Objects: second}).Encode())
	}
	return swept, cmp.Or(firstErr, secondErr, seqsErr)
}

// objects deletes merged segments, and returns the ids of those of which that is known, in
// their order.
func (d *Deleter) objects(ctx context.Context, garbage []partlog.Garbage) (done []segment.ID, err error) {
	for some := range slices.Chunk(garbage, objstore.MaxBatch) {
		keys := make([]string, len(some))
		for i := range some {
			keys[i] = some[i].Name.Key()
		}
		outcomes := d.keys(ctx, keys, false)
		for i := range some {
			if outcomes[i] == nil {
				done = append(done, some[i].Name.Object)
				continue
			}
			err = cmp.Or(err, fmt.Errorf("delete %s: %w", keys[i], outcomes[i]))
		}
	}
	slices.SortFunc(done, func(a, b segment.ID) int { return bytes.Compare(a[:], b[:]) })
	return done, err
}

// ranges deletes journal objects, and returns the ranges of which that is known: of each
// the part below the first failure.
func (d *Deleter) ranges(ctx context.Context, ranges []partlog.Seqs) (done []partlog.Seqs, err error) {
	for _, q := range ranges {
		n, rangeErr := d.rangeOf(ctx, q)
		if n > 0 {
			done = append(done, partlog.Seqs{First: q.First, Last: q.First + n - 1})
		}
		err = cmp.Or(err, rangeErr)
	}
	slices.SortFunc(done, func(a, b partlog.Seqs) int { return cmp.Compare(a.First, b.First) })
	return done, err
}

// rangeOf deletes the objects of a range, and returns how many from its first on are done.
func (d *Deleter) rangeOf(ctx context.Context, q partlog.Seqs) (n uint64, err error) {
	for q.First+n <= q.Last {
		var keys []string
		for seq := q.First + n; seq <= q.Last && len(keys) < objstore.MaxBatch; seq++ {
			keys = append(keys, segment.JournalKey(d.opt.Journal, seq))
		}
		for i, err := range d.keys(ctx, keys, true) {
			if err != nil {
				return n, fmt.Errorf("delete %s: %w", keys[i], err)
			}
			n++
		}
	}
	return n, nil
}

// keys deletes objects, and returns the outcome of each. follow: their keys do.
func (d *Deleter) keys(ctx context.Context, keys []string, follow bool) []error {
	if err := d.opt.Pace(ctx, len(keys)); err != nil {
		return slices.Repeat([]error{err}, len(keys))
	}
	sizes := d.sizes(ctx, keys, follow)
	// tiering/journal/PROTOCOL.md, rule 21: an applied entry lists these objects.
	outcomes := objstore.DeleteAll(ctx, d.opt.Store, keys)
	for i, err := range outcomes {
		if err != nil {
			d.failed.Add(1)
		} else {
			d.deleted.Add(1)
			d.retained.Add(sizes[keys[i]])
		}
	}
	return outcomes
}
