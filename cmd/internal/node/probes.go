package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// probesMost is how many questions of the Driver the store may owe answers to. More of
	// them fail at once: their answers would come too late.
	probesMost = 16
	// checkLimit bounds the check of a claim, and the removal of the object of a probe.
	checkLimit = 2 * time.Second
	// lookPage is how many keys of a journal are listed before a look goes ahead in leaps:
	// about one answer of a store.
	lookPage = 1000
)

// probes ask the store for the Driver.
type probes struct {
	store objstore.Store
	chain func(journal uint32) journal.Chain // as far as this node has read it
	loop  *drive.Loop

	ctx    context.Context
	cancel context.CancelFunc
	asking sync.WaitGroup
	slots  chan struct{} // full while as many requests as may be are under way

	mu    sync.Mutex
	heads map[uint32]uint64 // the highest seqs that looks have seen
}

var _ drive.Bucket = (*probes)(nil)

// newProbes prepares probes of a store. chain returns how far this node has read a journal,
// that of journal.NewChain if it does not. It is called on any goroutine.
func newProbes(store objstore.Store, chain func(journal uint32) journal.Chain, loop *drive.Loop) *probes {
	p := &probes{store: store, chain: chain, loop: loop, slots: make(chan struct{}, probesMost), heads: map[uint32]uint64{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends all requests and waits. It is not called on the goroutine of the Driver.
func (p *probes) Close() {
	p.cancel()
	p.asking.Wait()
}

// askStore sends a request to the store, and has done run on the goroutine of the Driver: with the
// answer, or with failed once limit has passed. It is called on that goroutine.
func askStore[T any](p *probes, limit time.Duration, failed T, request func(ctx context.Context) T, done func(T)) {
	select {
	case p.slots <- struct{}{}:
	default:
		done(failed)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	answers := make(chan T, 1)
	p.asking.Go(func() {
		defer func() { <-p.slots }()
		answers <- request(ctx)
	})
	p.asking.Go(func() { // a store may not notice that ctx ends
		defer cancel()
		v := failed
		select {
		case v = <-answers:
		case <-ctx.Done():
		}
		_ = p.loop.Do(context.Background(), func() { done(v) })
	})
}

// Look implements drive.Bucket. It lists, and never reads the next key: a store may keep that
// locked while a PUT of it is cut, and answer a GET only then.
func (p *probes) Look(journal uint32, limit time.Duration, done func(membership.Looked)) {
	failed := membership.Looked{Journal: journal, Failed: true}
	askStore(p, limit, failed, func(ctx context.Context) membership.Looked {
		head, err := p.head(ctx, journal)
		if err != nil {
			return failed
		}
		return membership.Looked{Journal: journal, Head: head}
	}, done)
}

// head finds the highest seq of a journal that a listing shows. A journal that is not followed
// here may have grown by millions of objects. So leaps of doubling length come after a full
// page, and ever shorter ones after these.
func (p *probes) head(ctx context.Context, journal uint32) (uint64, error) {
	head := p.known(journal)
	beyond := func(from uint64, most int) (found bool, full bool, err error) {
		last, n, err := p.list(ctx, journal, from, most)
		if n > 0 {
			head = p.saw(journal, last)
		}
		return n > 0, n == most, err
	}
	for {
		_, full, err := beyond(head, lookPage)
		if err != nil || !full {
			return head, err
		}
		leap := uint64(lookPage)
		for ahead := true; ahead; leap *= 2 {
			if ahead, _, err = beyond(head+leap, 1); err != nil {
				return head, err
			}
		}
		for leap /= 4; leap >= lookPage; leap /= 2 { // half of the last one that found something
			if _, _, err := beyond(head+leap, 1); err != nil {
				return head, err
			}
		}
	}
}

// errEnough ends a listing.
var errEnough = errors.New("enough keys were listed")

// list lists the objects of a journal after a seq, at most some of them.
func (p *probes) list(ctx context.Context, journal uint32, after uint64, most int) (last uint64, n int, err error) {
	err = p.store.List(ctx, segment.JournalPrefix(journal), segment.JournalKey(journal, after), func(i objstore.Info) error {
		seq, ok := segment.ParseJournalKey(journal, i.Key)
		if !ok { // checkpoints and all else come after the objects
			return errEnough
		}
		if last, n = seq, n+1; n == most {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return last, n, err
}

func (p *probes) known(journal uint32) uint64 {
	read := p.chain(journal).Next - 1
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(read, p.heads[journal])
}

// saw notes a seq that is there, so that a look that takes too long is of use to the next one.
func (p *probes) saw(journal uint32, seq uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads[journal] = max(p.heads[journal], seq)
	return p.heads[journal]
}

// Probe implements drive.Bucket. The object has a key of its own below segment.ProbePrefix,
// where all that list a bucket expect it, and where starts remove leftovers.
func (p *probes) Probe(limit time.Duration, done func(ok bool)) {
	askStore(p, limit, false, func(ctx context.Context) bool {
		key, err := objstore.CreateOne(ctx, p.store, segment.ProbePrefix)
		if err != nil {
			return false
		}
		p.asking.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, checkLimit)
			defer cancel()
			_ = p.store.Delete(ctx, key)
		})
		return true
	}, done)
}

// Check implements drive.Bucket. Data is sent only once the epoch was settled, so that it
// proves as much as a filler.
func (p *probes) Check(l membership.Leader, done func(right bool)) {
	askStore(p, checkLimit, false, func(ctx context.Context) bool {
		b := make([]byte, segment.HeaderSize)
		if err := p.store.GetRange(ctx, segment.JournalKey(l.Journal, l.Settled.Seq), 0, b); err != nil {
			return false
		}
		h, err := segment.DecodeHeader(b)
		return err == nil && h.Cluster == p.chain(l.Journal).Cluster && h.Journal == l.Journal && h.Seq == l.Settled.Seq &&
			h.Kind != segment.KindFence && h.Object == l.Settled.Object && h.Epoch == l.Epoch && h.Node == l.Node
	}, done)
}
