package rebuild

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	parallel   = 32 // objects read at once
	getLimit   = 10 * time.Second
	getTries   = 3
	firstPause = 200 * time.Millisecond
)

// gathering holds the extents for the pages to rebuild, as the walk finds them.
type gathering struct {
	byKey map[partlog.Key][]*gathered // in offset order
	open  int                         // pages that are not complete
}

type gathered struct {
	*partlog.Page
	extents []partlog.Extent
}

func newGathering(objects map[segment.ID][]*partlog.Page) *gathering {
	g := &gathering{byKey: map[partlog.Key][]*gathered{}}
	for _, pages := range objects {
		for _, p := range pages {
			g.byKey[p.Key] = append(g.byKey[p.Key], &gathered{Page: p})
			g.open++
		}
	}
	for _, pages := range g.byKey {
		slices.SortFunc(pages, func(a, b *gathered) int { return cmp.Compare(a.Base, b.Base) })
	}
	return g
}

// take adds the records of the next valid object of the journal.
func (g *gathering) take(f *segment.Footer) {
	for i := range f.Partitions {
		p := &f.Partitions[i]
		pages := g.byKey[partlog.Key{Topic: p.Topic, Index: p.Index}]
		at, ok := slices.BinarySearchFunc(pages, p.BaseOffset, func(page *gathered, offset int64) int {
			switch {
			case page.Last < offset:
				return -1
			case page.Base > offset:
				return 1
			}
			return 0
		})
		if !ok {
			continue
		}
		page := pages[at]
		page.extents = append(page.extents, partlog.ExtentOf(&f.Header, p))
		if p.LastOffset == page.Last {
			g.open--
		}
	}
}

// walk reads a journal until all pages are complete.
func (g *gathering) walk(ctx context.Context, store objstore.Store, chain journal.Chain, onRead func(seq uint64)) error {
	take := func(o *journal.Object) error { g.take(o.Footer); return nil }
	return Walk(ctx, store, chain, func() bool { return g.open == 0 }, take, onRead)
}

// Walk reads a journal from its first object on, where chain is, until done. It calls take
// with each valid object, and onRead with the seq of each object it has read.
func Walk(ctx context.Context, store objstore.Store, chain journal.Chain, done func() bool, take func(*journal.Object) error, onRead func(seq uint64)) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	type answer struct {
		object *journal.Object
		err    error
	}
	ahead := make(chan chan answer, parallel)
	wg.Go(func() {
		for seq := chain.Next; ; seq++ {
			a := make(chan answer, 1)
			select {
			case ahead <- a:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				o, err := read(ctx, store, chain.Journal, seq)
				a <- answer{o, err}
			})
		}
	})
	for !done() {
		var a answer
		select {
		case next := <-ahead:
			a = <-next
		case <-ctx.Done():
			return ctx.Err()
		}
		if a.err != nil {
			return fmt.Errorf("read seq %d of journal %d: %w", chain.Next, chain.Journal, a.err)
		}
		h := &a.object.Footer.Header
		verdict, err := chain.Check(h)
		if err != nil {
			return err
		}
		chain.Advance(h, verdict)
		if verdict == journal.Valid {
			if err := take(a.object); err != nil {
				return err
			}
		}
		onRead(h.Seq)
	}
	return nil
}

// read reads the index of an object, and tries again after an error: a walk is
// long.
func read(ctx context.Context, store objstore.Store, id uint32, seq uint64) (o *journal.Object, err error) {
	for try := range getTries {
		if try > 0 && !pause(ctx, firstPause<<try) {
			break
		}
		limited, cancel := context.WithTimeout(ctx, getLimit)
		o, err = journal.ReadObject(limited, store, id, seq)
		cancel()
		if err == nil {
			return o, nil
		}
	}
	return nil, err
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// payloads builds the index objects from the gathered extents. A page that is not
// named any more, because its records were deleted, becomes zeros.
func (g *gathering) payloads() (map[segment.ID][]byte, error) {
	out := map[segment.ID][]byte{}
	for _, pages := range g.byKey {
		for _, p := range pages {
			b, err := partlog.EncodePage(p.Page, p.extents)
			if err != nil {
				return nil, err
			}
			if out[p.Object] == nil {
				out[p.Object] = make([]byte, p.Size)
			}
			copy(out[p.Object][p.Position:], b)
		}
	}
	return out, nil
}
