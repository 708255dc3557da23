package verify_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/rebuild"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// paged is a bucket with many objects, voids and a deletion among them, and a few
// checkpoints with a page each. The state is that of a node which goes on from the
// last one.
func paged(t *testing.T) (store *mem.Store, state *partlog.State, pages []string) {
	t.Helper()
	return pagedAfter(t)
}

// pagedAfter is paged with an object with these entries at first.
func pagedAfter(t *testing.T, entries ...segment.Entry) (store *mem.Store, state *partlog.State, pages []string) {
	t.Helper()
	store, w := history(t)
	if len(entries) > 0 {
		w.put(w.header(segment.KindData), entries, nil)
	}
	state = partlog.New(1)
	chain := journal.NewChain(cluster, 1, window)
	c := journal.NewCheckpointer(journal.CheckpointerOptions{NewID: segment.NewID})
	for i := range 4 {
		if i == 2 {
			w.put(w.header(segment.KindData), []segment.Entry{partlog.DeleteRecords{Key: clicks0, Before: 4}.Encode()}, nil)
		}
		for n := range 80 {
			parts := []segment.Records{w.next(events0, batchtest.Spec{})}
			if n%7 == 0 {
				parts = append(parts, w.next(events1, batchtest.Spec{}))
			}
			w.data(parts...)
		}
		job, index := planCheckpoint(t, store, &chain, state, w.chain.Next-1, segment.ID{0xaa, byte(i)})
		c.Begin(&job)
		res := c.Write(t.Context(), store, job)
		if err := c.Finished(res, slog.New(slog.DiscardHandler)); err != nil || res.Err != nil {
			t.Fatal(err, res.Err)
		}
		state.Paged(index, job.Indexes[0].Name.Object)
		pages = append(pages, job.Indexes[0].Name.Key())
	}
	return store, state, pages
}

// reports are the reports of a rebuild.Pages.
type reports struct {
	mu           sync.Mutex
	lost, mended map[string]string
}

func rebuilder(store objstore.Store, writes bool) (*rebuild.Pages, *reports) {
	o := &reports{lost: map[string]string{}, mended: map[string]string{}}
	return rebuild.New(rebuild.Options{
		Store: store, Writes: writes, Chain: func(id uint32) journal.Chain { return journal.NewChain(cluster, id, window) },
		Lost:   func(object, text string) { o.mu.Lock(); defer o.mu.Unlock(); o.lost[object] = text },
		Mended: func(object string) { o.mu.Lock(); defer o.mu.Unlock(); o.mended[object] = "" },
	}), o
}

// settled waits until n objects were reported.
func (o *reports) settled(t *testing.T, n int, of func() map[string]string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		o.mu.Lock()
		got := len(of())
		o.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d objects reported, want %d: %v", got, n, o.lost)
		}
	}
}

func TestLostIndexPagesAreNamedRebuiltAndSound(t *testing.T) {
	for name, begin := range map[string]func(*rebuild.Pages, *partlog.State){
		"when one is asked for": (*rebuild.Pages).Rebuild,
		"when a node starts":    (*rebuild.Pages).Look,
	} {
		t.Run(name, func(t *testing.T) {
			store, state, pages := paged(t)
			if r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Partition: -1}).Run(t.Context()); err != nil || len(r.Findings) != 0 {
				t.Fatalf("before: %v, %+v", err, r.Findings)
			}
			for i, key := range pages {
				if i == 1 { // the others are gone
					edit(t, store, key, func(b []byte) []byte { b[100] ^= 1; return b })
					continue
				}
				store.DeleteNow(key)
			}
			r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Partition: -1}).Run(t.Context())
			if err != nil || r.Errors != len(pages) {
				t.Fatalf("%v, %+v", err, r.Findings)
			}
			for _, f := range r.Findings {
				if len(f.Affects) == 0 || f.Severity != verify.Error {
					t.Errorf("%+v", f)
				}
			}
			p, o := rebuilder(store, true)
			defer p.Close()
			for range 10 {
				begin(p, state)
			}
			o.settled(t, len(pages), func() map[string]string { return o.mended })
			if p.Page(state.Pages()[segment.ID{0xaa}][0]) != nil {
				t.Error("a page that is in the bucket is kept in memory")
			}
			if r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Partition: -1}).Run(t.Context()); err != nil || len(r.Findings) != 0 {
				t.Errorf("after: %v, %+v", err, r.Findings)
			}
		})
	}
}

// TestLostCopiesOfIndexPagesAreMadeAgain: from the other copy, or if both are lost, from the
// journal.
func TestLostCopiesOfIndexPagesAreMadeAgain(t *testing.T) {
	job := segment.ID{0xee}
	store, state, pages := pagedAfter(t, partlog.Intent{Job: job, Objects: []segment.Name{segment.SharedSegment(1, segment.ID{0xef})}}.Encode(), partlog.Abandon{Job: job}.Encode())
	want := map[string][]byte{}
	for _, i := range store.ListNow(segment.IndexPrefix(1)) {
		want[i.Key], _ = store.GetNow(i.Key)
	}
	if len(want) != 2*len(pages) {
		t.Fatalf("%d index objects, want two of each of %d", len(want), len(pages))
	}
	store.DeleteNow(pages[0])
	edit(t, store, pages[1]+".copy", func(b []byte) []byte { b[100] ^= 1; return b })
	store.DeleteNow(pages[2])
	edit(t, store, pages[2]+".copy", func(b []byte) []byte { b[100] ^= 1; return b })
	p, o := rebuilder(store, true)
	defer p.Close()
	p.Look(state)
	o.settled(t, 1, func() map[string]string { return o.mended }) // readers miss one page alone
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		missing := 0
		for key := range want {
			if _, ok := store.GetNow(key); !ok {
				missing++
			}
		}
		if missing == 0 || time.Now().After(end) {
			break
		}
	}
	p.Close()
	for key, b := range want {
		got, _ := store.GetNow(key)
		if whole := bytes.Equal(got, b); !whole && !strings.HasPrefix(key, pages[2]) {
			t.Errorf("%s has other bytes than before", key)
		}
	}
	if n := len(store.ListNow(segment.IndexPrefix(1))); n != len(want) {
		t.Errorf("%d index objects, want %d", n, len(want))
	}
	if r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Partition: -1}).Run(t.Context()); err != nil || len(r.Findings) != 0 {
		t.Errorf("after: %v, %+v", err, r.Findings)
	}
}

func TestANodeThatOnlyReadsKeepsRebuiltPagesInMemory(t *testing.T) {
	store, state, pages := paged(t)
	before := map[string][]byte{}
	for _, key := range pages[:2] {
		before[key], _ = store.GetNow(key)
		store.DeleteNow(key)
	}
	writes := store.Calls("create") + store.Calls("delete")
	p, o := rebuilder(store, false)
	defer p.Close()
	p.Rebuild(state)
	o.settled(t, 2, func() map[string]string { return o.mended })
	for object, named := range state.Pages() {
		payload, lost := before[segment.IndexName{Journal: 1, Object: object}.Key()]
		for _, page := range named {
			got := p.Page(page)
			if !lost && got != nil || lost && string(got) != string(payload[segment.BlobHeaderSize+page.Position:][:page.Length]) {
				t.Errorf("page of %v from offset %d on: %d bytes, lost %t", page.Key, page.Base, len(got), lost)
			}
		}
	}
	if n := store.Calls("create") + store.Calls("delete") - writes; n != 0 {
		t.Errorf("%d writes", n)
	}
}

func TestPagesThatTheJournalDoesNotGiveAreNeverMadeUp(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, store *mem.Store){
		"an object is gone": func(t *testing.T, store *mem.Store) { store.DeleteNow(at(100)) },
		"an object is damaged": func(t *testing.T, store *mem.Store) {
			edit(t, store, at(100), func(b []byte) []byte { return b[:len(b)-5] })
		},
		"an object is another's": func(t *testing.T, store *mem.Store) { b, _ := store.GetNow(at(99)); store.PutNow(at(100), b) },
	} {
		t.Run(name, func(t *testing.T) {
			store, state, pages := paged(t)
			store.DeleteNow(pages[0])
			spoil(t, store)
			p, o := rebuilder(store, true)
			p.Rebuild(state)
			o.settled(t, 1, func() map[string]string {
				failed := map[string]string{}
				for object, text := range o.lost {
					if strings.Contains(text, "cannot be rebuilt") {
						failed[object] = text
					}
				}
				return failed
			})
			p.Close()
			if _, there := store.GetNow(pages[0]); there || len(o.mended) > 0 || p.Page(state.Pages()[segment.ID{0xaa}][0]) != nil {
				t.Error("a page was made of a journal that is not whole")
			}
		})
	}
}

// TestAPageOfANewerVersionIsNotTakenForDamage: it would be deleted.
func TestAPageOfANewerVersionIsNotTakenForDamage(t *testing.T) {
	store, state, pages := paged(t)
	b, _ := store.GetNow(pages[0])
	named := state.Pages()[segment.ID{0xaa}]
	if err := rebuild.Check(b, named); err != nil {
		t.Fatal(err)
	}
	newer := *named[0]
	at := segment.BlobHeaderSize + newer.Position
	b[at+1] = 3
	if err := rebuild.Check(b, named); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("other bytes: %v", err)
	}
	newer.CRC = checksum(b[at:][:newer.Length])
	if err := rebuild.Check(b, []*partlog.Page{&newer}); !errors.Is(err, segment.ErrUnsupported) {
		t.Errorf("a newer version: %v", err)
	}
}

// restoring is a store in which a page is restored while the journal is read.
type restoring struct {
	objstore.Store
	restore func()
	once    sync.Once
	deleted atomic.Int32
}

func (s *restoring) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	s.once.Do(s.restore)
	return s.Store.GetTail(ctx, key, n)
}

func (s *restoring) Delete(ctx context.Context, key string) error {
	s.deleted.Add(1)
	return s.Store.Delete(ctx, key)
}

// TestAPageThatWasRestoredDuringAWalkIsNotDeleted: a walk takes minutes.
func TestAPageThatWasRestoredDuringAWalkIsNotDeleted(t *testing.T) {
	mem, state, pages := paged(t)
	flip := func() { edit(t, mem, pages[1], func(b []byte) []byte { b[100] ^= 1; return b }) }
	flip()
	store := &restoring{Store: mem, restore: flip}
	p, o := rebuilder(store, true)
	defer p.Close()
	p.Rebuild(state)
	o.settled(t, 1, func() map[string]string { return o.mended })
	if n := store.deleted.Load(); n != 0 {
		t.Errorf("%d objects were deleted", n)
	}
	if b := p.Page(state.Pages()[segment.ID{0xaa, 1}][0]); b != nil {
		t.Error("a page that is sound is kept in memory")
	}
}
