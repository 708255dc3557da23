package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
)

// query is one request. It remembers the journals that it looked at, and the answers to
// its questions about them. All partitions of a journal share an answer: it rests on a
// look that began after the request arrived. It is safe for concurrent use.
type query struct {
	reader  *Reader
	proofs  answers // of JournalView.Head
	settled answers // of JournalView.Settle
	losses  answers // of JournalView.Confirm

	mu    sync.Mutex
	views map[uint32]*JournalView // guarded by mu
}

func (r *Reader) newQuery() *query {
	q := &query{reader: r, views: make(map[uint32]*JournalView)}
	q.proofs.moments, q.settled.moments, q.losses.moments = &r.moments, &r.moments, &r.moments
	return q
}

// renew has the journals looked up again: one may have been replaced.
func (q *query) renew() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.views)
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
	q.mu.Lock()
	defer q.mu.Unlock()
	view := q.views[id]
	if view == nil {
		var err error
		if view, err = q.reader.cfg.Journal(id); err != nil {
			return journal{}, fmt.Errorf("journal %d: %w", id, err)
		}
		q.views[id] = view
	}
	return journal{id: id, JournalView: view}, nil
}

// prove proves the head of the journal, unless this request has done so.
func (q *query) prove(ctx context.Context, j journal) error {
	err := q.proofs.of(ctx, j.State, func() error {
		ctx, cancel := context.WithTimeout(ctx, proveLimit)
		defer cancel()
		return j.Head.Prove(ctx)
	})
	if err != nil && !errors.Is(err, ErrNotLeader) {
		return fmt.Errorf("%w: prove the head of journal %d: %w", ErrNotReady, j.id, err)
	}
	return err
}

// proveSince proves the head of the journal as it is after a moment of the Reader. An
// earlier proof may not know the deletion of an object that was missing then.
func (q *query) proveSince(ctx context.Context, j journal, moment int64) error {
	q.proofs.forgetBefore(j.State, moment)
	return q.prove(ctx, j)
}

// settle waits until all records that this node acknowledged before the request are
// applied, if it leads the journal. It comes before the look at an end.
func (q *query) settle(ctx context.Context, j journal) error {
	if j.Settle == nil {
		return nil
	}
	err := q.settled.of(ctx, j.State, func() error {
		ctx, cancel := context.WithTimeout(ctx, settleLimit)
		defer cancel()
		return j.Settle(ctx)
	})
	if err != nil && !errors.Is(err, ErrNotLeader) {
		return fmt.Errorf("%w: commit acknowledged records of journal %d: %w", ErrNotReady, j.id, err)
	}
	return err
}

// lost returns ErrNotLeader if this node led the journal and does not lead it any more.
func (q *query) lost(ctx context.Context, j journal) error {
	if j.Confirm == nil {
		return nil
	}
	err := q.losses.of(ctx, j.State, func() error {
		ctx, cancel := context.WithTimeout(ctx, proveLimit)
		defer cancel()
		return j.Confirm(ctx)
	})
	if !errors.Is(err, ErrNotLeader) {
		return nil // this node leads, or it cannot know
	}
	return err
}

// answers are those to one question about each journal, by its state: a journal that is
// replaced has another one. Each is asked for once. It is safe for concurrent use.
type answers struct {
	moments *atomic.Int64 // of the Reader

	mu      sync.Mutex
	byState map[*partlog.State]*answer // guarded by mu
}

type answer struct {
	begun int64         // moment of the Reader
	known chan struct{} // closed when err is set
	err   error
	void  bool // ctx of the one that asked ended: the others ask again
}

// of returns the answer for a journal. The first caller asks, and the others wait for it.
func (a *answers) of(ctx context.Context, journal *partlog.State, ask func() error) error {
	for {
		got, first := a.join(journal)
		if first {
			got.err = ask()
			got.void = ctx.Err() != nil
			if got.void {
				a.forget(journal)
			}
			close(got.known)
			return got.err
		}
		select {
		case <-got.known:
			if !got.void {
				return got.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *answers) join(journal *partlog.State) (got *answer, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if got = a.byState[journal]; got != nil {
		return got, false
	}
	if a.byState == nil {
		a.byState = make(map[*partlog.State]*answer)
	}
	got = &answer{begun: a.moments.Add(1), known: make(chan struct{})}
	a.byState[journal] = got
	return got, true
}

// forget has the next caller ask again.
func (a *answers) forget(journal *partlog.State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byState, journal)
}

// forgetBefore has the next caller ask again, unless the answer was asked for after a
// moment.
func (a *answers) forgetBefore(journal *partlog.State, moment int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if got := a.byState[journal]; got != nil && got.begun <= moment {
		delete(a.byState, journal)
	}
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
	case lost.Unreadable(err):
		return fmt.Errorf("%w: %w", ErrStorage, err)
	case errors.Is(err, cache.ErrClosed):
		return fmt.Errorf("%w: this node is stopping", ErrNotReady)
	}
	return fmt.Errorf("%w: %w", ErrNotReady, err)
}
