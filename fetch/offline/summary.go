package offline

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// parallel is how many partitions are looked at at once.
const parallel = 16

// Summary is the account of one partition: the extents that hold its log.
type Summary struct {
	Key        partlog.Key
	Journal    uint32
	Start, End int64 // offsets
	Extents    int64
	Objects    map[segment.Name]struct{} // in which the extents lie
	Bytes      ByPlace                   // of the extents
	OldestMs   int64                     // about the time of the first record, Unix milliseconds; -1 if it is not known
	NewestMs   int64                     // greatest timestamp, -1 if it is not known
}

// Summaries gives the accounts of the partitions, in their order. With times it reads the
// header of the first batch of each. onDone is called after each partition.
func (b *Bucket) Summaries(ctx context.Context, keys []partlog.Key, times bool, onDone func()) ([]Summary, error) {
	all := make([]Summary, len(keys))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(parallel)
	for i, k := range keys {
		work.Go(func() (err error) {
			defer onDone()
			all[i], err = b.summary(ctx, k, times)
			return err
		})
	}
	return all, work.Wait()
}

func (b *Bucket) summary(ctx context.Context, k partlog.Key, times bool) (Summary, error) {
	s := Summary{Key: k, Objects: map[segment.Name]struct{}{}, OldestMs: -1, NewestMs: -1}
	var ok bool
	if s.Journal, ok = b.locate(k); !ok {
		return s, fmt.Errorf("partition %d of topic %s is not there any more", k.Index, k.Topic.Base64())
	}
	state := b.State(s.Journal)
	if state == nil {
		return s, fmt.Errorf("journal %d is not there", s.Journal)
	}
	view, _ := state.Lookup(k) // one that is not open yet is empty
	s.Start, s.End = view.Start, view.End
	for e, err := range b.Reader.Extents(ctx, k, s.Start) {
		if err != nil {
			return s, err
		}
		if e.Base >= s.End { // came since
			break
		}
		if s.Extents == 0 && times {
			if s.OldestMs, err = b.firstTime(ctx, &e); err != nil {
				return s, err
			}
		}
		s.add(&e)
	}
	return s, nil
}

func (s *Summary) add(e *partlog.Extent) {
	s.Extents++
	s.Objects[e.Object] = struct{}{}
	s.NewestMs = max(s.NewestMs, e.MaxTimestamp)
	switch n := int64(e.Length); {
	case e.Object.Kind != segment.KindMerged:
		s.Bytes.Journal += n
	case e.Object.Own():
		s.Bytes.Own += n
	default:
		s.Bytes.Shared += n
	}
}

// ByPlace is a number of bytes by the kind of object in which they lie.
type ByPlace struct {
	Journal int64 // objects of journals, which are not merged yet
	Shared  int64 // merged segments of many partitions
	Own     int64 // merged segments of one partition
}

// Sum is that of all kinds.
func (b ByPlace) Sum() int64 { return b.Journal + b.Shared + b.Own }

// Plus adds two of them.
func (b ByPlace) Plus(o ByPlace) ByPlace {
	return ByPlace{b.Journal + o.Journal, b.Shared + o.Shared, b.Own + o.Own}
}

// firstTime is the time of the first record of an extent.
func (b *Bucket) firstTime(ctx context.Context, e *partlog.Extent) (int64, error) {
	var head []byte
	err := again(ctx, func() (err error) {
		head, err = objstore.ReadRange(ctx, b.store, e.Object.Key(), int64(e.Position), batch.HeaderSize)
		return err
	})
	if errors.Is(err, objstore.ErrNotFound) {
		return -1, nil // merged or deleted since
	}
	if err != nil {
		return -1, fmt.Errorf("read %s: %w", e.Object.Key(), err)
	}
	h, err := batch.Parse(head)
	if err != nil && !errors.Is(err, batch.ErrShort) {
		return -1, fmt.Errorf("first batch of offsets %d to %d in %s: %w", e.Base, e.Last, e.Object.Key(), err)
	}
	return h.BaseTimestamp, nil
}
