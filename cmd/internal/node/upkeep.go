package node

import (
	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/upkeep"
)

// tieringLevel is the feature level from which on journals may have entries of tiering.
const tieringLevel = 2

var _ upkeep.Journal = (*ingest.Leader)(nil)

// startUpkeep begins to tidy a journal that is led here. Without the role it logs that
// nothing does.
func (n *node) startUpkeep(id uint32, closers *stack) {
	if !n.cfg.HasRole(config.RoleTiering) {
		n.log.Info("nothing is merged, expired or deleted in this journal: the role tiering is not on", "journal", id)
		return
	}
	k := upkeep.Start(upkeep.Options{
		Clock: upkeep.SystemClock{}, Log: n.log.With("journal", id),
		Enabled: func() bool { return n.meta.Level() >= tieringLevel },
	})
	closers.push(func() error { k.Close(); return nil })
}
