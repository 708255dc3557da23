package node

import (
	"context"
	"fmt"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/sweep"
	"github.com/varvelog/varve/tiering/upkeep"
)

// sweep returns the steps that release and delete objects of a journal, and remove its index
// objects. The last two share a look at the floors: they run in one Keeper.
func (n *node) sweep(id uint32, j *dataJournal) (release, remove, pages upkeep.Run) {
	base := journal.NewChain(n.cluster.ID, id, int(n.cluster.Window))
	spared := journal.NewSpared(n.store, base, func(ctx context.Context, store objstore.Store, c *journal.Checkpoint) error {
		return ingest.CheckSpared(ctx, store, c, checkAttached)
	}, restore.Names)
	opt := sweep.Options{
		Cluster: n.cluster.ID, Journal: id, Store: n.store, State: j.state, Carry: j.leader.Carry, Page: n.readPage,
		Now: time.Now, Round: n.retention.clocks.Round, Floor: spared.Seq, Kept: spared.Kept, Log: n.log.With("journal", id),
		MergeGrace: n.cfg.ReplacedGrace, UserGrace: n.cfg.FreedGrace, Every: min(time.Minute, n.cfg.MergeAge), PagesEvery: min(10*time.Minute, n.cfg.MergeAge),
		OnHold: func(holds []segment.Hold) {
			if len(holds) == 0 {
				n.log.Info("objects are deleted again: there is no hold any more", "journal", id)
				return
			}
			n.log.Info("no object is deleted during a hold", "journal", id, "until", time.UnixMilli(holds[0].UntilMs), "reason", holds[0].Reason)
		},
		OnLostPage: n.holdsBack, Retains: n.policy.Retains(),
	}
	releaser, remover := sweep.NewReleaser(opt), sweep.NewPageRemover(opt)
	j.deleter = sweep.NewDeleter(opt)
	j.metrics.sweep(id, j.state, releaser, j.deleter, remover)
	return releaser.Run, j.deleter.Run, remover.Run
}

// holdsBack notes that an index page is lost, so that objects are not released; nil: it can
// be read again.
func (n *node) holdsBack(p sweep.LostPage, err error) {
	about := fmt.Sprintf("%s (objects of %s are not released)", p.Object, n.partitionName(p.Key))
	if err == nil {
		n.board.Clear(health.Damage, about)
		return
	}
	n.board.Raise(health.Damage, about, false, fmt.Sprintf("the index page is lost, so it is not known which objects of %s may be deleted; they stay: %v; "+
		"run \"varve bucket repair\", or restore it from a copy of the bucket", n.partitionName(p.Key), err))
}
