package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This file is about the merged segments that the state at the head names.

// named yields the extents of the state of the walk, in the order of partitions and
// offsets. Those in index pages that cannot be read are left out: the pages have findings.
func (w *walk) named(ctx context.Context) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		var keys []partlog.Key
		w.state.Partitions(func(k partlog.Key, v partlog.View) {
			if w.verifier.wants(k) && v.Start < v.End {
				keys = append(keys, k)
			}
		})
		for _, k := range keys {
			for e, err := range w.state.Walk(ctx, k, 0, w.readPage) {
				if !yield(piece{k, e}, err) || err != nil {
					return
				}
			}
		}
	}
}

// readPage reads an index page. One that is lost is empty.
func (w *walk) readPage(ctx context.Context, p *partlog.Page) (found *partlog.PageExtents, err error) {
	err = w.verifier.try(ctx, func(ctx context.Context) (err error) {
		found, err = w.removed.Read(ctx, p, nil)
		return err
	})
	if lost.Unreadable(err) {
		w.verifier.unsure = true
		return &partlog.PageExtents{}, nil
	}
	return found, err
}

// segments checks the merged segments that the state at the head names. One that is
// missing counts only if a head that is proved afterwards still names it.
func (w *walk) segments(ctx context.Context) error {
	if w.state == nil {
		return nil
	}
	done := map[segment.Name]bool{}
	lost, err := w.checkSegments(ctx, w.gather(ctx), done)
	for err == nil && len(lost) > 0 {
		if err = w.objects(ctx); err != nil { // to the head as it is now
			return err
		}
		var again []*merged
		for _, m := range lost {
			var next []*merged
			if next, err = w.lookAgain(ctx, m, done); err != nil {
				return err
			}
			again = append(again, next...)
		}
		lost, err = w.checkSegments(ctx, func(yield func(*merged, error) bool) {
			for _, m := range again {
				if !yield(m, nil) {
					return
				}
			}
		}, done)
	}
	return err
}

// gather yields the merged segments of the state. Own segments have one extent, and are
// not kept; the shared ones come last.
func (w *walk) gather(ctx context.Context) iter.Seq2[*merged, error] {
	return func(yield func(*merged, error) bool) {
		shared := map[segment.Name]*merged{}
		var order []*merged
		for p, err := range w.named(ctx) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case p.Object.Kind != segment.KindMerged:
			case p.Object.Own():
				if !yield(&merged{p.Object, []piece{p}}, nil) {
					return
				}
			default:
				m := shared[p.Object]
				if m == nil {
					m = &merged{object: p.Object}
					shared[p.Object] = m
					order = append(order, m)
				}
				m.pieces = append(m.pieces, p)
			}
		}
		for _, m := range order {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// checkSegments checks merged segments, several at once, and returns those that are
// missing.
func (w *walk) checkSegments(ctx context.Context, all iter.Seq2[*merged, error], done map[segment.Name]bool) (lost []*merged, err error) {
	c := mergedCheck{
		store: w.verifier.store, cluster: w.chain.Cluster, journal: w.journal,
		whole: w.verifier.opt.Records, records: w.verifier.opt.Records,
	}
	memory := semaphore.NewWeighted(w.verifier.opt.Memory)
	work, working := errgroup.WithContext(ctx)
	work.SetLimit(w.verifier.opt.Parallel)
	var mu sync.Mutex
	for m, err := range all {
		if err != nil {
			return nil, errors.Join(err, work.Wait())
		}
		if working.Err() != nil {
			break
		}
		done[m.object] = true
		cost := int64(leastCost)
		if c.whole {
			cost = min(max(cost, min(m.size(), windowSize)), w.verifier.opt.Memory)
		}
		if memory.Acquire(working, cost) != nil {
			break
		}
		work.Go(func() error {
			defer memory.Release(cost)
			found, read, err := w.checkSegment(working, &c, m)
			mu.Lock()
			defer mu.Unlock()
			w.account(m, read)
			switch {
			case errors.Is(err, objstore.ErrNotFound):
				lost = append(lost, m)
				return nil
			case err != nil:
				return fmt.Errorf("read %s: %w", m.object.Key(), err)
			}
			w.findings.add(found...)
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(lost, func(a, b *merged) int { return compareIDs(a.object.Object, b.object.Object) })
	return lost, ctx.Err()
}

// checkSegment checks one, and again while it looks damaged: that may have happened on
// the way.
func (w *walk) checkSegment(ctx context.Context, c *mergedCheck, m *merged) (found []*Finding, read int64, err error) {
	for range tries {
		err = w.verifier.try(ctx, func(ctx context.Context) (err error) {
			found, read, err = c.check(ctx, m)
			return err
		})
		if err != nil || len(found) == 0 {
			break
		}
	}
	return found, read, err
}

func (w *walk) account(m *merged, read int64) {
	delete(w.verifier.merged, m.object.Object)
	w.report.Merged++
	w.report.MergedBytes += m.size()
	w.report.Bytes += read
	w.verifier.doneObjects.Add(1)
	w.verifier.doneBytes.Add(read)
}

// lookAgain judges a merged segment that was missing, at a head that was proved since. It
// is a finding if the state still names it; else the segments that have its records now
// are returned.
func (w *walk) lookAgain(ctx context.Context, m *merged, done map[segment.Name]bool) (next []*merged, err error) {
	var still []piece
	now := map[segment.Name]*merged{}
	for _, p := range m.pieces {
		for e, err := range w.state.Walk(ctx, p.key, p.Base, w.readPage) {
			if err != nil {
				return nil, err
			}
			if e.Base > p.Last {
				break
			}
			switch {
			case e.Object == m.object:
				still = append(still, piece{p.key, e})
			case e.Object.Kind == segment.KindMerged && !done[e.Object]:
				if now[e.Object] == nil {
					now[e.Object] = &merged{object: e.Object}
					next = append(next, now[e.Object])
				}
				now[e.Object].pieces = append(now[e.Object].pieces, piece{p.key, e})
			}
		}
	}
	if len(still) > 0 {
		severity := Error
		if w.apply == nil {
			severity = Warning // it may be released by an object that the walk could not apply
		}
		f := finding(severity, CodeMissing, w.journal, m.object.Key(), hintRestore, "missing: a merged segment that the journal still names")
		f.Affects, f.records = affectedBy(still), true
		w.findings.add(f)
	}
	return next, nil
}

// leftovers reports released objects that are still there, though they were deleted, and
// counts those that wait for their deletion. Objects that the state knows are taken off
// the listing: the rest is known to no journal.
func (w *walk) leftovers(ctx context.Context) error {
	if w.state == nil {
		return nil
	}
	if err := w.belowStart(ctx); err != nil {
		return err
	}
	for _, g := range w.state.Garbage() {
		if g.Name == (segment.Name{}) {
			if !g.Deleted {
				w.report.Garbage += int64(g.Seqs.Last - g.Seqs.First + 1)
			}
			continue
		}
		_, listed := w.verifier.merged[g.Name.Object]
		delete(w.verifier.merged, g.Name.Object)
		switch {
		case !g.Deleted:
			w.report.Garbage++
		case listed:
			w.findings.add(finding(Warning, CodeReleased, w.journal, g.Name.Key(), "the leader deletes it once more; if it stays, look at versioning and rights in the bucket",
				"released and deleted, and still there"))
		}
	}
	for _, u := range w.state.Unreleased() {
		delete(w.verifier.merged, u.Name.Object)
	}
	for _, in := range w.state.Intents() {
		for _, o := range in.Objects {
			delete(w.verifier.merged, o.Name.Object)
		}
	}
	return nil
}

// belowStart takes the segments off the listing whose records are deleted, but which no
// Release has named yet.
func (w *walk) belowStart(ctx context.Context) (err error) {
	w.state.Survey(func(s *partlog.Survey) {
		for _, e := range s.Segments {
			delete(w.verifier.merged, e.Object.Object)
		}
		for _, p := range s.Pages {
			if p.Base >= s.View.Start || err != nil {
				continue
			}
			var found *partlog.PageExtents
			if found, err = w.readPage(ctx, p); found == nil {
				continue
			}
			for _, e := range found.From(p.Base, maxPageExtents) {
				delete(w.verifier.merged, e.Object.Object)
			}
		}
	})
	return err
}
