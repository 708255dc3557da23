package ingest

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// asideEvery is how often the folder of logs set aside is looked at: an operator
// exports or deletes them while the node runs.
const asideEvery = 10 * time.Second

// asideSettles is how long after it was set aside a log is counted for good. Until
// then a client may send its records again, to the node that leads.
const asideSettles = 5 * time.Minute

// asideWatch counts the records of logs set aside that the journal does not have,
// until they are exported or deleted, on a goroutine of its own.
//
// The journal has a record if the valid objects of its log's leadership cover
// it. It also has it if the producer's same batch is in the partition, sent
// again by a client that got no answer. For a client without idempotence the
// latter cannot be known, so its record counts.
type asideWatch struct {
	opt     wal.Options
	state   *partlog.State
	history journal.History // as of the beginning of this leadership
	report  func(records int64, err error)
	now     func() time.Time
	every   time.Duration

	missing atomic.Int64
	counted map[segment.ID]int64 // logs that were counted, but not for good
	work    sync.WaitGroup
}

// start begins to count; it ends with ctx.
func (w *asideWatch) start(ctx context.Context) {
	w.counted = map[segment.ID]int64{}
	w.work.Go(func() {
		ticker := time.NewTicker(w.every)
		defer ticker.Stop()
		for {
			w.look(ctx)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// look counts once and reports.
func (w *asideWatch) look(ctx context.Context) {
	logs, err := wal.AsideFolders(w.opt)
	var missing int64
	for _, l := range logs {
		if !l.Exported.IsZero() {
			continue
		}
		n, countErr := w.countOnce(ctx, l)
		err = errors.Join(err, countErr)
		missing += n
	}
	if ctx.Err() != nil {
		return
	}
	w.missing.Store(missing)
	w.report(missing, err)
}

// countOnce counts a log the first time it is seen, and once more for good.
func (w *asideWatch) countOnce(ctx context.Context, l wal.AsideInfo) (int64, error) {
	if l.Missing >= 0 {
		return l.Missing, nil
	}
	settled := w.now().Sub(l.Time) >= asideSettles
	if n, seen := w.counted[l.Incarnation]; seen && !settled {
		return n, nil
	}
	n, err := w.count(ctx, l)
	w.counted[l.Incarnation] = n
	if err != nil || !settled || ctx.Err() != nil {
		return n, err
	}
	return n, wal.NoteMissing(w.opt, l, n)
}

// count reads a log. A part that cannot be read counts as one record at least.
func (w *asideWatch) count(ctx context.Context, l wal.AsideInfo) (missing int64, err error) {
	switch l.ReadLog(w.opt); {
	case errors.Is(l.Err, fs.ErrNotExist):
		return 0, nil // deleted a moment ago
	case l.Err != nil:
		return 1, l.Err
	}
	from := max(w.history.Covered(l.Incarnation), l.Log.FirstLSN)
	err = l.Log.Read(from, func(r wal.Record) error {
		h, err := batch.Parse(r.Batch)
		if err != nil {
			return err
		}
		if !w.delivered(partlog.Key{Topic: r.Topic, Index: r.Index}, h) {
			missing += int64(h.Records)
		}
		return ctx.Err()
	})
	var damage *wal.DamageError
	if errors.As(err, &damage) {
		lost := max(damage.Lost, from, 1)
		return missing + max(1, int64(damage.Highest+1)-int64(lost)), nil
	}
	return missing, err
}

// delivered reports whether the partition has the batch of an idempotent producer.
func (w *asideWatch) delivered(k partlog.Key, h batch.Header) bool {
	verdict, _, err := w.state.Check(k, h)
	return err == nil && verdict == partlog.VerdictDuplicate
}
