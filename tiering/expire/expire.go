package expire

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Options are the surroundings of an Expirer and of a Dropper. Fields without a default
// are required.
type Options struct {
	State *partlog.State // only read
	// Carry commits entries in one object, and returns nil when they are applied. It may
	// take long. Until an object takes them it leaves out those that are not wanted any
	// more, and deletions in partitions that are sealed by then.
	Carry func(ctx context.Context, entries []segment.Entry, wanted func(segment.Entry) bool) error
	// Policy returns how long a topic keeps its records; false if there is no such topic,
	// or it is deleted.
	Policy func(segment.ID) (Policy, bool)
	// Gone reports whether a topic does not exist and cannot be restored.
	Gone func(segment.ID) bool
	// Begins is when anything may go at the earliest.
	Begins func() time.Time
	Clocks Clocks
	Now    func() time.Time // the node's clock
	// Page reads an index page.
	Page  partlog.ReadPage
	Every time.Duration // between two looks; default one minute
	Log   *slog.Logger
}

// Clocks gives a time that may be trusted, after a proof of journal 0; *clocks.Clocks does.
type Clocks interface {
	Round(ctx context.Context) (time.Time, error)
}

// maxAsked is how many entries wait for an object at most, unless a look waits for its own.
const maxAsked = 4 * maxEntries

// maxEntries is how many partitions one object moves or drops at most.
const maxEntries = 1000

// Expirer moves the starts of a journal's partitions up. One goroutine calls Run; the
// other methods may be called from any.
type Expirer struct {
	opt   Options
	next  time.Time // of the next look
	known map[partlog.Key]*first
	parts map[partlog.Key]map[part]int64
	held  map[partlog.Key]bool // partitions with a page that is lost
	// waiting are the starts that entries under way move. asked counts these entries.
	waiting map[partlog.Key]expiry
	asked   int

	moved, records atomic.Int64
}

// New returns an Expirer of one journal.
func New(opt Options) *Expirer {
	if opt.Every == 0 {
		opt.Every = time.Minute
	}
	return &Expirer{opt: opt, known: map[partlog.Key]*first{}, waiting: map[partlog.Key]expiry{}}
}

// Moved is how often the start of a partition was moved, and by how many offsets in all.
func (x *Expirer) Moved() (times, offsets int64) { return x.moved.Load(), x.records.Load() }

// Run moves the starts that are due, if it is time for a look. It reports whether more of
// them may be due at once.
func (x *Expirer) Run(ctx context.Context) (again bool, err error) {
	now := x.opt.Now()
	if now.Before(x.next) && x.next.Sub(now) <= x.opt.Every { // not if the clock was set back
		return false, nil
	}
	x.next = now.Add(x.opt.Every)
	x.settle()
	if now.Before(x.opt.Begins()) {
		return false, nil
	}
	due, err := x.plan(ctx, now)
	if len(due) == 0 || err != nil {
		return false, err
	}
	now, err = agreed(ctx, x.opt.Clocks)
	if now.IsZero() || err != nil || now.Before(x.opt.Begins()) {
		return false, err
	}
	if due, err = x.plan(ctx, now); len(due) == 0 || err != nil {
		return false, err
	}
	return x.commit(ctx, due)
}

// agreed returns a time at which something may go; zero: none for now.
func agreed(ctx context.Context, c Clocks) (time.Time, error) {
	now, err := c.Round(ctx)
	if errors.Is(err, clocks.ErrWrong) || errors.Is(err, clocks.ErrTooEarly) {
		return time.Time{}, nil
	}
	return now, err
}

// plan returns where partitions should start, some of those that are due.
func (x *Expirer) plan(ctx context.Context, now time.Time) (due []expiry, err error) {
	known, parts, held := make(map[partlog.Key]*first, len(x.known)), map[partlog.Key]map[part]int64{}, map[partlog.Key]bool{}
	x.opt.State.Survey(func(s *partlog.Survey) {
		if s.View.Sealed || s.View.Start == s.View.End || err != nil || len(due) == maxEntries || ctx.Err() != nil {
			return
		}
		policy, ok := x.opt.Policy(s.Topic)
		if !ok || policy.keeps() {
			return
		}
		l := look{cursor: newCursor(x.opt.State, s, x.opt.Page), policy: policy, nowMs: now.UnixMilli(), first: x.known[s.Key], parts: x.parts[s.Key]}
		var start int64
		if start, err = l.start(ctx); err != nil {
			return
		}
		if l.lost != nil {
			x.hold(held, s.Key, l.lost)
		}
		if l.first != nil {
			known[s.Key] = l.first
		}
		if len(l.parts) > 0 {
			parts[s.Key] = l.parts
		}
		if start > s.View.Start {
			due = append(due, expiry{partlog.DeleteRecords{Key: s.Key, Before: start}, policy, s.View.Start})
		}
	})
	x.known, x.parts, x.held = known, parts, held
	return due, errors.Join(err, ctx.Err())
}

// hold notes a partition whose records stay because a page is lost.
func (x *Expirer) hold(held map[partlog.Key]bool, k partlog.Key, reason error) {
	if held[k] = true; !x.held[k] {
		x.opt.Log.Warn("records do not expire as they should: an index page is lost; restore it, \"varve bucket verify\" names it", "topic", k.Topic.Base64(), "partition", k.Index, "error", reason)
	}
}

// expiry is a start that is due.
type expiry struct {
	partlog.DeleteRecords
	policy Policy // by which it is
	start  int64  // before
}

// commit moves the starts. The entries may wait for long, so each is committed only if the
// topic still has the configuration by which it was planned: an administrator may keep
// its records since.
func (x *Expirer) commit(ctx context.Context, due []expiry) (again bool, err error) {
	entries, by := make([]segment.Entry, len(due)), make(map[segment.ID]Policy, len(due))
	for i, d := range due {
		entries[i], by[d.Topic] = d.Encode(), d.policy
	}
	if err := x.opt.State.Try(entries); err != nil {
		return false, err
	}
	wanted := func(e segment.Entry) bool {
		d, err := partlog.DecodeDeleteRecords(e.Payload)
		policy, ok := x.opt.Policy(d.Topic)
		v, _ := x.opt.State.Lookup(d.Key)
		return err == nil && ok && policy == by[d.Topic] && v.Start < d.Before
	}
	for _, d := range due {
		if before, ok := x.waiting[d.Key]; ok {
			d.start = before.start
		}
		x.waiting[d.Key] = d
	}
	// An idle journal takes entries after long. The next look is due before that; its entries
	// go with these, but for so many that they need objects of their own.
	waits := ctx
	if x.asked += len(due); x.asked <= maxAsked {
		var cancel context.CancelFunc
		waits, cancel = context.WithTimeout(ctx, x.opt.Every)
		defer cancel()
	}
	switch err := x.opt.Carry(waits, entries, wanted); {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return false, nil
	case err != nil:
		return false, err
	}
	x.asked = 0 // earlier ones went with these
	x.settle()
	for _, d := range due {
		delete(x.waiting, d.Key) // it was left out
	}
	if again = len(due) == maxEntries; again {
		x.next = time.Time{}
	}
	return again, nil
}

// settle counts the starts that have moved.
func (x *Expirer) settle() {
	for k, d := range x.waiting {
		v, _ := x.opt.State.Lookup(k)
		if v.Start < d.Before {
			continue
		}
		x.opt.Log.Debug("records have expired", "topic", d.Topic.Base64(), "partition", d.Index, "from", d.start, "to", d.Before)
		x.moved.Add(1)
		x.records.Add(d.Before - d.start)
		delete(x.waiting, k)
	}
}
