package offline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

const (
	// readBytes is how much is read of a partition at once.
	readBytes = 16 << 20
	// patience is how long a store may fail before Read gives up.
	patience = time.Minute
)

// Read calls fn with each batch that has offsets from first on and below end, in order.
// The batch is checked, and may start before first or end after end. It is valid until fn
// returns. An error of fn ends the reading, and Read returns it. A partition whose log
// begins after first now, because records were deleted, is read from there.
func (b *Bucket) Read(ctx context.Context, k partlog.Key, first, end int64, fn func(h batch.Header, bytes []byte) error) error {
	var joined []byte
	var failing time.Time // since when nothing is read
	for first < end {
		response := b.Reader.Fetch(ctx, fetch.Request{
			Partitions: []fetch.Partition{{Key: k, Offset: first, MaxBytes: readBytes, LeaderEpoch: -1}}, MaxBytes: readBytes,
		})
		r := response.Results[0]
		switch {
		case ctx.Err() != nil:
			response.Release()
			return ctx.Err()
		case errors.Is(r.Err, fetch.ErrOutOfRange) && r.LogStart > first:
			first, failing = r.LogStart, time.Time{}
		case len(r.Records) > 0:
			failing = time.Time{}
			bytes := r.Records[0]
			if len(r.Records) > 1 {
				joined = slices.Concat(append([][]byte{joined[:0]}, r.Records...)...)
				bytes = joined
			}
			next, err := pass(bytes, end, fn)
			if err != nil {
				response.Release()
				return err
			}
			first = next
		default:
			if failing.IsZero() {
				failing = time.Now()
			}
			if err := giveUp(r.Err, time.Since(failing)); err != nil {
				response.Release()
				return fmt.Errorf("read from offset %d on: %w", first, err)
			}
		}
		response.Release()
	}
	return nil
}

// errNothing is an answer without records, though there are some.
var errNothing = errors.New("the store gives no records")

// giveUp returns why there is no point in another try. Fetch waits before it answers with
// an error.
func giveUp(err error, since time.Duration) error {
	switch {
	case err != nil && !errors.Is(err, fetch.ErrNotReady):
		return err
	case since < patience:
		return nil
	case err == nil:
		return errNothing
	}
	return err
}

// pass calls fn with the batches that begin below end, and returns the offset after them.
func pass(bytes []byte, end int64, fn func(batch.Header, []byte) error) (next int64, err error) {
	errEnd := errors.New("end")
	err = batch.Walk(bytes, func(pos int, h batch.Header) error {
		if h.BaseOffset >= end {
			next = end
			return errEnd
		}
		next = h.LastOffset() + 1
		return fn(h, bytes[pos:pos+h.Size()])
	})
	if errors.Is(err, errEnd) {
		err = nil
	}
	return next, err
}

// View is a partition at the head that was proved last. One that its journal has not
// opened yet is empty.
func (b *Bucket) View(k partlog.Key) partlog.View {
	id, _ := b.locate(k)
	state := b.State(id)
	if state == nil {
		return partlog.View{}
	}
	view, _ := state.Lookup(k)
	return view
}

// OffsetAt is the offset of the first record that is not older than a time, in Unix
// milliseconds; false if there is none.
func (b *Bucket) OffsetAt(ctx context.Context, k partlog.Key, ms int64) (offset int64, ok bool, err error) {
	err = again(ctx, func() error {
		at, err := b.Reader.Offsets().ListOffset(ctx, k, -1, ms)
		offset, ok = at.Offset, at.Offset >= 0
		return err
	})
	return offset, ok, err
}
