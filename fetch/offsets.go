package fetch

import (
	"context"
	"fmt"

	"github.com/varvelog/varve/tiering/partlog"
)

// The special timestamps of ListOffset.
const (
	Latest       int64 = -1 // the high watermark
	Earliest     int64 = -2 // the log start
	MaxTimestamp int64 = -3 // the first record with the greatest timestamp (KIP-734)
)

// OffsetAt is the answer of ListOffset. All fields are -1 if there is no such record.
type OffsetAt struct {
	Offset    int64
	Timestamp int64 // of the record, Unix milliseconds; -1 for Latest and Earliest
	Epoch     int32 // leader epoch of the record; for Latest the partition's
}

var nowhere = OffsetAt{Offset: -1, Timestamp: -1, Epoch: -1}

// Offsets is one request for offsets of partitions. They share one proof of the head of
// each journal, and one wait for its acknowledged records. It is made when the request
// has arrived, and answers no other one. It is safe for concurrent use.
type Offsets struct{ query *query }

// Offsets begins a request for offsets.
func (r *Reader) Offsets() Offsets { return Offsets{r.newQuery()} }

// ListOffset finds an offset. For a timestamp of 0 or more, in Unix milliseconds, it is
// exactly that of the first record which is not older; else see the special timestamps.
// leaderEpoch is the epoch that the client knows, -1 if it knows none.
func (o Offsets) ListOffset(ctx context.Context, k partlog.Key, leaderEpoch int32, timestamp int64) (OffsetAt, error) {
	if timestamp < MaxTimestamp {
		return nowhere, fmt.Errorf("list offset for timestamp %d: %w", timestamp, ErrTimestamp)
	}
	q := o.query
	j, err := q.locate(k)
	if err != nil {
		return nowhere, err
	}
	if timestamp == Latest || timestamp == Earliest { // reads no object
		return q.listOffset(ctx, j, k, leaderEpoch, timestamp)
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	for lost := gone(nil); ; {
		at, err := q.listOffset(ctx, j, k, leaderEpoch, timestamp)
		if err == nil {
			return at, nil
		}
		if err := lost.again(ctx, q, k, err); err != nil {
			return nowhere, err
		}
		if j, err = q.locate(k); err != nil {
			return nowhere, err
		}
	}
}

func (q *query) listOffset(ctx context.Context, j journal, k partlog.Key, leaderEpoch int32, timestamp int64) (OffsetAt, error) {
	if timestamp == Latest || timestamp == MaxTimestamp {
		if err := q.settle(ctx, j); err != nil {
			return nowhere, err
		}
	}
	view, err := q.view(ctx, j, k, leaderEpoch, timestamp < 0)
	if err != nil {
		return nowhere, err
	}
	s := search{query: q, journal: j, key: k, start: view.Start}
	switch timestamp {
	case Latest:
		return OffsetAt{Offset: view.End, Timestamp: -1, Epoch: view.Epoch}, nil
	case Earliest:
		return OffsetAt{Offset: view.Start, Timestamp: -1, Epoch: s.epochOfStart(view)}, nil
	case MaxTimestamp:
		return s.newest(ctx)
	}
	return s.notOlder(ctx, timestamp)
}

// EpochEnd is where a leader epoch ends. Epoch is the largest known epoch that is not
// above the one asked for; End is the offset at which the next epoch starts, or the high
// watermark. Both are -1 if the epoch asked for is above the partition's.
type EpochEnd struct {
	Epoch int32
	End   int64
}

// EpochEnd answers OffsetForLeaderEpoch, from a proved head. leaderEpoch is the epoch that
// the client knows, -1 if it knows none.
func (o Offsets) EpochEnd(ctx context.Context, k partlog.Key, leaderEpoch, epoch int32) (EpochEnd, error) {
	unknown := EpochEnd{Epoch: -1, End: -1}
	q := o.query
	j, err := q.locate(k)
	if err != nil {
		return unknown, err
	}
	view, err := q.view(ctx, j, k, leaderEpoch, true)
	if err != nil {
		return unknown, err
	}
	if epoch == view.Epoch { // it ends where the log does
		if err := q.settle(ctx, j); err != nil {
			return unknown, err
		}
	}
	got, end, ok := j.State.EpochEnd(k, epoch)
	if !ok {
		return unknown, errNotOpen
	}
	return EpochEnd{Epoch: got, End: end}, nil
}
