package verify_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// withProducers is a bucket whose newest checkpoint names pages of producers in several
// index objects, the keys of these, and the state of the leader.
func withProducers(t *testing.T) (store *mem.Store, state *partlog.State, pages []string) {
	t.Helper()
	store, w := history(t)
	state = partlog.New(1)
	chain := journal.NewChain(cluster, 1, window)
	c := journal.NewCheckpointer(journal.CheckpointerOptions{NewID: segment.NewID})
	for i := range int64(3) {
		for id := range int64(40) {
			w.data(w.next(events0, batchtest.Spec{ProducerID: 100 + 30*i + id}))
		}
		job, index := planCheckpoint(t, store, &chain, state, w.chain.Next-1, segment.ID{0xaa, byte(i)})
		plan := state.PlanProducers(segment.NewID, partlog.ProducerPaging{Least: 1, Most: 16, OfObject: 2})
		for _, o := range plan.Objects {
			job.Indexes = append(job.Indexes, journal.IndexObject{Name: o.Name, Payload: o.Payload})
		}
		page := job.Indexes[0].Name.Object
		job.State = state.Encode(index, page, plan)
		c.Begin(&job)
		res := c.Write(t.Context(), store, job)
		if err := c.Finished(res, slog.New(slog.DiscardHandler)); err != nil || res.Err != nil {
			t.Fatal(err, res.Err)
		}
		state.Paged(index, page)
		state.PagedProducers(plan)
	}
	for _, p := range state.ProducerPages() {
		pages = append(pages, p.ObjectKey())
	}
	return store, state, pages
}

func verified(t *testing.T, store objstore.Store) []verify.Finding {
	t.Helper()
	r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Partition: -1}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.Findings
}

// started returns the state from which a node starts, and the error of lost pages.
func started(t *testing.T, store objstore.Store) (*partlog.State, error) {
	t.Helper()
	base := journal.NewChain(cluster, 1, window)
	c, err := journal.LoadCheckpoint(t.Context(), store, base, restore.Names)
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	var lost error
	s, err := restore.State(t.Context(), store, base, c, func(err error) { lost = err })
	if err != nil {
		t.Fatal(err)
	}
	return s, lost
}

func TestPagesOfProducersAreCheckedAndRead(t *testing.T) {
	store, state, pages := withProducers(t)
	if len(pages) < 5 {
		t.Fatalf("%d pages", len(pages))
	}
	if found := verified(t, store); len(found) != 0 {
		t.Errorf("sound pages: %+v", found)
	}
	if s, lost := started(t, store); lost != nil || s.Hash() != state.Hash() || len(s.ProducerPages()) != len(pages) {
		t.Errorf("a start has another state; lost: %v", lost)
	}
}

func TestAnObjectIsReadOnceForAllItsPagesOfProducers(t *testing.T) {
	store, _, _ := withProducers(t)
	reads := gets{Store: store, of: map[string]int{}}
	if found := verified(t, &reads); len(found) != 0 {
		t.Errorf("sound pages: %+v", found)
	}
	indexes := 0
	for key, n := range reads.of {
		if strings.Contains(key, "/index/") {
			indexes++
			if n > 2 { // for itself, and for the one checkpoint that names it
				t.Errorf("%s was read %d times", key, n)
			}
		}
	}
	if indexes < 3 {
		t.Errorf("%d index objects", indexes)
	}
}

// gets counts the GETs of each key.
type gets struct {
	objstore.Store
	mu sync.Mutex
	of map[string]int
}

func (g *gets) Get(ctx context.Context, key string) ([]byte, error) {
	g.mu.Lock()
	g.of[key]++
	g.mu.Unlock()
	return g.Store.Get(ctx, key)
}

// A start does without pages that are lost: the journal has the same.
func TestLostPagesOfProducersAreNamedAndDoneWithout(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *mem.Store, string){
		"missing": func(_ *testing.T, store *mem.Store, key string) { store.DeleteNow(key) },
		"damaged": func(t *testing.T, store *mem.Store, key string) {
			edit(t, store, key, func(b []byte) []byte { b[120] ^= 1; return b })
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, state, pages := withProducers(t)
			lose(t, store, pages[1])
			found := verified(t, store)
			if len(found) != 1 || found[0].Severity != verify.Error || found[0].Key != pages[1] {
				t.Errorf("found %+v, want %s", found, pages[1])
			}
			s, lost := started(t, store)
			if lost == nil || s.Hash() != state.Hash() {
				t.Errorf("a start has another state; lost: %v", lost)
			}
			if len(s.ProducerPages()) != 0 {
				t.Error("the next checkpoint names lost pages again")
			}
		})
	}
}

// A page that cannot be read now is not lost.
func TestPagesThatCannotBeReadNowEndAStart(t *testing.T) {
	store, _, pages := withProducers(t)
	base := journal.NewChain(cluster, 1, window)
	c, err := journal.LoadCheckpoint(t.Context(), store, base, restore.Names)
	if err != nil {
		t.Fatal(err)
	}
	down := unreachable{store, pages[0]}
	_, err = restore.State(t.Context(), down, base, c, func(err error) { t.Errorf("lost: %v", err) })
	if !errors.Is(err, errDown) {
		t.Errorf("error %v, want %v", err, errDown)
	}
	if err := partlog.Check(1, c.State, restore.Pages(t.Context(), down)); !errors.Is(err, errDown) {
		t.Errorf("check: error %v, want %v", err, errDown)
	}
	if err := partlog.Check(1, c.State, restore.Pages(t.Context(), store)); err != nil {
		t.Errorf("check of sound pages: %v", err)
	}
}

// The journal cannot be read now in place of a lost page. Then a start tries again, and
// does not end as with a bucket that is damaged.
func TestALostPageAndAJournalThatCannotBeReadNowEndAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // reads are tried again after a time
		store, _, pages := withProducers(t)
		store.DeleteNow(pages[1])
		base := journal.NewChain(cluster, 1, window)
		c, err := journal.LoadCheckpoint(t.Context(), store, base, restore.Names)
		if err != nil {
			t.Fatal(err)
		}
		down := unreachable{store, segment.JournalKey(1, 5)}
		if _, err = restore.State(t.Context(), down, base, c, func(error) {}); !errors.Is(err, errDown) || lost.Is(err) {
			t.Errorf("error %v, want %v alone", err, errDown)
		}
		store.DeleteNow(down.key)
		if _, err = restore.State(t.Context(), store, base, c, func(error) {}); !lost.Is(err) {
			t.Errorf("error %v of a journal with a gap", err)
		}
	})
}

var errDown = errors.New("down")

// unreachable is a store that does not answer for one key.
type unreachable struct {
	objstore.Store
	key string
}

func (u unreachable) Get(ctx context.Context, key string) ([]byte, error) {
	if key == u.key {
		return nil, errDown
	}
	return u.Store.Get(ctx, key)
}

func (u unreachable) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if key == u.key {
		return nil, 0, errDown
	}
	return u.Store.GetTail(ctx, key, n)
}
