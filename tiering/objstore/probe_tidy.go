package objstore

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"time"
)

const (
	tidyLimit    = 10 * time.Second
	tidyParallel = 16
	tidyChunk    = 32 // few enough that a store which deletes them one by one is soon done
	// tidyAge is older than any probe under way: its objects are left alone.
	tidyAge = time.Hour
)

// tidy removes the objects of the probe, and those below prefix that earlier probes have
// left. An object that cannot be removed does no harm; an interrupted probe still tries
// for a while.
func (p *prober) tidy(ctx context.Context, prefix string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyLimit)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := p.leftovers(ctx, prefix)
	for key := range p.mu.created {
		keys = append(keys, key)
	}
	var deleting sync.WaitGroup
	slots := make(chan struct{}, tidyParallel)
	for chunk := range slices.Chunk(keys, tidyChunk) {
		slots <- struct{}{}
		deleting.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() == nil {
				_ = DeleteAll(ctx, p.store, chunk)
			}
		})
	}
	deleting.Wait()
}

// probeKey is the form of the keys of a probe, below its prefix.
var probeKey = regexp.MustCompile(`^[A-Z2-7]{26}(/[0-9]+){3,4}$`)

// leftovers returns the keys that an earlier probe made. The objects of this one show
// the time by the store's clock: without them nothing is known to be old.
func (p *prober) leftovers(ctx context.Context, prefix string) (keys []string) {
	if len(p.mu.created) == 0 { // the store may be away: a start waits for no more requests
		return nil
	}
	var now time.Time
	var others []Info
	_ = p.store.List(ctx, prefix+"/", "", func(info Info) error {
		switch {
		case p.mu.created[info.Key] && info.Modified.After(now):
			now = info.Modified
		case probeKey.MatchString(info.Key[len(prefix)+1:]):
			others = append(others, info)
		}
		return nil
	})
	for _, info := range others {
		if now.Sub(info.Modified) > tidyAge && !now.IsZero() {
			keys = append(keys, info.Key)
		}
	}
	return keys
}
