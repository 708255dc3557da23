package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// subject is the name of a journal on the board.
func subject(journal uint32) string {
	if journal == 0 {
		return "metadata journal"
	}
	return fmt.Sprintf("journal %d", journal)
}

// newWatch keeps the board's troubles with the bucket.
func (n *node) newWatch() *bucket.Watch {
	opt := bucket.WatchOptions{
		Read: func(ctx context.Context) error {
			_, err := n.store.Get(ctx, segment.ClusterKey)
			return err
		},
		OnTrouble: func(s bucket.Side, since time.Time, err error) {
			fault, advice := bucket.Explain(err)
			n.board.RaiseSince(since, health.Bucket, string(s), true, fmt.Sprintf("%s: %v; %s", fault, err, advice))
		},
		OnAnswer: func(s bucket.Side) { n.board.Clear(health.Bucket, string(s)) },
		Now:      time.Now,
	}
	if n.writes() {
		opt.Write = func(ctx context.Context) error { return objstore.CreateTwice(ctx, n.store, segment.ProbePrefix) }
	}
	return bucket.NewWatch(opt)
}

// asking makes sure that h's report about the bucket is recent. An idle node
// sends the bucket no other requests.
func (n *node) asking(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.watch.Ask()
		h.ServeHTTP(w, r)
	})
}

// onCoordinatorFailed notes that the groups of a partition are served no more.
func (n *node) onCoordinatorFailed(k partlog.Key, err error) {
	n.board.Raise(health.Coordinators, fmt.Sprintf("partition %d", k.Index), false,
		fmt.Sprintf("its groups are not served until this is repaired and the node is started again: %v", err))
}

// onUndone notes that data journals have not followed the metadata for long; nil: they
// have.
func (n *node) onUndone(err error) {
	if err == nil {
		n.board.Clear(health.Topics, "")
		return
	}
	n.board.Raise(health.Topics, "", false, fmt.Sprintf("topics are not all opened or deleted yet, trying again: %v", err))
}

// onAside notes how many records that were set aside are not in a journal.
func (n *node) onAside(journal uint32, records int64, err error) {
	const advice = `"varve wal list" shows the logs, "varve wal export" takes their records out, "varve wal delete" removes them`
	switch folder := n.dir.WAL(journal); {
	case err != nil:
		n.board.Raise(health.SetAside, subject(journal), false, fmt.Sprintf("logs set aside in %s cannot be read: %v; %s", folder, err, advice))
	case records > 0:
		n.board.Raise(health.SetAside, subject(journal), false, fmt.Sprintf(
			"%d records that were set aside in %s are not in the journal: they were acknowledged with acks=1, or not at all; %s", records, folder, advice))
	default:
		n.board.Clear(health.SetAside, subject(journal))
	}
}

// onFull notes that a write-ahead log has accepted nothing for some seconds,
// and why; nil: it accepts records again.
func (n *node) onFull(journal uint32, err error) {
	if err == nil {
		n.board.Clear(health.Disk, subject(journal))
		return
	}
	advice := "make room on the disk of --data-dir, or raise --wal-max-bytes if that limit is reached; if the bucket is away too, this ends when it answers"
	if wal.NoDescriptors(err) {
		advice = "file descriptors are used up: allow the process more open files (ulimit -n, or LimitNOFILE in its unit)"
	}
	n.board.Raise(health.Disk, subject(journal), true, fmt.Sprintf("the write-ahead log takes no records: %v; %s", err, advice))
}

// onCheckpoints notes why a leader cannot do one of the steps that limit how
// much the next start reads; nil: it can do the step again.
func (n *node) onCheckpoints(id uint32, step journal.Step, err error) {
	about := fmt.Sprintf("%s, %s", subject(id), step)
	if err == nil {
		n.board.Clear(health.Checkpoints, about)
		return
	}
	fault := map[journal.Step]string{
		journal.WriteCheckpoint: "checkpoints are not written, so the next start reads more of the journal",
		journal.MoveFloor:       "the floor cannot be moved, so checkpoints gather and the next start reads more of them",
		journal.RemoveOld:       "old checkpoints cannot be removed, so they gather in the bucket",
	}[step]
	_, advice := bucket.Explain(err)
	if errors.Is(err, journal.ErrDamaged) || errors.Is(err, journal.ErrBroken) {
		fault = "floors are damaged, missing or foreign: this node goes on, but no node can start on them"
		advice = `restore them from a copy of the bucket; "varve bucket verify" names them`
	}
	if step == journal.RemoveOld && errors.Is(err, objstore.ErrDenied) {
		advice = "allow the node to delete objects below checkpoints/"
	}
	n.board.Raise(health.Checkpoints, about, false, fmt.Sprintf("%s: %v; %s", fault, err, advice))
}
