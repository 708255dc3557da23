package verify_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/rebuild"
	"github.com/varvelog/varve/tiering/segment"
)

// noCreates is a store that takes no objects while it is denied.
type noCreates struct {
	*mem.Store
	denied atomic.Bool
}

func (s *noCreates) Create(ctx context.Context, key string, body objstore.Body) error {
	if s.denied.Load() {
		return fmt.Errorf("create: %w", objstore.ErrDenied)
	}
	return s.Store.Create(ctx, key, body)
}

// A page that stays lost is checked every five minutes. It is mended when it is
// restored, or when the bucket accepts the rebuilt page.
func TestLostPagesAreLookedAtAgainAtASlowPace(t *testing.T) {
	for name, rebuilt := range map[string]bool{"restored by an operator": false, "rebuilt, and not written": true} {
		t.Run(name, func(t *testing.T) {
			store, state, pages := paged(t)
			synctest.Test(t, func(t *testing.T) {
				page, _ := store.GetNow(pages[0])
				store.DeleteNow(pages[0])
				bucket := &noCreates{Store: store}
				bucket.denied.Store(true)
				if !rebuilt {
					store.DeleteNow(at(100))
				}
				var troubles sync.Map // object -> text
				lost := func() int { return len(maps.Collect(troubles.Range)) }
				p := rebuild.New(rebuild.Options{
					Store: bucket, Writes: true, Chain: func(id uint32) journal.Chain { return journal.NewChain(cluster, id, window) },
					Lost:   func(object, text string) { troubles.Store(object, text) },
					Mended: func(object string) { troubles.Delete(object) },
				})
				defer p.Close()
				reads := func() int { return store.Calls("get") }
				look := func(after time.Duration) int {
					time.Sleep(after)
					before := reads()
					p.LookAgain()
					synctest.Wait()
					return reads() - before
				}
				if n := look(time.Hour); n != 0 {
					t.Errorf("%d reads while nothing is lost", n)
				}
				p.Rebuild(state)
				synctest.Wait()
				if lost() != 1 {
					t.Fatalf("%d troubles", lost())
				}
				for range 3 {
					if n := look(4 * time.Minute); n != 0 {
						t.Errorf("%d reads after 4 minutes", n)
					}
					if n := look(time.Minute); n == 0 || n > 4 || lost() != 1 {
						t.Errorf("%d reads after 5 minutes, %d troubles", n, lost())
					}
				}
				bucket.denied.Store(false)
				if !rebuilt {
					store.PutNow(pages[0], page)
				}
				look(5 * time.Minute)
				if got, _ := store.GetNow(pages[0]); lost() != 0 || got == nil {
					t.Errorf("after it was mended: %d troubles, %d bytes", lost(), len(got))
				}
				if b := p.Page(state.Pages()[segment.ID{0xaa}][0]); b != nil {
					t.Error("a page that is in the bucket is kept in memory")
				}
				if n := look(time.Hour); n != 0 {
					t.Errorf("%d reads when nothing is lost any more", n)
				}
			})
		})
	}
}
