package compact

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Options are the surroundings of a Step. Fields without a default are required.
type Options struct {
	State *partlog.State // only read
	// Carry commits entries in one object, and returns nil when they are applied.
	Carry func(context.Context, []segment.Entry) error
	// Begins is when anything may go at the earliest; the zero time: now. It may be left out.
	Begins func() time.Time
	// Scan calls fn for the batches of an extent. See merge.Merger.Scan.
	Scan func(ctx context.Context, e *partlog.Extent, fn func([]byte, *batch.Header) (bool, error)) error
	// Rewrite writes adjacent extents of a partition again. See merge.Merger.Compact.
	Rewrite func(context.Context, *merge.Compaction) (merge.Compacted, error)
	Page    partlog.ReadPage
	// Topic returns how a topic is compacted; false if it is not.
	Topic func(segment.ID) (Policy, bool)
	Now   func() time.Time
	// Round returns the time for a pass, and again for its end, once the configuration of
	// topics is known to be new. See clocks.Clocks.
	Round func(ctx context.Context) (time.Time, error)
	// Secret returns random bytes.
	Secret   func() Secret
	Memory   int64         // bytes for the keys of a pass; default 128 MiB
	JobBytes int64         // that are read at once; default 256 MiB
	Every    time.Duration // between two looks for partitions that are due; default 15 s
	// OnUnclean is called for a partition with records that cannot be decoded or read, and
	// with nil when a pass was complete again. It must not block.
	OnUnclean func(k partlog.Key, err error)
	Log       *slog.Logger
}

// Step compacts the partitions of a journal, one after the other, one job in a Run. One
// goroutine owns it, but for Stats.
type Step struct {
	opt    Options
	keys   *Map
	now    *running
	looked time.Time
	later  map[partlog.Key]time.Time // partitions that are not looked at before
	count  counters
}

// running is the pass that is under way.
type running struct {
	partlog.Key
	*Pass
	model   *Model
	state   partlog.Survey // as it was planned on
	next    int64          // extents before it are written again
	wide    int64          // a job reads so many times more, because it would leave nothing of less
	unclean int64          // batches and extents that were kept because they cannot be decoded
}

// Stats are counts of a Step since it began.
type Stats struct {
	Passes         int64 // that were completed
	BytesBefore    int64 // of extents that were written again
	BytesAfter     int64 // of those in their place
	RecordsRemoved int64
	Failed         int64
	Unclean        int64 // passes that found batches which cannot be decoded
}

type counters struct{ passes, before, after, removed, failed, unclean atomic.Int64 }

// NewStep returns a Step that has no pass under way.
func NewStep(opt Options) *Step {
	if opt.Begins == nil {
		opt.Begins = func() time.Time { return time.Time{} }
	}
	if opt.Memory == 0 {
		opt.Memory = 128 << 20
	}
	if opt.JobBytes == 0 {
		opt.JobBytes = 256 << 20
	}
	if opt.Every == 0 {
		opt.Every = 15 * time.Second
	}
	return &Step{opt: opt, later: map[partlog.Key]time.Time{}}
}

// Stats returns the counts until now. It may be called from any goroutine.
func (s *Step) Stats() Stats {
	c := &s.count
	return Stats{
		Passes: c.passes.Load(), BytesBefore: c.before.Load(), BytesAfter: c.after.Load(),
		RecordsRemoved: c.removed.Load(), Failed: c.failed.Load(), Unclean: c.unclean.Load(),
	}
}

// uncleanPause is how long a partition waits whose last pass could not be completed.
const uncleanPause = time.Hour

// Run does one job of a pass, or begins the pass that is most due. again reports that
// there is more to do. A pass that fails begins again later.
func (s *Step) Run(ctx context.Context) (again bool, err error) {
	if s.now == nil {
		if again, err = s.begin(ctx); err != nil || s.now == nil {
			return again, err
		}
	}
	x := s.now
	done, err := s.job(ctx)
	if err == nil && done {
		err = s.finish(ctx)
	}
	if err != nil {
		s.count.failed.Add(1)
		s.now = nil
		s.postpone(x.Key, err)
		return false, fmt.Errorf("compact partition %s-%d: %w", x.Topic, x.Index, err)
	}
	return true, nil
}

// postpone looks at a partition later again, after an error or, if that is nil, because
// nothing of it can be compacted now. Damage is reported, and given more time.
func (s *Step) postpone(k partlog.Key, err error) {
	pause := 4 * s.opt.Every
	if merge.Unreadable(err) {
		pause = uncleanPause
		s.opt.OnUnclean(k, err)
	}
	s.later[k] = s.opt.Now().Add(pause)
}

// begin chooses the partition with the largest part that is not clean, among those that
// are due, and builds its map.
func (s *Step) begin(ctx context.Context) (again bool, err error) {
	now := s.opt.Now()
	if now.Sub(s.looked) < s.opt.Every {
		return false, nil
	}
	s.looked = now
	chosen, due, err := s.choose(ctx, now)
	if chosen != nil {
		chosen, due, err = s.chooseAgain(ctx)
	}
	if err != nil || chosen == nil {
		s.keys = nil // gives its memory back until the next pass
		return false, err
	}
	s.looked = time.Time{} // look again at once after the pass
	memory := SlotsOf(s.opt.Memory)
	if s.keys == nil {
		s.keys = NewMap(memory, s.opt.Secret())
	} else {
		s.keys.Reset(s.opt.Secret())
	}
	x := &running{Key: chosen.Key, Pass: NewPass(due.Range, s.keys), state: *chosen, next: chosen.View.Start, wide: 1}
	if err := s.build(ctx, x); err != nil {
		s.postpone(x.Key, err)
		return false, fmt.Errorf("read the keys of partition %s-%d: %w", x.Topic, x.Index, err)
	}
	if x.End() <= x.From {
		s.postpone(x.Key, nil) // only its last batch is not clean
		return true, nil
	}
	if err := s.announce(ctx, x); err != nil {
		return false, err
	}
	s.now = x
	return true, nil
}

// carry commits an entry that the state would take. One that contradicts it would end the
// journal for all nodes.
func (s *Step) carry(ctx context.Context, e segment.Entry) error {
	entries := []segment.Entry{e}
	if err := s.opt.State.Try(entries); err != nil {
		return err
	}
	return s.opt.Carry(ctx, entries)
}

// announce commits that tombstones may go, before any does (tiering/journal/PROTOCOL.md, rule 30).
func (s *Step) announce(ctx context.Context, x *running) error {
	if x.TombstonesBelow <= x.state.TombstonesBelow {
		return nil
	}
	e := partlog.Cleaned{Key: x.Key, Cleaned: x.state.Cleaned, TimeMs: x.state.CleanedMs, TombstonesBelow: x.TombstonesBelow}
	if err := s.carry(ctx, e.Encode()); err != nil {
		return fmt.Errorf("announce that tombstones go: %w", err)
	}
	return nil
}
