package node

import (
	"context"
	"time"

	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/sweep"
	"github.com/varvelog/varve/tiering/upkeep"
)

// sweep are the steps that release and delete objects of a journal.
func (n *node) sweep(id uint32, j *dataJournal) []upkeep.Step {
	base := journal.NewChain(n.cluster.ID, id, int(n.cluster.Window))
	spared := journal.NewSpared(n.store, base, func(ctx context.Context, store objstore.Store, c *journal.Checkpoint) error {
		return ingest.CheckSpared(ctx, store, c, checkAttached)
	})
	opt := sweep.Options{
		Cluster: n.cluster.ID, Journal: id, Store: n.store, State: j.state, Carry: j.leader.Carry, Page: n.readPage,
		Now: time.Now, Round: n.retention.clocks.Round, Floor: spared.Seq, Log: n.log.With("journal", id),
		MergeGrace: n.cfg.ReplacedGrace, UserGrace: n.cfg.FreedGrace, Every: min(time.Minute, n.cfg.MergeAge),
		OnHold: func(holds []segment.Hold) {
			if len(holds) == 0 {
				n.log.Info("objects are deleted again: there is no hold any more", "journal", id)
				return
			}
			n.log.Info("no object is deleted during a hold", "journal", id, "until", time.UnixMilli(holds[0].UntilMs), "reason", holds[0].Reason)
		},
	}
	releaser, deleter := sweep.NewReleaser(opt), sweep.NewDeleter(opt)
	n.metrics.sweep(id, j.state, deleter)
	return []upkeep.Step{{Name: "release", Run: releaser.Run}, {Name: "delete", Run: deleter.Run}}
}
