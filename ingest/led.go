package ingest

import (
	"context"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// LedPartition is one partition of a Leader, for an owner whose state lives in it:
// a coordinator. Its errors are those of a Result.
type LedPartition struct {
	leader *Leader
	key    partlog.Key
}

// Partition gives access to a partition that may be open or not.
func (l *Leader) Partition(k partlog.Key) LedPartition { return LedPartition{l, k} }

// Append is Leader.Append of one batch with acks=all.
func (p LedPartition) Append(ctx context.Context, data []byte, h batch.Header, done func(base int64, err error)) {
	p.leader.Append(ctx, AcksAll, []Batch{{Key: p.key, Data: data, Header: h}}, func(results []Result) {
		done(results[0].BaseOffset, results[0].Err)
	})
}

// AppendEnd is Leader.AppendEnd.
func (p LedPartition) AppendEnd() (int64, bool) { return p.leader.AppendEnd(p.key) }

// Committed is the offset after the last committed record; false if the partition
// takes none.
func (p LedPartition) Committed() (int64, bool) {
	v, ok := p.leader.opt.State.Lookup(p.key)
	return v.End, ok && !v.Sealed
}

// Done is Leader.Done.
func (p LedPartition) Done() <-chan struct{} { return p.leader.Done() }
