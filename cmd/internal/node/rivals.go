package node

import (
	"context"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata/announce"
)

// rivals listens for others who lead the journals that this node leads. One that
// writes nothing would notice at its next write only; told of a higher epoch it
// looks into the bucket, which alone decides, at once.
type rivals struct {
	mu     sync.Mutex
	epochs map[uint32]uint32 // by journal: of the last object applied here
	lead   map[uint32]prover
}

// rivalLimit bounds one look.
const rivalLimit = 5 * time.Second

func newRivals() *rivals {
	return &rivals{epochs: map[uint32]uint32{}, lead: map[uint32]prover{}}
}

// leads notes that this node leads a journal.
func (r *rivals) leads(journal uint32, p prover) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lead[journal] = p
}

// applied notes the epoch of an object that was applied here.
func (r *rivals) applied(journal, epoch uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs[journal] = epoch
}

// epoch is that of the last object of a journal that was applied here; nil if none
// was.
func (r *rivals) epoch(journal uint32) *uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.epochs[journal]; ok {
		return &e
	}
	return nil
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
