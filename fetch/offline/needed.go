package offline

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This file finds out whether the records of an orphan are elsewhere. If the end of a
// journal is lost, a segment may be the only object with some records: its sources are
// deleted, and the entry that names it is lost.

// needs sets Needed of an orphan, or returns why nothing is known.
func (b *Bucket) needs(ctx context.Context, o *Orphan) error {
	parts, err := b.parts(ctx, o.Key)
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		return nil // it was deleted in between
	case lost.Unreadable(err):
		o.Needed = fmt.Sprintf("it is not known which records it has: %v", err)
		return nil
	case err != nil:
		return err
	}
	for _, p := range parts {
		if o.Needed, err = b.only(ctx, partlog.Key{Topic: p.Topic, Index: p.Index}, p); err != nil || o.Needed != "" {
			return err
		}
	}
	return nil
}

// only returns why a part of a segment may be the only object with its records. It is empty
// if the journal has other objects for all of them, or they are deleted.
func (b *Bucket) only(ctx context.Context, k partlog.Key, p *segment.MergedPartition) (string, error) {
	end, known := b.end(k)
	switch {
	case !known:
		return fmt.Sprintf("no journal has partition %d of topic %s (%s): it was deleted, or the end of a journal is lost", k.Index, p.TopicName, k.Topic.Base64()), nil
	case p.To > end:
		return "", fmt.Errorf("%w: partition %d of topic %s ends at offset %d, and object %s of it has records up to offset %d", ErrCutOff, k.Index, p.TopicName, end, p.Object, p.To-1)
	}
	id, _ := b.locate(k)
	for e, err := range b.State(id).Walk(ctx, k, p.From, b.readPage) {
		if err != nil {
			return "", err
		}
		if e.Base >= p.To {
			break
		}
		err := again(ctx, func() error {
			_, _, err := b.store.GetTail(ctx, e.Object.Key(), 1)
			return err
		})
		switch {
		case errors.Is(err, objstore.ErrNotFound):
			return fmt.Sprintf("offsets %d to %d of partition %d of topic %s may be nowhere else: %s is missing", max(e.Base, p.From), min(e.Last, p.To-1), k.Index, p.TopicName, e.Object.Key()), nil
		case err != nil:
			return "", err
		}
	}
	return "", nil
}

func (b *Bucket) readPage(ctx context.Context, p *partlog.Page) (found *partlog.PageExtents, err error) {
	err = again(ctx, func() (err error) {
		found, err = b.removed.Read(ctx, p, nil)
		return err
	})
	return found, err
}

// endBytes is read of a segment at first.
const endBytes = 64 << 10

// parts reads the sections of a merged segment.
func (b *Bucket) parts(ctx context.Context, key string) (parts []*segment.MergedPartition, err error) {
	err = again(ctx, func() error {
		parts = nil
		tail, size, err := b.store.GetTail(ctx, key, endBytes)
		if err != nil {
			return err
		}
		directory, need, err := segment.DecodeMergedTail(tail, size)
		if err == nil && need > 0 {
			if tail, _, err = b.store.GetTail(ctx, key, need); err == nil {
				directory, _, err = segment.DecodeMergedTail(tail, size)
			}
		}
		if err != nil {
			return err
		}
		for _, at := range directory.Sections {
			section, err := objstore.ReadRange(ctx, b.store, key, int64(at.Position), int64(at.Length))
			if err != nil {
				return err
			}
			p, err := segment.DecodeMergedPartition(section)
			if err != nil {
				return err
			}
			parts = append(parts, p)
		}
		return nil
	})
	return parts, err
}
