// Package restore reads the state of a data journal from a checkpoint and the index objects
// that the checkpoint names.
//
// It owns the order in which these are read, several at once, and the way round lost ones:
// the journal itself has all that they say. It promises a state that is whole, or an error.
// It never writes, and keeps nothing but the index objects that a PageReader read last.
package restore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/rebuild"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	parallel = 4 // index objects of up to 8 MiB read at once
	getLimit = 30 * time.Second
	getTries = 3
)

// Names returns the index objects that a checkpoint names; none if it is of journal 0.
func Names(c *journal.Checkpoint) ([]segment.IndexName, error) {
	if c.Chain.Journal == 0 {
		return nil, nil
	}
	return partlog.IndexNames(c.Chain.Journal, c.State)
}

// LogLost says that index objects are lost.
func LogLost(log *slog.Logger, journal uint32, err error) {
	log.Warn("an index page of producers is lost; the journal is read from its first object in its place, which takes long", "journal", journal, "error", err)
}

// State returns the state of a checkpoint of a data journal. If index objects are lost, it
// reads the journal from base on, its first object, and calls onLost before that.
func State(ctx context.Context, store objstore.Store, base journal.Chain, c *journal.Checkpoint, onLost func(error)) (*partlog.State, error) {
	id := c.Chain.Journal
	ahead := func(pages []*partlog.ProducerPage) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) { readAhead(ctx, store, byObject(pages), yield) }
	}
	state, err := partlog.Decode(id, c.State, ahead)
	if err == nil || !lost.Is(err) {
		return state, err
	}
	if _, _, named := partlog.DecodeNames(id, c.State); named != nil {
		return nil, err // the checkpoint itself is damaged
	}
	onLost(err)
	replayed := partlog.New(id)
	done := func() bool { return replayed.Head() >= c.Chain.Last.Seq }
	take := func(o *journal.Object) error { return replayed.Apply(o.Footer, o.Entries) }
	switch walkErr := rebuild.Walk(ctx, store, base, done, take, func(uint64) {}); {
	case walkErr == nil:
		return partlog.DecodeReplayed(id, c.State, replayed)
	case lost.Is(walkErr):
		return nil, errors.Join(err, walkErr)
	default: // the journal may be read later: to the caller nothing is lost yet
		return nil, fmt.Errorf("%w; index objects are lost: %v", walkErr, err)
	}
}

// Pages reads the pages of producers that a checkpoint names, one object after the other.
func Pages(ctx context.Context, store objstore.Store) partlog.ReadPages {
	return func(pages []*partlog.ProducerPage) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for _, run := range byObject(pages) {
				if found, err := get(ctx, store, run); !yieldAll(found, err, yield) {
					return
				}
			}
		}
	}
}

// yieldAll reports whether more are wanted.
func yieldAll(pages [][]byte, err error, yield func([]byte, error) bool) bool {
	if err != nil {
		yield(nil, err)
		return false
	}
	for _, b := range pages {
		if !yield(b, nil) {
			return false
		}
	}
	return true
}

// byObject cuts a list of pages where the next one lies in another object.
func byObject(pages []*partlog.ProducerPage) (runs [][]*partlog.ProducerPage) {
	for i, p := range pages {
		if i == 0 || pages[i-1].Object != p.Object {
			runs = append(runs, nil)
		}
		last := &runs[len(runs)-1]
		*last = append(*last, p)
	}
	return runs
}

type answer struct {
	pages [][]byte
	err   error
}

// readAhead yields the pages in their order, and reads several objects at once.
func readAhead(ctx context.Context, store objstore.Store, runs [][]*partlog.ProducerPage, yield func([]byte, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	ahead := make([]chan answer, len(runs))
	begin := func(i int) {
		if i < len(runs) {
			ahead[i] = make(chan answer, 1)
			work.Go(func() {
				pages, err := get(ctx, store, runs[i])
				ahead[i] <- answer{pages, err}
			})
		}
	}
	for i := range parallel {
		begin(i)
	}
	for i := range runs {
		a := <-ahead[i]
		ahead[i] = nil
		begin(i + parallel)
		if !yieldAll(a.pages, a.err, yield) {
			return
		}
	}
}

// get reads pages of one object, from its second copy if the first is lost.
func get(ctx context.Context, store objstore.Store, pages []*partlog.ProducerPage) (out [][]byte, err error) {
	for _, name := range pages[0].Copies() {
		if out, err = getCopy(ctx, store, name.Key(), pages); err == nil || !lost.Is(err) {
			break
		}
	}
	return out, err
}

// getCopy reads damage again: it may have been done on the way.
func getCopy(ctx context.Context, store objstore.Store, key string, pages []*partlog.ProducerPage) (out [][]byte, err error) {
	for range getTries {
		limited, cancel := context.WithTimeout(ctx, getLimit)
		var b []byte
		b, err = store.Get(limited, key)
		cancel()
		if err == nil {
			if out, err = Cut(b, pages); err == nil {
				return out, nil
			}
		}
		if ctx.Err() != nil || errors.Is(err, objstore.ErrNotFound) {
			break
		}
	}
	return nil, fmt.Errorf("read %s: %w", key, err)
}

// Page reads an index page of extents, from its second copy if the first is lost.
func Page(ctx context.Context, store objstore.Store, p *partlog.Page) (found *partlog.PageExtents, err error) {
	for _, name := range p.Copies() {
		var b []byte
		if b, err = objstore.ReadRange(ctx, store, name.Key(), segment.BlobHeaderSize+int64(p.Position), int64(p.Length)); err == nil {
			found, err = partlog.DecodePage(p, b)
		}
		if err == nil {
			return found, nil
		}
		err = fmt.Errorf("read %s: %w", name.Key(), err)
		if !lost.Is(err) {
			break
		}
	}
	return nil, err
}

// FirstNeeded returns the lowest seq of an object of the journal that has records which are
// not merged, the greatest number if there is none. From there on no leader has released
// an object.
func FirstNeeded(ctx context.Context, store objstore.Store, state *partlog.State) (uint64, error) {
	first := uint64(math.MaxUint64)
	var paged []*partlog.Survey
	state.Survey(func(s *partlog.Survey) {
		if s.First != nil {
			first = min(first, s.First.Object.Seq)
		}
		if s.FirstPage != nil {
			paged = append(paged, s)
		}
	})
	for _, s := range paged {
		p := s.FirstPage
		found, err := Page(ctx, store, p)
		if err != nil {
			return 0, fmt.Errorf("index page of offsets %d to %d: %w", p.Base, p.Last, err)
		}
		for _, e := range found.From(max(s.Merged, s.View.Start), 1) { // the page may begin before that
			first = min(first, e.Object.Seq)
		}
	}
	return first, nil
}

// Cut returns the bytes of pages in their index object; they are those that were written.
func Cut(object []byte, pages []*partlog.ProducerPage) ([][]byte, error) {
	out := make([][]byte, len(pages))
	for i, p := range pages {
		at := segment.BlobHeaderSize + int64(p.Position)
		if int64(len(object)) != segment.BlobHeaderSize+int64(p.Size) || at+int64(p.Length) > int64(len(object)) {
			return nil, fmt.Errorf("%w: index object of %d bytes, not %d", segment.ErrCorrupt, len(object), segment.BlobHeaderSize+int64(p.Size))
		}
		if out[i] = object[at:][:p.Length]; !p.Intact(out[i]) {
			return nil, fmt.Errorf("%w: a page of producers has other bytes than were written", segment.ErrCorrupt)
		}
	}
	return out, nil
}
