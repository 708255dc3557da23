package verify

import (
	"context"
	"errors"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// This file is about the order in which Background reads objects: own segments by
// partition and offset, shared ones by id, and the objects of the journal by seq.

// cursor is where a pass is. The zero cursor stands before the first object.
type cursor struct {
	Phase     phase      `json:"phase"`
	Topic     segment.ID `json:"topic"`
	Partition int32      `json:"partition"`
	Offset    int64      `json:"offset"` // the first one not read
	Object    segment.ID `json:"object"` // the last one read
	Seq       uint64     `json:"seq"`    // the last one read
}

type phase int

const (
	ownSegments phase = iota
	sharedSegments
	journalObjects
	passEnd
)

// next returns the first object after the cursor, and the cursor after it; nil at the end.
func (b *Background) next(ctx context.Context, at cursor) (*merged, cursor, error) {
	for at.Phase < passEnd {
		var m *merged
		var err error
		to := at
		switch at.Phase {
		case ownSegments:
			m, to, err = b.nextOwn(ctx, at)
		case sharedSegments:
			m, to = b.nextShared(at)
		case journalObjects:
			m, to, err = b.nextOfJournal(ctx, at)
		}
		if err != nil || m != nil {
			return m, to, err
		}
		at = cursor{Phase: at.Phase + 1}
	}
	return nil, at, nil
}

// nextOwn finds the next own segment. Index pages that are lost are reported and passed.
func (b *Background) nextOwn(ctx context.Context, at cursor) (*merged, cursor, error) {
	from := partlog.Key{Topic: at.Topic, Index: at.Partition}
	for _, k := range b.keys(from) {
		var offset int64
		if k == from {
			offset = at.Offset
		}
		for e, err := range b.opt.State.Walk(ctx, k, offset, b.page) {
			var page *partlog.PageError
			switch {
			case errors.As(err, &page) && lost.Unreadable(err):
				b.lostPage(page.Page, page.Err)
			case err != nil:
				return nil, at, err
			case e.Object.Own() && e.Last >= offset:
				return &merged{e.Object, []piece{{k, e}}}, cursor{Topic: k.Topic, Partition: k.Index, Offset: e.Last + 1}, nil
			}
		}
	}
	return nil, at, nil
}

// page reads an index page.
func (b *Background) page(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
	if b.opt.Page != nil {
		return b.opt.Page(ctx, p)
	}
	return restore.Page(ctx, b.opt.Store, p)
}

// lostPage reports an index page of which both copies are lost.
func (b *Background) lostPage(p *partlog.Page, err error) {
	code := CodeCorrupt
	if errors.Is(err, objstore.ErrNotFound) {
		code = CodeMissing
	}
	f := finding(Error, code, b.opt.State.Journal(), p.ObjectKey(), hintRestore, "index page: %v", err)
	f.Affects = []Range{offsets(p.Key, p.First(), p.Last)}
	b.damaged(p.ObjectKey(), []*Finding{f})
}

// keys are the partitions from one on, in their order.
func (b *Background) keys(from partlog.Key) (keys []partlog.Key) {
	b.opt.State.Partitions(func(k partlog.Key, _ partlog.View) {
		if k.Compare(from) >= 0 {
			keys = append(keys, k)
		}
	})
	return keys
}

// nextShared finds the shared segment with the next id. Those are in memory.
func (b *Background) nextShared(at cursor) (*merged, cursor) {
	var m *merged
	b.opt.State.Survey(func(s *partlog.Survey) {
		for _, e := range s.Segments {
			if e.Object.Kind != segment.KindMerged || e.Object.Own() || e.Last < s.View.Start || compareIDs(e.Object.Object, at.Object) <= 0 {
				continue
			}
			switch {
			case m == nil || compareIDs(e.Object.Object, m.object.Object) < 0:
				m = &merged{e.Object, []piece{{s.Key, e}}}
			case e.Object == m.object:
				m.pieces = append(m.pieces, piece{s.Key, e})
			}
		}
	})
	if m == nil {
		return nil, at
	}
	return m, cursor{Phase: sharedSegments, Object: m.object.Object}
}

// nextOfJournal is the next object of the journal, of those that have records which are
// not merged. The newest are left out. Its pieces are not known before it is read.
func (b *Background) nextOfJournal(ctx context.Context, at cursor) (*merged, cursor, error) {
	head := b.opt.State.Head()
	end := head - min(head, b.opt.Newest)
	seq := at.Seq + 1
	if seq > end {
		return nil, at, nil
	}
	if at.Seq == 0 {
		first, err := b.firstNeeded(ctx)
		if err != nil || first > end {
			return nil, at, err
		}
		seq = first
	}
	return &merged{object: segment.DataObject(b.opt.State.Journal(), seq)}, cursor{Phase: journalObjects, Seq: seq}, nil
}

// firstNeeded is the lowest seq of an object that has records which are not merged, or a
// lower one. An index page that is lost was reported with the own segments; then it is the
// seq from which on no object was released.
func (b *Background) firstNeeded(ctx context.Context) (uint64, error) {
	first, err := restore.FirstNeeded(ctx, b.opt.Store, b.opt.State)
	if err == nil || !lost.Unreadable(err) {
		return first, err
	}
	judged, _ := b.opt.State.Judged()
	return max(judged.Seq, 1), nil
}

// piecesIn are the extents of the state that name an object of the journal, of those
// that its footer lists.
func (b *Background) piecesIn(ctx context.Context, object segment.Name, footer *segment.Footer) (pieces []piece, err error) {
	for i := range footer.Partitions {
		p := &footer.Partitions[i]
		extents, _, err := b.find(ctx, keyOf(p), p.BaseOffset, 1)
		if err != nil && !lost.Unreadable(err) {
			return nil, err
		}
		if len(extents) > 0 && extents[0].Object == object {
			pieces = append(pieces, piece{keyOf(p), extents[0]})
		}
	}
	return pieces, nil
}

// piecesAt are the extents in memory that name an object, whose footer is not known.
func (b *Background) piecesAt(object segment.Name) (pieces []piece) {
	for _, k := range b.keys(partlog.Key{}) {
		for e := range b.opt.State.Walk(context.Background(), k, 0, nil) {
			if e.Object == object {
				pieces = append(pieces, piece{k, e})
			}
		}
	}
	return pieces
}
