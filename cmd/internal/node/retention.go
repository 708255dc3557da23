package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/expire"
	"github.com/varvelog/varve/tiering/segment"
)

// upgradeGrace is how long nothing expires after a cluster was raised to the feature level
// that brought retention: until then the configuration of topics had no effect.
const upgradeGrace = 24 * time.Hour

// retention is the part of a node that decides when something may be deleted by time.
type retention struct {
	clocks  *clocks.Clocks
	trusted atomic.Int64 // Unix milliseconds; 0: no time was confirmed yet
	ahead   atomic.Int64 // of the store's clock, by the last comparison

	onTrusted func(context.Context) // after trusted has moved on
	warned    bool                  // that retention begins to act; for watchRetention
}

// startRetention begins to compare clocks, once this node is the controller.
func (n *node) startRetention(controller *metadata.Leader, closers *stack) {
	began := time.Now()
	n.retention.onTrusted = controller.LookAgain
	n.retention.clocks = clocks.New(clocks.Options{
		Store: n.store, Prove: controller.Prove,
		Read: func(ctx context.Context) error {
			_, err := n.store.Get(ctx, segment.ClusterKey)
			return err
		},
		Now: time.Now, Uptime: func() time.Duration { return time.Since(began) }, OnJudged: n.onClocks,
	})
	ctx, cancel := context.WithCancel(context.Background())
	stop := every(n.cfg.RetentionCheck, func() { n.watchRetention(ctx) })
	closers.push(func() error {
		cancel()
		return stop()
	})
	n.metrics.clock(&n.retention.ahead)
}

// onClocks notes a comparison of the node's clock with the store's.
func (n *node) onClocks(ahead time.Duration, err error) {
	n.retention.ahead.Store(int64(ahead))
	if err == nil {
		n.board.Clear(health.Clock, "")
		return
	}
	n.board.Raise(health.Clock, "", false, fmt.Sprintf("%v: nothing expires, and nothing is compacted or deleted, until they agree within five minutes; "+
		"set the clock of this machine right, or that of the store", err))
}

// watchRetention confirms the time when a deleted topic may be due to be purged, and warns
// of records that are going to expire after an upgrade.
func (n *node) watchRetention(ctx context.Context) {
	n.warnOfRetention(time.Now())
	if !n.mayPurge(time.Now()) {
		return
	}
	now, err := n.retention.clocks.Round(ctx)
	switch {
	case err == nil:
		n.retention.trusted.Store(now.UnixMilli())
		n.retention.onTrusted(ctx)
		n.board.Clear(health.Tiering, "deleted topics")
	case errors.Is(err, clocks.ErrWrong), errors.Is(err, clocks.ErrTooEarly), ctx.Err() != nil:
	default:
		_, advice := bucket.Explain(err)
		n.board.Raise(health.Tiering, "deleted topics", false, fmt.Sprintf("deleted topics are kept for longer: %v; %s", err, advice))
	}
}

// mayPurge reports whether the grace of a deleted topic is over by this node's clock, and
// not yet by the confirmed time.
func (n *node) mayPurge(now time.Time) bool {
	for _, t := range n.meta.Deleting() {
		due := time.UnixMilli(t.DeletedMs).Add(n.cfg.DeleteGrace)
		if t.DeletedMs > 0 && !now.Before(due) && n.retention.trusted.Load() < due.UnixMilli() {
			return true
		}
	}
	return false
}

// retentionBegins is when records may expire at the earliest.
func (n *node) retentionBegins() time.Time {
	ms := n.meta.TieredMs()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).Add(upgradeGrace)
}

// maxWarned is how many topics a warning names.
const maxWarned = 20

// warnOfRetention warns once, after an upgrade, of topics whose configuration is going to
// act.
func (n *node) warnOfRetention(now time.Time) {
	begins := n.retentionBegins()
	if n.retention.warned || n.meta.Level() < metadata.LevelTiering || !now.Before(begins) {
		return
	}
	n.retention.warned = true
	var names []string
	for _, t := range n.meta.Topics() {
		if v := t.Values; v.Delete && (v.RetentionMs >= 0 || v.RetentionBytes >= 0) || v.Compact {
			names = append(names, t.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	list := strings.Join(names[:min(len(names), maxWarned)], ", ")
	if more := len(names) - maxWarned; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	n.log.Warn("after the upgrade the retention of topics begins to act, which had no effect before: "+
		"records beyond it are deleted for good; \"varve topic alter\" changes it, -1 keeps forever",
		"from", begins.UTC().Format(time.RFC3339), "topics", list)
}

// expiry are the options of the steps that expire and drop in a journal.
func (n *node) expiry(id uint32, j *dataJournal) expire.Options {
	return expire.Options{
		State: j.state, Carry: j.leader.CarryWanted, Clocks: n.retention.clocks, Now: time.Now, Page: n.readPage,
		Policy: n.retained, Gone: n.purged, Begins: n.retentionBegins,
		Every: n.cfg.RetentionCheck, Log: n.log.With("journal", id),
	}
}

// purged reports whether a topic does not exist and cannot be restored.
func (n *node) purged(id segment.ID) bool {
	_, ok := n.meta.TopicOrDeleted(id)
	return !ok
}

// retained is how long a topic keeps its records. Only the cleanup policy delete lets them
// expire, as in Kafka.
func (n *node) retained(id segment.ID) (expire.Policy, bool) {
	t, ok := n.meta.TopicByID(id)
	if !ok || !t.Values.Delete {
		return expire.Policy{}, false
	}
	return expire.Policy{RetentionMs: t.Values.RetentionMs, RetentionBytes: t.Values.RetentionBytes}, true
}

// clock shows the difference of the clocks, in nanoseconds.
func (m *metrics) clock(ahead *atomic.Int64) {
	m.gauge("varve_clock_ahead_seconds", "How far the node's clock is ahead of the store's, by the last comparison; 0 if the store has none.", nil,
		func() float64 { return time.Duration(ahead.Load()).Seconds() })
}

// retention shows expiries and drops in a journal.
func (m *metrics) retention(id uint32, x *expire.Expirer, d *expire.Dropper) {
	journal := journalLabel(id)
	m.counter("varve_expiries_total", "Times that the start of a partition was moved by retention.", journal, func() float64 { times, _ := x.Moved(); return float64(times) })
	m.counter("varve_expired_offsets_total", "Offsets that have expired by retention.", journal, func() float64 { _, offsets := x.Moved(); return float64(offsets) })
	m.counter("varve_dropped_partitions_total", "Partitions of deleted topics whose records were given up.", journal, func() float64 { return float64(d.Dropped()) })
}
