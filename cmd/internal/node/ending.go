package node

import (
	"errors"
	"io/fs"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/metadata/cluster"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

// Ending says whether starting a node again helps, after it has ended with an
// error.
type Ending uint8

const (
	// Passing: starting the node again may help.
	Passing Ending = iota
	// TakenOver: another node leads, and nothing but that decides which one does, below
	// LevelCluster. Starting this one again would depose that one.
	TakenOver
	// Permanent: something has to be changed before the node is started again.
	Permanent
)

// kind is the handling of an error. It defines how a node ends that ends with it, and
// how many such errors end a start; with 0 only the start's patience limits them.
type kind struct {
	err    error
	ending Ending
	tries  int
}

// kinds has every error that can end a node; the first that fits counts. Any
// other error is Passing, and a start is patient with it.
var kinds = []kind{
	// The bytes read do not change, but they may have been damaged in transit.
	{journal.ErrBroken, Permanent, 3},
	{segment.ErrCorrupt, Permanent, 3},
	{journal.ErrDamaged, Permanent, 1}, // read several times already
	{journal.ErrForeign, Permanent, 1},
	{journal.ErrUnsettled, Permanent, 1},
	{partlog.ErrContradiction, Permanent, 1},
	{metadata.ErrCorrupt, Permanent, 1},
	{segment.ErrInvalid, Permanent, 1},
	{segment.ErrUnsupported, Permanent, 1},
	{metadata.ErrTooOld, Permanent, 1},
	{metadata.ErrRemovedNode, Permanent, 1},
	{membership.ErrInUse, Permanent, 1},

	{wal.ErrForeign, Permanent, 1},
	{wal.ErrUnsupported, Permanent, 1},
	{datadir.ErrForeign, Permanent, 1},
	{datadir.ErrDamaged, Permanent, 1},
	{datadir.ErrUnsupported, Permanent, 1},

	{bucket.ErrURL, Permanent, 1},
	{bucket.ErrSetup, Permanent, 1},
	{objstore.ErrUnsafe, Permanent, 1},
	{objstore.ErrDenied, Permanent, 1},
	{objstore.ErrNoBucket, Permanent, 1},
	{fs.ErrPermission, Permanent, 1}, // of the data folder, or to listen on a low port

	{replica.ErrUnfinished, Permanent, 1},

	{journal.ErrFenced, TakenOver, 1},
	{journal.ErrTwin, TakenOver, 1},

	{cluster.ErrNone, Passing, 1},      // the node that creates it may be about to start
	{objstore.ErrNotFound, Passing, 1}, // deleted by another node; the next start begins elsewhere
	{journal.ErrBelowFloor, Passing, 1},
	{journal.ErrEnded, Passing, 1},
	{datadir.ErrInUse, Passing, 1}, // by a process that is about to end
	{wal.ErrFull, Passing, 0},

	// These errors go to clients, or to the owner of the ended part, whose own
	// error counts.
	{ingest.ErrNotLeader, Passing, 0},
	{objstore.ErrFull, Passing, 0},
	{ingest.ErrUnavailable, Passing, 0},
	{ingest.ErrNoRoom, Passing, 0},
	{ingest.ErrClosed, Passing, 0},
	{metadata.ErrNotController, Passing, 0},
	{metadata.ErrReadsOnly, Passing, 0},
	{metadata.ErrUnknownLevel, Passing, 0},
	{metadata.ErrLowerLevel, Passing, 0},
	{merge.ErrMismatch, Passing, 0},
	{merge.ErrDisk, Passing, 0},
	{metadata.ErrUnavailable, Passing, 0},
	{wal.ErrClosed, Passing, 0},
	{wal.ErrTooLarge, Passing, 0},
	{announce.ErrClosed, Passing, 0},
	{announce.ErrCorrupt, Passing, 0},
	{announce.ErrUnsupported, Passing, 0},
	{objstore.ErrExists, Passing, 0},
	{objstore.ErrConflict, Passing, 0},
	{objstore.ErrRange, Passing, 0},
	{journal.ErrUnread, Passing, 0},
	{journal.ErrNotYet, Passing, 0},
	{partlog.ErrOutOfOrder, Passing, 0},
	{partlog.ErrProducerEpoch, Passing, 0},
	{partlog.ErrDuplicateSequence, Passing, 0},
	{partlog.ErrBehind, Passing, 0},
	{partlog.ErrNotHere, Passing, 0},
}

func kindOf(err error) kind {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k
		}
	}
	return kind{}
}

// EndingOf returns the Ending of an error that Run returned.
func EndingOf(err error) Ending { return kindOf(err).ending }
