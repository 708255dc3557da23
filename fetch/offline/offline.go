// Package offline reads a bucket without a node: its topics, the states of its journals at
// a proved head, and the records.
//
// It owns the way from a store to these, by the code that nodes run: follow.Followers
// applies the journals, and fetch.Reader reads. So whatever a consumer would get, a caller
// of this package gets, and the other way round. It promises that each record that was
// acknowledged before Open is there, and after Prove each one before Prove.
//
// It never writes: read access to the bucket is enough. Nodes may run next to it.
package offline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/fetch/follow"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/cluster"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/rebuild"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// lookPause is the time between two looks at a journal that no caller asks for.
	lookPause = time.Hour
	// tries is how often a request of Open or Prove is made, tryPause the time between two.
	tries    = 5
	tryPause = 300 * time.Millisecond

	defaultCache = 256 << 20
	footerBytes  = 32 << 20
	scanBytes    = 128 << 20
)

// Options are the settings of a Bucket. All may be left out.
type Options struct {
	Log        *slog.Logger // requests that fail and are tried again, lost index pages
	CacheBytes int64        // memory for records that were read; default 256 MiB
}

// Bucket is an open bucket. It is safe for concurrent use. Close it.
type Bucket struct {
	Cluster segment.Cluster
	Topics  *metadata.State
	Reader  *fetch.Reader

	store     objstore.Store
	log       *slog.Logger
	followers *follow.Followers
	cache     *cache.Cache
	pages     *rebuild.Pages
	removed   *restore.Removed

	mu       sync.Mutex
	journals map[uint32]*fetch.JournalView
	failed   error
}

// Open reads the journals up to their heads.
func Open(ctx context.Context, store objstore.Store, opt Options) (*Bucket, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.CacheBytes == 0 {
		opt.CacheBytes = defaultCache
	}
	b := &Bucket{store: store, log: opt.Log, Topics: metadata.New(), journals: map[uint32]*fetch.JournalView{}}
	err := again(ctx, func() (err error) {
		b.Cluster, err = cluster.Read(ctx, store)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := b.openReader(opt.CacheBytes); err != nil {
		return nil, err
	}
	b.followers = follow.New(follow.Options{
		Store: store, Meta: b.Topics, Load: b.load, Restore: b.restore, Poll: func() time.Duration { return lookPause }, Log: opt.Log,
		Stays:     func(error) bool { return false },
		OnApplied: func(*journal.Object) {}, OnMetadata: func() {}, OnShown: b.shown, OnFailed: b.fail,
	})
	if err := b.followers.Start(ctx); err != nil {
		b.Close()
		return nil, fmt.Errorf("read bucket %s: %w", store, err)
	}
	return b, nil
}

func (b *Bucket) openReader(bytes int64) (err error) {
	b.cache, err = cache.New(cache.Config{Store: b.store, Bytes: bytes, ReplayBytes: bytes / 2, FooterBytes: footerBytes, LoadTimeout: time.Minute})
	if err != nil {
		return err
	}
	b.removed = restore.NewRemoved(b.store, b.chain)
	b.pages = rebuild.New(rebuild.Options{
		Store: b.store, Chain: b.chain,
		Lost:   func(object, text string) { b.log.Warn("an index object is lost", "object", object, "state", text) },
		Mended: func(object string) { b.Reader.Mended(object) },
	})
	b.Reader, err = fetch.NewReader(fetch.Config{
		Cluster: b.Cluster.ID, Cache: b.cache, Journal: b.journal, Locate: b.locate, Pages: b.pages, Removed: b.removed.Page, ScanBytes: scanBytes,
	})
	return err
}

// Close ends all reading.
func (b *Bucket) Close() {
	b.followers.Close()
	b.pages.Close()
	b.cache.Close()
}

// State is that of a data journal; nil if there is none of this number.
func (b *Bucket) State(id uint32) *partlog.State {
	if view, err := b.journal(id); err == nil {
		return view.State
	}
	return nil
}

// Prove brings the metadata and the states of all journals to the heads as they are after
// the call.
func (b *Bucket) Prove(ctx context.Context) error {
	err := again(ctx, func() error {
		if err := b.err(); err != nil {
			return err
		}
		return b.followers.Prove(ctx)
	})
	if err != nil {
		return fmt.Errorf("prove the heads of the journals of bucket %s: %w", b.store, err)
	}
	return nil
}

// again calls do until it succeeds, a few times.
func again(ctx context.Context, do func() error) error {
	for i := 1; ; i++ {
		err := do()
		settled := err == nil || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrDenied) ||
			errors.Is(err, segment.ErrUnsupported) || errors.Is(err, journal.ErrBroken) || errors.Is(err, ErrCutOff)
		if settled || i == tries || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(tryPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Bucket) chain(id uint32) journal.Chain {
	return journal.NewChain(b.Cluster.ID, id, int(b.Cluster.Window))
}

func (b *Bucket) load(ctx context.Context, id uint32) (journal.Config, *journal.Checkpoint, error) {
	cfg := journal.Config{Chain: b.chain(id), NewID: segment.NewID, NowMs: func() int64 { return time.Now().UnixMilli() }}
	var c *journal.Checkpoint
	err := again(ctx, func() (err error) {
		c, err = journal.LoadCheckpoint(ctx, b.store, cfg.Chain, restore.Names)
		return err
	})
	if c == nil || err != nil {
		return cfg, nil, err
	}
	cfg.Chain, cfg.History = c.Chain, c.History
	return cfg, c, nil
}

func (b *Bucket) restore(ctx context.Context, c *journal.Checkpoint) (state *partlog.State, err error) {
	id := c.Chain.Journal
	err = again(ctx, func() (err error) {
		state, err = restore.State(ctx, b.store, b.chain(id), c, func(err error) { restore.LogLost(b.log, id, err) })
		return err
	})
	return state, err
}

func (b *Bucket) shown(id uint32, j follow.Journal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.journals[id] = &fetch.JournalView{State: j.State, Head: j.Head}
}

func (b *Bucket) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = err
}

func (b *Bucket) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

func (b *Bucket) journal(id uint32) (*fetch.JournalView, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if view := b.journals[id]; view != nil {
		return view, nil
	}
	return nil, fetch.ErrNotReady
}

// locate finds a partition, also of a deleted topic that can be restored.
func (b *Bucket) locate(k partlog.Key) (journal uint32, ok bool) {
	t, ok := b.Topics.TopicOrDeleted(k.Topic)
	if !ok || k.Index < 0 || int(k.Index) >= len(t.Partitions) {
		return 0, false
	}
	return t.Partitions[k.Index].Journal, true
}
