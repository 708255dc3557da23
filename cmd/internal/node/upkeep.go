package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/topicconfig"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/expire"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/upkeep"
)

var _ upkeep.Journal = (*ingest.Leader)(nil)

// counted is the leader's memory, which also counts the bytes of new objects.
type counted struct {
	*fetch.Recent
	written *upkeep.Flow
}

// Add implements the Recent of ingest.Options.
func (c counted) Add(seq uint64, object *pooled.Buffer) {
	c.written.Add(int64(len(object.Bytes())))
	c.Recent.Add(seq, object)
}

// startUpkeep begins to tidy a journal that is led here. Without the role it logs that
// nothing does.
func (n *node) startUpkeep(id uint32, j *dataJournal, written *upkeep.Flow, closers *stack) error {
	if !n.cfg.HasRole(config.RoleTiering) {
		n.log.Info("nothing is merged, expired or deleted in this journal: the role tiering is not on", "journal", id)
		return nil
	}
	clock := upkeep.SystemClock{}
	pacer := upkeep.NewPacer(clock, func() int64 { return tieringRate(n.cfg.TieringRate, written.Rate()) })
	var err error
	if j.merger, err = merge.NewMerger(n.mergeOptions(id, j, pacer)); err != nil {
		return err
	}
	compaction := n.compaction(id, j)
	expirer, dropper := expire.New(n.expiry(id, j)), expire.NewDropper(n.expiry(id, j))
	release, remove, pages := n.sweep(id, j)
	for _, steps := range upkeep.Apart(upkeep.Steps{
		Expire: expirer.Run, Drop: dropper.Run, Merge: j.merger.Run, Compact: compaction.Run, Release: release, Delete: remove, Pages: pages,
	}) {
		k := upkeep.Start(upkeep.Options{
			Steps:     steps,
			Clock:     clock,
			Pause:     min(10*time.Second, n.cfg.MergeAge, n.cfg.RetentionCheck),
			Enabled:   func() bool { return n.meta.Level() >= metadata.LevelTiering },
			OnTrouble: func(step string, err error) { n.onUpkeep(id, step, err) },
			Log:       n.log.With("journal", id),
		})
		closers.push(func() error { k.Close(); return nil })
	}
	j.metrics.tiering(id, j.merger, written)
	j.metrics.compaction(id, compaction)
	j.metrics.retention(id, expirer, dropper)
	return nil
}

// endUpkeep withdraws the troubles of a journal that is tidied elsewhere now.
func (n *node) endUpkeep(id uint32) {
	for _, steps := range upkeep.Apart(upkeep.Steps{}) {
		for _, s := range steps {
			n.onUpkeep(id, s.Name, nil)
		}
	}
	n.onMismatch(id, nil)
}

// maxMerged is how many bytes of batches a merged segment has at most. Its index needs room,
// too.
const maxMerged = segment.MaxMergedSize - 8<<20

func (n *node) mergeOptions(id uint32, j *dataJournal, pacer *upkeep.Pacer) merge.Options {
	c := &n.cfg
	return merge.Options{
		Config: merge.Config{
			JobBytes: max(c.MergeBytes/15*16, 2*c.MergeOwnBytes), DueBytes: c.MergeBytes, DueAge: c.MergeAge,
			OwnBytes: c.MergeOwnBytes, SmallBytes: c.MergeJoinOwnBytes, ObjectBytes: min(c.MergeOwnBytes/4*15, maxMerged), TidyAge: c.MergeJoinAge, TidyCount: c.MergeJoinCount,
		},
		Cluster: n.cluster.ID, Journal: id, Node: n.dir.Node(), Incarnation: n.incarnation,
		Store: n.store, State: j.state, Carry: j.leader.Carry,
		Memory: func(name segment.Name) ([]byte, func(), bool) {
			block, ok := j.recent.Object(name)
			if !ok {
				return nil, nil, false
			}
			return block.Bytes(), block.Release, true
		},
		Page:  n.readPage,
		Topic: n.mergedTopic,
		Disk:  merge.Folder(n.dir.Merge(id)), Room: merge.Folder(n.dir.Merge(id)).Room,
		Clock: upkeep.SystemClock{}, NewID: segment.NewID, Pace: pacer.Wait, Log: n.log,
		CopyOnly:   func() bool { return j.merger.Debt().Bytes > c.UnmergedMaxBytes/2 },
		Hurry:      func() bool { return !c.TieringRate.Auto || j.merger.Debt().Bytes > c.UnmergedMaxBytes/4 },
		OnMismatch: func(err error) { n.onMismatch(id, err) },
		OnDamage: func(k partlog.Key, e partlog.Extent, err error) {
			if err == nil {
				n.board.Clear(health.Damage, e.Object.Key())
				return
			}
			n.damaged(fetch.Damage{Object: e.Object.Key(), Key: k, First: e.Base, Last: e.Last, Err: err})
		},
	}
}

// How many bytes tiering moves, if no setting says so. Each byte that is merged is read,
// written and read back, and some are merged twice.
const (
	idleRate  = 64 << 20 // bytes a second, at least
	busyShare = 6        // bytes for each byte that is written to the journal
)

func tieringRate(r config.Rate, written int64) int64 {
	if r.Auto {
		return max(idleRate, busyShare*written)
	}
	return r.Bytes
}

// readPage reads an index page, or its copy, or as the newest floor has it.
func (n *node) readPage(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
	return n.removed.Read(ctx, p, n.pages.Page)
}

// mergedTopic is a topic as it is merged. Deleted topics that can be restored are merged
// too, into objects of their own class. In journal objects their records would keep all
// later objects of the journal in the bucket for that long.
func (n *node) mergedTopic(id segment.ID) (merge.Topic, bool) {
	t, ok := n.meta.TopicOrDeleted(id)
	if !ok {
		return merge.Topic{}, false
	}
	topic := merge.Topic{Name: t.Name, Class: retentionClass(&t.Values)}
	if t.Deleting {
		topic.Class = "deleted"
		return topic, true
	}
	topic.Codec, topic.Level, topic.Recompress = compression(&t.Values)
	return topic, true
}

// retentionClass names the topics whose records are kept for about as long. Those of a
// class may share objects, which are freed with the last of them.
func retentionClass(v *topicconfig.Values) string {
	switch {
	case v.Compact:
		return "compact"
	case !v.Delete || v.RetentionMs < 0 && v.RetentionBytes < 0:
		return "keep"
	case v.RetentionMs < 0:
		return "bytes"
	}
	class, most := 0, time.Hour.Milliseconds()
	for ; most < v.RetentionMs && class < maxClass; class++ {
		most *= 4
	}
	return fmt.Sprintf("time-%d", class)
}

// maxClass is that of all topics with a retention of more than seven years.
const maxClass = 8

// slowest is the longest that a producer is asked to wait.
const slowest = time.Second

// throttle is how long producers to a journal should wait, while much of it is not merged.
func (n *node) throttle(id uint32) time.Duration {
	j := n.journals.get(id)
	if j == nil || j.merger == nil {
		return 0
	}
	return throttleTime(j.merger.Debt().Bytes, n.cfg.UnmergedMaxBytes)
}

// throttleTime grows from nothing at the bound to slowest at twice the bound.
func throttleTime(debt, bound int64) time.Duration {
	if debt <= bound {
		return 0
	}
	return time.Duration(min(1, float64(debt-bound)/float64(bound)) * float64(slowest))
}

// onUpkeep notes that a step of tiering fails; nil: it has succeeded again.
func (n *node) onUpkeep(journal uint32, step string, err error) {
	about := fmt.Sprintf("%s, %s", subject(journal), step)
	if err == nil {
		n.board.Clear(health.Tiering, about)
		return
	}
	_, advice := bucket.Explain(err)
	switch {
	case errors.Is(err, merge.ErrMismatch):
		return // it is a trouble of its own
	case errors.Is(err, merge.ErrDisk):
		advice = "make room on the disk of --data-dir; the node goes on, and merges less at once"
	case step == "delete" && errors.Is(err, objstore.ErrDenied):
		advice = "allow the node to delete objects (s3:DeleteObject); nothing is lost until then, and the bucket grows"
	}
	n.board.Raise(health.Tiering, about, false, fmt.Sprintf("%s of %s fails and is tried again: %v; %s", step, subject(journal), err, advice))
}

// onMismatch notes that merged records differ from their sources; nil: they are merged
// right, or deleted. Nothing is lost, so the node stays ready: its clients write and read.
func (n *node) onMismatch(journal uint32, err error) {
	if err == nil {
		n.board.Clear(health.Mismatch, subject(journal))
		return
	}
	n.board.Raise(health.Mismatch, subject(journal), false, fmt.Sprintf("merged records of %s differ from their sources: %v; nothing was lost or changed, and the sources stay. "+
		"This is a bug of varve, or a fault of the memory or the store: report it with this text; it ends when the records are merged right", subject(journal), err))
}
