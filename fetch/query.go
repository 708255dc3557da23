package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// query is one request. It remembers the journals that it looked at, and the proofs of
// their heads: one for each journal at most.
type query struct {
	reader *Reader
	proofs map[uint32]error // by journal
	losses map[uint32]error // by journal: ErrNotLeader, or nil; nil until it is needed
	views  map[uint32]*JournalView
}

func (r *Reader) newQuery() *query {
	return &query{reader: r, proofs: make(map[uint32]error), views: make(map[uint32]*JournalView)}
}

// journal is the journal that a partition lives in.
type journal struct {
	id uint32
	*JournalView
}

func (q *query) locate(k partlog.Key) (journal, error) {
	id, ok := q.reader.cfg.Locate(k)
	if !ok {
		return journal{}, ErrUnknownPartition
	}
	view := q.views[id]
	if view == nil {
		if view, ok = q.reader.cfg.Journal(id); !ok {
			return journal{}, fmt.Errorf("%w: journal %d is not followed here", ErrNotReady, id)
		}
		q.views[id] = view
	}
	return journal{id: id, JournalView: view}, nil
}

// prove proves the head of the journal, unless this request has done so.
func (q *query) prove(ctx context.Context, j journal) error {
	err, done := q.proofs[j.id]
	if done {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, proveLimit)
	defer cancel()
	if err = j.Head.Prove(ctx); err != nil && !errors.Is(err, ErrNotLeader) {
		err = fmt.Errorf("%w: prove the head of journal %d: %w", ErrNotReady, j.id, err)
	}
	q.proofs[j.id] = err
	return err
}

// settle waits until all records that this node acknowledged before are applied, if it
// leads the journal. It comes before the proof of a head that a client takes for the
// end.
func (q *query) settle(ctx context.Context, j journal) error {
	if j.Settle == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	err := j.Settle(ctx)
	if err != nil && !errors.Is(err, ErrNotLeader) {
		err = fmt.Errorf("%w: commit acknowledged records of journal %d: %w", ErrNotReady, j.id, err)
	}
	return err
}

// lost returns ErrNotLeader if this node led the journal and does not lead it any more.
func (q *query) lost(ctx context.Context, j journal) error {
	if j.Confirm == nil {
		return nil
	}
	err, done := q.losses[j.id]
	if done {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, proveLimit)
	defer cancel()
	if err = j.Confirm(ctx); !errors.Is(err, ErrNotLeader) {
		err = nil // this node leads, or it cannot know
	}
	if q.losses == nil {
		q.losses = make(map[uint32]error)
	}
	q.losses[j.id] = err
	return err
}

var errNotOpen = fmt.Errorf("%w: the partition is not open in its journal yet", ErrNotReady)

// view returns the partition's view for a client that knows this leader epoch. The head is
// proved if the caller asks for it, or if the epoch is newer than ours.
func (q *query) view(ctx context.Context, j journal, k partlog.Key, leaderEpoch int32, proof bool) (partlog.View, error) {
	v, ok := j.State.Lookup(k)
	if proof || ok && leaderEpoch > v.Epoch {
		if err := q.prove(ctx, j); err != nil {
			return v, err
		}
		v, ok = j.State.Lookup(k)
	}
	if !ok {
		return v, errNotOpen
	}
	return v, checkEpoch(v, leaderEpoch)
}

// checkEpoch fences a client by the leader epoch it knows (KIP-320). Only with a proved
// head may an epoch be called too new.
func checkEpoch(v partlog.View, leaderEpoch int32) error {
	switch {
	case leaderEpoch < 0 || leaderEpoch == v.Epoch:
		return nil
	case leaderEpoch < v.Epoch:
		return ErrFencedEpoch
	}
	return ErrUnknownEpoch
}

// errMissing is an object that the state names and the store does not have.
var errMissing = fmt.Errorf("%w: object not found", ErrStorage)

// damaged returns an error about the contents of an object.
func damaged(key, format string, args ...any) error {
	return fmt.Errorf("%w: object %q: "+format, append([]any{ErrStorage, key}, args...)...)
}

// isReadError reports whether err may be one of readError.
func isReadError(err error) bool { return errors.Is(err, ErrStorage) || errors.Is(err, ErrNotReady) }

// readError sorts an error of reading an object: it is damage (ErrStorage), or it may
// pass (ErrNotReady).
func readError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrStorage):
		return err
	case errors.Is(err, objstore.ErrNotFound):
		return fmt.Errorf("%w: %w", errMissing, err)
	case errors.Is(err, segment.ErrCorrupt), errors.Is(err, segment.ErrUnsupported), errors.Is(err, objstore.ErrRange):
		return fmt.Errorf("%w: %w", ErrStorage, err)
	case errors.Is(err, cache.ErrClosed):
		return fmt.Errorf("%w: this node is stopping", ErrNotReady)
	}
	return fmt.Errorf("%w: %w", ErrNotReady, err)
}
