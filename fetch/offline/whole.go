package offline

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This file looks for the loss of a journal's end. A reader takes the first gap for the head:
// a node may know better by its witness, a reader of the bucket has only the bucket.

// ErrCutOff: the bucket has objects that can only be there if a journal goes on above its
// head. An object at the head is lost, or all from there on.
var ErrCutOff = errors.New("the end of a journal is missing")

// evidence is about where journals end, from a listing.
type evidence struct {
	journals map[uint32]ends
	own      map[partlog.Key]segment.Name // the own segment with the greatest base
}

// ends are lower bounds of a journal's head.
type ends struct {
	listed   uint64 // the greatest seq of an object
	resolved uint64 // each seq up to this one was an object once
	reason   string // for resolved
}

// ProveWhole is Prove, and returns ErrCutOff if the bucket shows that the head of a journal
// is a hole. Objects above the head are in order that a leader may have under way
// (tiering/journal/PROTOCOL.md, rule 8f).
func (b *Bucket) ProveWhole(ctx context.Context) error {
	seen := &evidence{own: map[partlog.Key]segment.Name{}}
	err := b.listMerged(ctx, func(i objstore.Info, name segment.Name) { seen.add(name) })
	if err != nil {
		return err
	}
	return again(ctx, func() error { return b.prove(ctx, seen, false) })
}

// ProveEnds is ProveWhole by the journals alone, without a listing of merged segments. It
// lists journals from their heads on only.
func (b *Bucket) ProveEnds(ctx context.Context) error {
	return again(ctx, func() error { return b.prove(ctx, &evidence{}, false) })
}

// prove proves the heads after it has listed the journals, and judges the evidence. If it
// is strict, an object above a head is an error in any case.
func (b *Bucket) prove(ctx context.Context, seen *evidence, strict bool) error {
	seen.journals = map[uint32]ends{}
	for _, id := range append([]uint32{0}, b.Topics.Journals()...) {
		at, err := b.ends(ctx, id)
		if err != nil {
			return fmt.Errorf("list journal %d of bucket %s: %w", id, b.store, err)
		}
		seen.journals[id] = at
	}
	if err := b.Prove(ctx); err != nil {
		return err
	}
	return b.judge(seen, strict)
}

func (b *Bucket) judge(seen *evidence, strict bool) error {
	for id, at := range seen.journals {
		switch head := b.head(id); {
		case at.resolved > head:
			return fmt.Errorf("%w: journal %d ends at seq %d, and %s", ErrCutOff, id, head, at.reason)
		case strict && at.listed > head:
			return fmt.Errorf("journal %d ends at seq %d, and the bucket has an object at seq %d: one between them is missing, or is being written", id, head, at.listed)
		}
	}
	for k, name := range seen.own {
		if end, known := b.end(k); known && name.Base >= end {
			return fmt.Errorf("%w: partition %d of topic %s ends at offset %d, and %s has records from offset %d on", ErrCutOff, k.Index, k.Topic.Base64(), end, name.Key(), name.Base)
		}
	}
	return nil
}

// end is the end of a partition; false if it is not known.
func (b *Bucket) end(k partlog.Key) (int64, bool) {
	id, ok := b.locate(k)
	if !ok {
		return 0, false
	}
	state := b.State(id)
	if state == nil {
		return 0, false
	}
	view, ok := state.Lookup(k)
	return view.End, ok
}

func (e *evidence) add(name segment.Name) {
	k := partlog.Key{Topic: name.Topic, Index: name.Partition}
	if last, ok := e.own[k]; name.Own() && (!ok || name.Base > last.Base) {
		e.own[k] = name
	}
}

// listMerged calls fn for each merged segment of the bucket.
func (b *Bucket) listMerged(ctx context.Context, fn func(objstore.Info, segment.Name)) error {
	for _, prefix := range []string{segment.SharedPrefix, segment.TopicsPrefix} {
		err := b.store.List(ctx, prefix, "", func(i objstore.Info) error {
			if name, ok := segment.ParseMergedKey(i.Key); ok {
				fn(i, name)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %q of bucket %s: %w", prefix, b.store, err)
		}
	}
	return nil
}

func (b *Bucket) head(id uint32) uint64 {
	if id == 0 {
		return b.Topics.Head()
	}
	if state := b.State(id); state != nil {
		return state.Head()
	}
	return 0
}

// ends lists a journal from its head on, with its checkpoints and index objects, and reads
// the last objects.
func (b *Bucket) ends(ctx context.Context, id uint32) (ends, error) {
	var at ends
	window := uint64(b.Cluster.Window)
	err := b.store.List(ctx, segment.JournalPrefix(id), segment.JournalKey(id, b.head(id)), func(i objstore.Info) error {
		if seq, ok := segment.ParseJournalKey(id, i.Key); ok {
			at.listed = max(at.listed, seq)
		}
		seq := uint64(0)
		if c, ok := segment.ParseCheckpointKey(id, i.Key); ok {
			seq = c.Seq
		} else if n, ok := segment.ParseIndexKey(id, i.Key); ok {
			seq = n.Seq
		}
		if seq > at.resolved {
			at.resolved, at.reason = seq, fmt.Sprintf("%s is of seq %d", strings.TrimPrefix(i.Key, segment.JournalPrefix(id)), seq)
		}
		return nil
	})
	if err != nil {
		return at, err
	}
	for seq := at.listed; seq > 0 && seq+window > at.listed && seq > b.head(id); seq-- {
		o, err := journal.ReadObject(ctx, b.store, id, seq)
		switch {
		case lost.Is(err):
			continue // readers of the journal meet it
		case err != nil:
			return at, err
		}
		if c := o.Footer.Header.Confirmed; c > at.resolved {
			at.resolved, at.reason = c, fmt.Sprintf("the object at seq %d knows seq %d to be confirmed", seq, c)
		}
	}
	if at.listed > window && at.listed-window > at.resolved {
		at.resolved, at.reason = at.listed-window, fmt.Sprintf("the object at seq %d is sent only after seq %d", at.listed, at.listed-window)
	}
	return at, nil
}
