package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/tiering/journal"
)

// rivals listens for others who lead the journals that this node leads. One that
// writes nothing would notice at its next write only; told of a higher epoch it
// looks into the bucket, which alone decides, at once.
type rivals struct {
	mu     sync.Mutex
	epochs map[uint32]uint32 // by journal: of the last object applied here
	lead   map[uint32]confirmer
}

// confirmer is a leader of a journal; see journal.Driver.
type confirmer interface {
	prover
	Confirm(ctx context.Context) error
}

// rivalLimit bounds one look.
const rivalLimit = 5 * time.Second

func newRivals() *rivals {
	return &rivals{epochs: map[uint32]uint32{}, lead: map[uint32]confirmer{}}
}

// leads notes that this node leads a journal.
func (r *rivals) leads(id uint32, p confirmer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lead[id] = p
}

// applied notes the epoch of an object that was applied here.
func (r *rivals) applied(id, epoch uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs[id] = epoch
}

// epoch is that of the last object of a journal that was applied here; nil if none
// was.
func (r *rivals) epoch(id uint32) *uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.epochs[id]; ok {
		return &e
	}
	return nil
}

// deposed reports whether another is known to lead a journal that this node led. It
// asks the bucket for the journals of which that was not known lately.
func (r *rivals) deposed(ctx context.Context) bool {
	r.mu.Lock()
	leaders := slices.Collect(maps.Values(r.lead))
	r.mu.Unlock()
	var lost atomic.Bool
	var wg sync.WaitGroup
	for _, l := range leaders {
		wg.Go(func() {
			if errors.Is(l.Confirm(ctx), journal.ErrEnded) {
				lost.Store(true)
			}
		})
	}
	wg.Wait()
	return lost.Load()
}

// heard takes an announcement. What the look finds is the leader's matter.
func (r *rivals) heard(a announce.Announcement) {
	r.mu.Lock()
	p := r.lead[a.Journal]
	news := a.Epoch > r.epochs[a.Journal]
	r.mu.Unlock()
	if p == nil || !news {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rivalLimit)
	defer cancel()
	_ = p.Prove(ctx) // a leader that was fenced ends; anything else shows in time
}
