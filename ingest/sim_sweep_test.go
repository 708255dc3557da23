package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/sweep"
	"github.com/varvelog/varve/tiering/upkeep"
)

// lateAfter is after when no create lands any more, however late.
const lateAfter = 15 * time.Minute

func (u *simUpkeep) releaseStep() upkeep.Run {
	if !u.n.f.c.shape.Upkeep.Sweep {
		return quiet
	}
	return sweep.NewReleaser(u.sweepOptions()).Run
}

func (u *simUpkeep) deleteStep() upkeep.Run {
	if !u.n.f.c.shape.Upkeep.Sweep {
		return quiet
	}
	return sweep.NewDeleter(u.sweepOptions()).Run
}

func (u *simUpkeep) pagesStep() upkeep.Run {
	if !u.n.f.c.shape.Upkeep.Sweep {
		return quiet
	}
	remover := sweep.NewPageRemover(u.sweepOptions())
	return func(ctx context.Context) (bool, error) {
		before := remover.Removed()
		again, err := remover.Run(ctx)
		if remover.Removed() > before {
			u.n.f.c.Count("index object removed")
		}
		return again, err
	}
}

func (u *simUpkeep) sweepOptions() sweep.Options {
	s := u.n.f.c.shape.Upkeep
	spared := journal.NewSpared(u, simChain, func(ctx context.Context, store objstore.Store, c *journal.Checkpoint) error {
		return CheckSpared(ctx, store, c, checkSnapshots)
	}, restore.Names)
	return sweep.Options{
		Sequential: true,
		Cluster:    simChain.Cluster, Journal: simJournal, Store: u, State: u.n.state, Carry: u.Carry, Page: u.page, Now: u.Now,
		Round: u.clocks.Round, Floor: spared.Seq, Kept: spared.Kept, PagesEvery: s.Pause, MergeGrace: s.Grace, UserGrace: 2 * s.Grace, Again: lateAfter, Every: s.Pause,
		Log: slog.New(slog.DiscardHandler),
	}
}

// newClocks compare the clock of the process with that of the store.
func (u *simUpkeep) newClocks() *clocks.Clocks {
	started := u.n.f.c.Elapsed()
	return clocks.New(clocks.Options{
		Store: u, Now: u.Now, Uptime: func() time.Duration { return u.n.f.c.Elapsed() - started },
		Prove: func(context.Context) error { return u.n.view.proveNow(u.Routine) },
		Read: func(ctx context.Context) error {
			if _, err := u.Get(ctx, segment.FloorKey(simJournal, 1)); !errors.Is(err, objstore.ErrNotFound) {
				return err
			}
			return nil
		},
		OnJudged: func(_ time.Duration, err error) {
			if err != nil {
				u.n.f.c.Count("clock not believed")
			}
		},
	})
}

// believed reports whether the clock of the process is about right.
func (n *proc) believed() bool { return n.p.Skew.Abs() < 4*time.Minute }

// swept: nothing is left that could be deleted.
func (n *proc) swept() bool {
	s := n.f.c.shape.Upkeep
	if !s.Sweep || !n.believed() {
		return true
	}
	for k := range n.f.c.truth.dropped {
		if _, ok := n.state.Lookup(k); ok {
			return false
		}
	}
	for _, g := range n.state.Garbage() {
		if g.Seqs.First == 0 && (s.Twice || !g.Deleted) {
			return false
		}
	}
	return len(n.state.Unreleased()) == 0
}

// checkRemoved: a journal object that is deleted is a data segment below the last floor but
// one, and no extent names it.
func (a *archive) checkRemoved(key string) {
	seq, ok := segment.ParseJournalKey(simJournal, key)
	if !ok {
		return
	}
	a.t.w.Count("journal object deleted")
	a.t.CheckDeletion(seq)
	a.state.Survey(func(s *partlog.Survey) {
		lowest := max(s.View.Start, s.Merged)
		extents, _, _, _ := a.state.Find(s.Key, lowest, 1)
		if len(extents) > 0 && extents[0].Object.Kind != segment.KindMerged && extents[0].Object.Seq <= seq && !s.View.Dropped {
			a.t.w.Fail("seq %d is deleted, and %v is not merged from seq %d on", seq, s.Key, extents[0].Object.Seq)
		}
	})
}
