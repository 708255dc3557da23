package compact

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// choose returns the partition, of those that are due, with the most bytes that are not
// clean.
func (s *Step) choose(ctx context.Context, now time.Time) (chosen *partlog.Survey, most Due, err error) {
	var candidates []partlog.Survey
	s.opt.State.Survey(func(x *partlog.Survey) {
		if _, compacted := s.opt.Topic(x.Topic); compacted && x.Merged > max(x.Cleaned, x.View.Start) && !now.Before(s.later[x.Key]) {
			candidates = append(candidates, *x)
		}
	})
	for i := range candidates {
		x := &candidates[i]
		policy, compacted := s.opt.Topic(x.Topic)
		if !compacted {
			continue
		}
		l, err := s.log(ctx, x, now)
		if err != nil {
			return nil, Due{}, err
		}
		if d, due := Plan(l, policy, now); due && d.Dirty > most.Dirty {
			chosen, most = x, d
		}
	}
	return chosen, most, nil
}

// chooseAgain is choose at a time that may be relied on, and with the configuration of
// topics as it is now (tiering/journal/PROTOCOL.md, rule 27).
func (s *Step) chooseAgain(ctx context.Context) (*partlog.Survey, Due, error) {
	now, err := s.opt.Round(ctx)
	switch {
	case errors.Is(err, clocks.ErrWrong):
		return nil, Due{}, nil // the node reports it
	case errors.Is(err, clocks.ErrTooEarly):
		now = time.Time{}
	case err != nil:
		return nil, Due{}, fmt.Errorf("begin a round of compaction: %w", err)
	}
	if now.Before(s.opt.Begins()) {
		return nil, Due{}, nil
	}
	return s.choose(ctx, now)
}

// log is a partition as a plan at a time needs it.
func (s *Step) log(ctx context.Context, x *partlog.Survey, now time.Time) (Log, error) {
	l := Log{
		Start: x.View.Start, End: x.View.End,
		Cleaned: x.Cleaned, CleanedAt: time.UnixMilli(x.CleanedMs),
	}
	for e, err := range s.extents(ctx, x.Key, x.View.Start) {
		if err != nil {
			return l, err
		}
		l.Pieces = append(l.Pieces, Piece{Base: e.Base, Last: e.Last, Bytes: int64(e.Length), Newest: newest(&e, now)})
	}
	return l, nil
}

// newest is a time that no record of an extent is younger than. None can have come after
// the journal object that brought it was built. But that is the clock of one node, which
// may have been behind then, and nothing has confirmed it. So a record is not older than
// its timestamp either, unless that is from the future.
func newest(e *partlog.Extent, now time.Time) time.Time {
	built, sent := time.UnixMilli(e.SourceMs), time.UnixMilli(e.MaxTimestamp)
	if sent.After(built) && !sent.After(now.Add(clocks.ClientAhead)) {
		return sent
	}
	return built
}

// job writes the next extents of the pass again. done reports that there are none left.
func (s *Step) job(ctx context.Context) (done bool, err error) {
	x := s.now
	if _, compacted := s.opt.Topic(x.Topic); !compacted {
		s.now = nil // the topic's configuration has changed
		return false, nil
	}
	run, err := s.run(ctx, x)
	if err != nil || len(run) == 0 {
		return err == nil, err
	}
	view, _ := s.opt.State.Lookup(x.Key)
	got, err := s.opt.Rewrite(ctx, &merge.Compaction{Key: x.Key, Start: view.Start, Extents: run, Filter: x})
	switch {
	case err != nil:
		return false, err
	case got.Nothing && x.wide > maxWide:
		return false, fmt.Errorf("%d extents from offset %d on have no record that stays", len(run), run[0].Base)
	case got.Nothing:
		x.wide *= 2
		return false, nil
	}
	x.next, x.wide = run[len(run)-1].Last+1, 1
	x.unclean += got.Undecodable
	s.count.before.Add(got.Before)
	s.count.after.Add(got.After)
	s.count.removed.Add(got.Removed)
	return false, nil
}

// maxWide is how many times more than others a job may read.
const maxWide = 1 << 10

// run returns the extents that the next job writes again. Damaged ranges of the journal are
// passed over.
func (s *Step) run(ctx context.Context, x *running) (run []partlog.Extent, err error) {
	var bytes int64
	for e, err := range s.extents(ctx, x.Key, x.next) {
		if err != nil {
			return nil, err
		}
		switch n := int64(e.Length); {
		case e.Base >= x.End() && x.wide == 1, len(run) > 0 && bytes+n > s.opt.JobBytes*x.wide:
			return run, nil
		case e.Object.Kind == segment.KindMerged:
			run, bytes = append(run, e), bytes+n
		case len(run) > 0:
			return run, nil
		default:
			x.unclean++
			x.next = e.Last + 1
		}
	}
	return run, nil
}

// Stays implements merge.Filter by the model.
func (x *running) Stays(offset int64, key []byte, tombstone bool) bool {
	return x.model.Stays(offset, key, tombstone)
}

// finish ends a pass all of whose extents are written again. The clean offset moves only if
// the keys of all records below it are known (tiering/journal/PROTOCOL.md, rule 28).
func (s *Step) finish(ctx context.Context) error {
	x := s.now
	if x.unclean > 0 {
		s.now = nil
		s.later[x.Key] = s.opt.Now().Add(uncleanPause)
		s.count.unclean.Add(1)
		s.opt.OnUnclean(x.Key, fmt.Errorf("%d batches or ranges cannot be decoded", x.unclean))
		return nil
	}
	ms := int64(math.MaxInt64) // not known: the tombstones stay until another pass has a time
	if now, err := s.opt.Round(ctx); err == nil {
		ms = now.UnixMilli() // the clock may have jumped since the pass began
	}
	e := partlog.Cleaned{
		Key: x.Key, Cleaned: x.End(), TimeMs: ms,
		TombstonesBelow: max(x.state.TombstonesBelow, x.TombstonesBelow),
	}
	if err := s.carry(ctx, e.Encode()); err != nil {
		return fmt.Errorf("commit that it is clean: %w", err)
	}
	s.now = nil
	s.count.passes.Add(1)
	s.opt.OnUnclean(x.Key, nil)
	s.opt.Log.Info("compacted", "topic", x.Topic, "partition", x.Index, "below", e.Cleaned, "keys", s.keys.Len())
	return nil
}
