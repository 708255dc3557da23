package node

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/varvelog/varve/fetch/follow"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// pollAlone is how often a follower polls for new objects while requests
	// wait for them and no node can announce them, pollHeard while
	// announcements come.
	pollAlone = 250 * time.Millisecond
	pollHeard = 2 * time.Second

	// firstArchiveID is the lowest broker id of nodes that read alone. They
	// are not registered, so their ids are made from their uuid, above
	// registered ones.
	firstArchiveID = 1 << 30
)

// follow reads journal 0 and the data journals it names, when they appear. Then it takes part
// in the cluster, or reads alone.
func (n *node) follow(ctx context.Context, closers *stack) error {
	if err := n.startFollowers(ctx, closers); err != nil {
		return err
	}
	switch {
	case n.cfg.Archive:
		return nil
	case n.meta.Level() < metadata.LevelCluster:
		n.log.Info("reading alone: the cluster has nodes that know of each other only from a higher feature level on",
			"feature_level", n.meta.Level(), "needed", metadata.LevelCluster)
		closers.push(n.watchLevel())
		return nil
	}
	return n.enterToRead(ctx, closers)
}

func (n *node) startFollowers(ctx context.Context, closers *stack) error {
	n.alone = true
	n.leaders = archive{n}
	n.member = n.newMember()
	n.id.Store(archiveID(n.dir.Node()))
	n.admin = metadata.Refused{Err: metadata.ErrReadsOnly}
	f := follow.New(follow.Options{
		Store: n.store, Meta: n.meta, Load: n.journalConfig, Restore: n.restore, Poll: n.pollInterval, Log: n.log,
		Stays:      func(err error) bool { return kindOf(err).tries > 0 },
		OnApplied:  n.followed,
		OnMetadata: func() { n.board.Busy("reading the data journals") },
		OnShown:    n.shown,
		OnFailed:   func(err error) { n.fail(explain(err)) },
	})
	n.topics, n.followers = f.Topics(), f
	cancel, err := n.bus.Subscribe(func(a announce.Announcement) { f.Poke(a.Journal) })
	if err != nil {
		return err
	}
	closers.push(func() error { cancel(); f.Close(); return nil })
	return explain(f.Start(ctx))
}

// shown lets readers use a followed journal from now on.
func (n *node) shown(id uint32, j follow.Journal) {
	first := n.journals.get(id) == nil
	n.journals.set(id, &dataJournal{state: j.State, prover: j.Head, pace: j.Pace})
	if first {
		n.metrics.journal(id, func() *partlog.State { return n.journals.get(id).state })
	}
}

// pollInterval returns how long a follower waits at least before it polls by
// itself.
func (n *node) pollInterval() time.Duration {
	if n.bus.Hears() {
		return pollHeard
	}
	return pollAlone
}

func archiveID(node segment.ID) int32 {
	h := fnv.New32a()
	h.Write(node[:])
	return firstArchiveID + int32(h.Sum32()&(firstArchiveID-1))
}
