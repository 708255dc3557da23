package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	tries      = 3
	firstPause = 200 * time.Millisecond // before the second try, doubling
	tryLimit   = time.Minute
	leastCost  = 64 << 10 // the least memory counted for an object
)

// try reads from the store, and again after an error that may pass. Here an object that is
// cut short may be whole: a verifier has the time to find out whether only the answer was.
func (v *Verifier) try(ctx context.Context, read func(context.Context) error) error {
	pause := firstPause
	for i := 1; ; i++ {
		err := limited(ctx, read)
		settled := err == nil || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrDenied) ||
			errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrUnsupported)
		if settled || i == tries || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause *= 2
	}
}

func limited(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	return read(ctx)
}

func (w *walk) get(ctx context.Context, key string) (b []byte, err error) {
	err = w.verifier.try(ctx, func(ctx context.Context) error {
		b, err = w.verifier.store.Get(ctx, key)
		return err
	})
	return b, err
}

// read reads and examines the object at seq by requests that begin now. It
// reads all of it, or only its index if none of its records are wanted.
func (w *walk) read(ctx context.Context, seq uint64) *object {
	o := &object{journal: w.journal, seq: seq}
	if w.journal != 0 && w.verifier.opt.Topic != "" && w.readIndex(ctx, o) {
		return o
	}
	b, err := w.get(ctx, o.key())
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		o.absent = true
	case err != nil:
		o.err = err
	default:
		examine(o, b, w.verifier.opt.Records)
	}
	return o
}

// readIndex reads the object's footer and entries; false if all of it is needed.
func (w *walk) readIndex(ctx context.Context, o *object) bool {
	var index *journal.Object
	err := w.verifier.try(ctx, func(ctx context.Context) (err error) {
		index, err = journal.ReadObject(ctx, w.verifier.store, w.journal, o.seq)
		return err
	})
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		o.absent = true
		return true
	case lost.Unreadable(err):
		return false
	case err != nil:
		o.err = err
		return true
	}
	for i := range index.Footer.Partitions {
		if w.verifier.wants(keyOf(&index.Footer.Partitions[i])) {
			return false
		}
	}
	o.header, o.footer = &index.Footer.Header, index.Footer
	o.size = indexSize(index.Footer)
	o.setIndex(index)
	return true
}

// indexSize is roughly how much of an object was read.
func indexSize(f *segment.Footer) int64 {
	return int64(f.Entries.Length) + segment.HeaderSize + segment.TrailerSize
}

// wants reports whether a partition is in the scope of the walk.
func (v *Verifier) wants(k partlog.Key) bool {
	return v.opt.Topic == "" || k.Topic == v.topic && (v.opt.Partition < 0 || k.Index == v.opt.Partition)
}

// ahead reads objects in parallel and returns them in order. The memory of
// reads under way is bounded; of finished ones it holds only indexes.
type ahead struct {
	results chan chan *object
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

func (w *walk) readAhead(ctx context.Context, plan iter.Seq2[uint64, int64]) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{results: make(chan chan *object, w.verifier.opt.Parallel-1), cancel: cancel}
	memory := semaphore.NewWeighted(w.verifier.opt.Memory)
	a.wg.Go(func() {
		defer close(a.results)
		for seq, size := range plan {
			cost := min(max(size, leastCost), w.verifier.opt.Memory)
			if memory.Acquire(ctx, cost) != nil {
				return
			}
			result := make(chan *object, 1)
			select {
			case a.results <- result:
			case <-ctx.Done():
				return
			}
			a.wg.Go(func() {
				defer memory.Release(cost)
				result <- w.readListed(ctx, seq, size)
			})
		}
	})
	return a
}

// readListed reads an object whose size is known from the listing. It does not
// read one into memory that is too large to be a journal object.
func (w *walk) readListed(ctx context.Context, seq uint64, size int64) *object {
	if size <= segment.MaxObjectSize {
		return w.read(ctx, seq)
	}
	o := &object{journal: w.journal, seq: seq, size: size}
	o.find(Error, CodeCorrupt, whole, hintRestore, "%v: %d bytes, a journal object has at most %d", segment.ErrCorrupt, size, int64(segment.MaxObjectSize))
	return o
}

// next returns the next object in order; nil at the end of the plan.
func (a *ahead) next(ctx context.Context) (*object, error) {
	result, ok := <-a.results
	if !ok {
		return nil, ctx.Err()
	}
	select {
	case o := <-result:
		return o, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("verify: %w", ctx.Err())
	}
}

// close stops reading and waits.
func (a *ahead) close() {
	a.cancel()
	for range a.results {
	}
	a.wg.Wait()
}
