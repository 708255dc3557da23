package journal

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Claim is a leadership of a journal, which the bucket is asked about; Driver has both
// methods.
type Claim interface {
	Prove(ctx context.Context) error
	Confirm(ctx context.Context) error
}

// Rivals looks for other leaders of the journals that are led here. A leader that writes
// nothing meets a rival's fence at its next write only. When Rivals hears of a higher
// epoch, it has the leader look into the bucket, which alone decides.
type Rivals struct {
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // looks under way

	mu       sync.Mutex
	journals map[uint32]*rivalry
	onProved func(journal uint32, began time.Time) // may be nil
}

// rivalry is one journal's part of Rivals. It decides when to look.
type rivalry struct {
	known   bool   // an epoch was applied
	applied uint32 // epoch of the last object applied here
	claim   Claim  // nil where the journal is not led here
	looking bool
	heard   bool // of a higher epoch, since the look that is under way began
}

// rivalLimit bounds one look.
const rivalLimit = 5 * time.Second

// NewRivals knows of no journal yet.
func NewRivals() *Rivals {
	r := &Rivals{journals: map[uint32]*rivalry{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *Rivals) ofLocked(journal uint32) *rivalry {
	if r.journals[journal] == nil {
		r.journals[journal] = &rivalry{}
	}
	return r.journals[journal]
}

// OnProved has f called after each look that finds no other leader, with the time when the look
// began.
func (r *Rivals) OnProved(f func(journal uint32, began time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onProved = f
}

// Leads notes that a journal is led here.
func (r *Rivals) Leads(journal uint32, claim Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ofLocked(journal).claim = claim
}

// Applied notes the epoch of an object of a journal that was applied here.
func (r *Rivals) Applied(journal, epoch uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.ofLocked(journal)
	j.known, j.applied = true, epoch
}

// Epoch returns that of the last object of a journal that was applied here; false if
// none was.
func (r *Rivals) Epoch(journal uint32) (uint32, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.ofLocked(journal)
	return j.applied, j.known
}

// Heard takes a hint that a journal has a leader of this epoch. It does not block. A
// leader that was deposed ends by itself when it finds that out; a look that fails
// changes nothing.
func (r *Rivals) Heard(journal, epoch uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.journals[journal]
	if j == nil || !j.hears(epoch) || r.ctx.Err() != nil {
		return
	}
	claim := j.claim
	r.work.Go(func() {
		for claim != nil {
			began := time.Now()
			ctx, cancel := context.WithTimeout(r.ctx, rivalLimit)
			err := claim.Prove(ctx)
			cancel()
			if err == nil {
				r.proved(journal, began)
			}
			claim = r.next(j)
		}
	})
}

// next notes the end of a look, and returns the claim to look at once more: nil if there is
// none, also because the leadership has ended during the look.
func (r *Rivals) next(j *rivalry) Claim {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !j.looked() || r.ctx.Err() != nil {
		return nil
	}
	if j.claim == nil {
		j.looking = false // the next leadership begins with no look under way
	}
	return j.claim
}

func (r *Rivals) proved(journal uint32, began time.Time) {
	r.mu.Lock()
	f := r.onProved
	r.mu.Unlock()
	if f != nil {
		f(journal, began)
	}
}

// hears reports whether to look now. One look at a time answers every hint that came
// before it began.
func (j *rivalry) hears(epoch uint32) bool {
	if j.claim == nil || epoch <= j.applied {
		return false
	}
	if j.looking {
		j.heard = true
		return false
	}
	j.looking = true
	return true
}

// looked notes the end of a look, and reports whether to look again.
func (j *rivalry) looked() bool {
	j.looking, j.heard = j.heard, false
	return j.looking
}

// Deposed reports whether a journal that is led here is known to have another leader.
// It asks the bucket about the leaders that have not shown lately that they lead.
func (r *Rivals) Deposed(ctx context.Context) bool {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.journals))
	claims := make([]Claim, 0, len(all))
	for _, j := range all {
		if j.claim != nil {
			claims = append(claims, j.claim)
		}
	}
	r.mu.Unlock()
	var deposed atomic.Bool
	var wg sync.WaitGroup
	for _, c := range claims {
		wg.Go(func() {
			if errors.Is(c.Confirm(ctx), ErrEnded) {
				deposed.Store(true)
			}
		})
	}
	wg.Wait()
	return deposed.Load()
}

// Close ends the looks that are under way, and waits for them.
func (r *Rivals) Close() {
	r.mu.Lock()
	r.cancel()
	r.mu.Unlock()
	r.work.Wait()
}
