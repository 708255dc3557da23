package objstore

import (
	"context"
	"regexp"
	"sync"
	"time"
)

const (
	tidyLimit    = 10 * time.Second
	tidyParallel = 16
	// tidyAge is older than any probe under way: its objects are left alone.
	tidyAge = time.Hour
)

// listed notes the store's clock.
func (p *prober) listed(info Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if info.Modified.After(p.mu.now) {
		p.mu.now = info.Modified
	}
}

// tidy removes the objects of the probe, and those below prefix that earlier probes have
// left. Without a prefix it removes its own alone. An object that cannot be removed does
// no harm; an interrupted probe still tries for a while.
func (p *prober) tidy(ctx context.Context, prefix string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyLimit)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for key := range p.mu.created {
		keys = append(keys, key)
	}
	if prefix != "" && !p.mu.now.IsZero() {
		_ = p.store.List(ctx, prefix+"/", "", func(info Info) error {
			if leftover(prefix, info.Key) && p.mu.now.Sub(info.Modified) > tidyAge {
				keys = append(keys, info.Key)
			}
			return nil
		})
	}
	var deleting sync.WaitGroup
	slots := make(chan struct{}, tidyParallel)
	for _, key := range keys {
		slots <- struct{}{}
		deleting.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() == nil {
				_ = p.store.Delete(ctx, key)
			}
		})
	}
	deleting.Wait()
}

// probeKey is the form of the keys of a probe, below its prefix.
var probeKey = regexp.MustCompile(`^[A-Z2-7]{26}(/[0-9]+){3,4}$`)

// leftover reports whether a key below prefix is one that only a probe makes.
func leftover(prefix, key string) bool { return probeKey.MatchString(key[len(prefix)+1:]) }
