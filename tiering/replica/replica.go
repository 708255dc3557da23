// Package replica marks buckets that are copies of others.
//
// It owns the marks below copy/ and their meaning. It promises that a copy which was not
// finished is never taken for a whole one, neither for reading nor for writing. A copy that
// nodes write to is a new incarnation of its cluster, and never copied into again. The
// package copies nothing itself.
package replica

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// ErrUnfinished is a bucket that is a copy, and not whole.
var ErrUnfinished = errors.New("the bucket is a copy that is not finished")

// ErrOpened is a copy that a node has written to.
var ErrOpened = errors.New("the bucket is no copy any more: a node has written to it")

// Status has the marks of a bucket.
type Status struct {
	Begun  segment.Copy // the last run; zero if the bucket is no copy
	Done   segment.Copy // its end; zero if it is not finished
	Opened segment.Copy // zero if no node writes to the bucket
}

// IsCopy reports whether the bucket is a copy, and not opened.
func (s *Status) IsCopy() bool { return s.Begun.Number > 0 && s.Opened.Number == 0 }

// Incarnation is that of the bucket's cluster: zero, unless it is a copy that was opened.
func (s *Status) Incarnation() segment.ID { return s.Opened.Object }

// whole returns ErrUnfinished if the bucket is not whole.
func (s *Status) whole() error {
	if s.Begun.Number > 0 && s.Done.Number == 0 {
		return fmt.Errorf("%w: run %d from %s has not ended; run \"varve bucket copy\" again", ErrUnfinished, s.Begun.Number, s.Begun.Source)
	}
	return nil
}

// Read reads the marks. The error is ErrUnfinished if the bucket is not whole; then the
// status is set, too.
func Read(ctx context.Context, store objstore.Store) (Status, error) {
	var s Status
	// A bucket that is no copy costs this one request. Marks are never removed.
	if _, err := read(ctx, store, segment.CopyBegunKey(1), segment.CopyBegun); errors.Is(err, objstore.ErrNotFound) {
		return s, nil
	} else if err != nil {
		return s, err
	}
	n, err := newest(ctx, store)
	if err != nil {
		return s, err
	}
	for {
		mark, err := read(ctx, store, segment.CopyBegunKey(n), segment.CopyBegun)
		if errors.Is(err, objstore.ErrNotFound) {
			break
		}
		if err != nil {
			return s, err
		}
		s.Begun = mark
		n++
	}
	if s.Done, err = read(ctx, store, segment.CopyDoneKey(s.Begun.Number), segment.CopyDone); errors.Is(err, objstore.ErrNotFound) {
		s.Done = segment.Copy{}
	} else if err != nil {
		return s, err
	} else if s.Done.Object != s.Begun.Object {
		return s, fmt.Errorf("%w: two runs have number %d", segment.ErrCorrupt, s.Begun.Number)
	}
	if s.Opened, err = read(ctx, store, segment.CopyOpenedKey, segment.CopyOpened); errors.Is(err, objstore.ErrNotFound) {
		s.Opened = segment.Copy{}
	} else if err != nil {
		return s, err
	}
	return s, s.whole()
}

// newest returns the highest listed number of a run, which may not be the last one.
func newest(ctx context.Context, store objstore.Store) (uint64, error) {
	n := uint64(1)
	err := store.List(ctx, segment.CopyPrefix, "", func(i objstore.Info) error {
		number, _, _ := strings.Cut(strings.TrimPrefix(i.Key, segment.CopyPrefix), "/")
		if listed, err := strconv.ParseUint(number, 10, 64); err == nil && i.Key == segment.CopyBegunKey(listed) {
			n = max(n, listed)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("list the marks of copies: %w", err)
	}
	return n, nil
}

func read(ctx context.Context, store objstore.Store, key string, state segment.CopyState) (segment.Copy, error) {
	b, err := store.Get(ctx, key)
	if err != nil {
		return segment.Copy{}, fmt.Errorf("read %s: %w", key, err)
	}
	c, err := segment.DecodeCopy(b)
	if err == nil && c.State != state {
		err = fmt.Errorf("%w: state %d, not %d", segment.ErrCorrupt, c.State, state)
	}
	if err != nil {
		return segment.Copy{}, fmt.Errorf("%s: %w", key, err)
	}
	return c, nil
}

// Write stores a mark. It is the caller's if there is no error.
func Write(ctx context.Context, store objstore.Store, c segment.Copy) error {
	key := map[segment.CopyState]string{
		segment.CopyBegun: segment.CopyBegunKey(c.Number), segment.CopyDone: segment.CopyDoneKey(c.Number), segment.CopyOpened: segment.CopyOpenedKey,
	}[c.State]
	b, err := segment.EncodeCopy(c)
	if err != nil {
		return err
	}
	createErr := store.Create(ctx, key, objstore.Plain(b))
	got, err := store.Get(ctx, key)
	switch {
	case err != nil:
		return errors.Join(createErr, fmt.Errorf("read %s back: %w", key, err))
	case string(got) != string(b):
		return fmt.Errorf("%w: %s was written by another process", objstore.ErrExists, key)
	}
	return nil
}
