package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// BackgroundOptions are the settings of a Background. All are needed.
type BackgroundOptions struct {
	Store   objstore.Store
	Cluster segment.ID
	State   *partlog.State // of a journal that this node leads
	// Prove returns nil when the state has all that was committed before the call.
	Prove func(context.Context) error
	// Page reads an index page; restore.Page if it is nil.
	Page func(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error)
	Rate int64 // bytes a second
	// Newest is how many of the newest objects of the journal are left out: they are merged
	// soon, which checks them.
	Newest uint64
	Name   func(topic segment.ID) string // empty if it is not known
	// Load returns the bytes that Save was given last, nil if it was never called.
	Load func() ([]byte, error)
	Save func([]byte) error
	Now  func() time.Time
	// Sleep returns early with the error of ctx.
	Sleep func(ctx context.Context, d time.Duration) error
	// OnDamage is called for each damaged object that records need, once a pass. OnMended
	// is called when it is sound again, or not needed any more.
	OnDamage func(Finding)
	OnMended func(object string)
	Log      *slog.Logger
}

const (
	// leastPaced is the least number of bytes that an object counts for, so that many
	// small objects do not become many requests a second.
	leastPaced = 1 << 20
	// saveEvery is the time between two saves of the progress.
	saveEvery = time.Minute
	// passPause is the least time from the start of one pass to that of the next.
	passPause = time.Hour
	// retryPause is the time until a store that fails is asked again.
	retryPause = time.Minute
)

// Background reads all stored records of a journal again and again, at a slow pace, and
// reports damage before a consumer meets it. It goes on after a restart where it was.
type Background struct {
	opt    BackgroundOptions
	merged mergedCheck

	mu       sync.Mutex
	progress progressFile // guarded by mu
	read     int64        // bytes, guarded by mu
	saved    time.Time    // the owner's
}

// progressFile is kept across restarts, as JSON.
type progressFile struct {
	Version   int      `json:"version"`
	Cluster   string   `json:"cluster"`
	PassBegan int64    `json:"pass_began_ms"`
	LastBegan int64    `json:"last_pass_began_ms"` // of the pass that was completed last, 0: none was
	At        cursor   `json:"at"`
	Damaged   []string `json:"damaged,omitempty"` // objects
	Found     []string `json:"found,omitempty"`   // those that the pass under way found damaged
}

const progressVersion = 1

// Oldest returns the time since which each stored byte was read, but for those that came
// later.
func (b *Background) Oldest() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress.LastBegan > 0 {
		return time.UnixMilli(b.progress.LastBegan)
	}
	return time.UnixMilli(b.progress.PassBegan)
}

// Read returns how many bytes were read since the start.
func (b *Background) Read() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// Damaged returns how many objects are known to be damaged.
func (b *Background) Damaged() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.progress.Damaged)
}

// NewBackground reads the progress. Where that cannot be read, all begins again.
func NewBackground(opt BackgroundOptions) *Background {
	b := &Background{opt: opt, merged: mergedCheck{store: opt.Store, cluster: opt.Cluster, journal: opt.State.Journal(), whole: true}}
	raw, err := opt.Load()
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, &b.progress)
	}
	if err != nil {
		opt.Log.Warn("the progress of verification cannot be read; it begins again", "error", err)
	}
	if p := &b.progress; err != nil || p.Version != progressVersion || p.Cluster != opt.Cluster.String() {
		*p = progressFile{Version: progressVersion, Cluster: opt.Cluster.String(), PassBegan: opt.Now().UnixMilli()}
	}
	b.saved = opt.Now()
	return b
}

// Run reads until ctx ends.
func (b *Background) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := b.pass(ctx)
		if ctx.Err() != nil {
			break
		}
		pause := retryPause
		if err != nil {
			b.opt.Log.Warn("verification pauses", "error", err, "for", pause)
		} else {
			pause = b.finish()
		}
		b.save()
		_ = b.opt.Sleep(ctx, pause)
	}
	b.save()
}

// finish ends a pass, and returns how long to wait for the next one.
func (b *Background) finish() time.Duration {
	now := b.opt.Now()
	b.mu.Lock()
	p := &b.progress
	pause := max(time.UnixMilli(p.PassBegan).Add(passPause).Sub(now), 0)
	p.LastBegan, p.PassBegan, p.At = p.PassBegan, now.Add(pause).UnixMilli(), cursor{}
	before := p.Damaged
	p.Damaged, p.Found = p.Found, nil
	after := p.Damaged
	b.mu.Unlock()
	for _, object := range before {
		if !slices.Contains(after, object) {
			b.opt.OnMended(object) // a whole pass has not met it any more
		}
	}
	return pause
}

func (b *Background) save() {
	b.mu.Lock()
	raw, err := json.Marshal(&b.progress)
	b.mu.Unlock()
	if err == nil {
		err = b.opt.Save(raw)
	}
	if err != nil {
		b.opt.Log.Warn("the progress of verification cannot be saved", "error", err)
	}
	b.saved = b.opt.Now()
}

// pass reads the objects from the cursor on.
func (b *Background) pass(ctx context.Context) error {
	for ctx.Err() == nil {
		b.mu.Lock()
		at := b.progress.At
		b.mu.Unlock()
		next, to, err := b.next(ctx, at)
		if err != nil || next == nil {
			return err
		}
		n, err := b.one(ctx, next)
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.progress.At = to
		b.read += n
		b.mu.Unlock()
		if b.opt.Now().Sub(b.saved) >= saveEvery {
			b.save()
		}
		pause := time.Duration(float64(max(n, leastPaced)) / float64(b.opt.Rate) * float64(time.Second))
		if err := b.opt.Sleep(ctx, pause); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// one checks an object, and returns how many bytes were read. The error is that of the
// store, or of a proof.
func (b *Background) one(ctx context.Context, m *merged) (int64, error) {
	found, n, err := b.check(ctx, m)
	if errors.Is(err, objstore.ErrNotFound) {
		if err := b.opt.Prove(ctx); err != nil {
			return n, err
		}
		found, err = b.missing(ctx, m)
	}
	if err != nil {
		return n, fmt.Errorf("read %s: %w", m.object.Key(), err)
	}
	if len(found) == 0 {
		b.mended(m.object.Key())
		return n, nil
	}
	b.damaged(m.object.Key(), found)
	return n, nil
}

// check reads an object, and again while it looks damaged.
func (b *Background) check(ctx context.Context, m *merged) (found []*Finding, n int64, err error) {
	for range tries {
		var read int64
		if m.object.Kind == segment.KindMerged {
			found, read, err = b.checkMerged(ctx, m)
		} else {
			found, read, err = b.checkJournal(ctx, m)
		}
		n += read
		if err != nil || len(found) == 0 {
			break
		}
	}
	return found, n, err
}

// checkMerged reads a merged segment. One whose bytes are wrong is read again, to find out
// which records are hit.
func (b *Background) checkMerged(ctx context.Context, m *merged) ([]*Finding, int64, error) {
	sum, err := b.sum(ctx, m)
	if err == nil && sum == m.pieces[0].SHA256 {
		return nil, m.size(), nil
	}
	if err != nil && !errors.Is(err, objstore.ErrRange) {
		return nil, 0, err
	}
	found, n, err := b.merged.check(ctx, m)
	return found, n + m.size(), err
}

func (b *Background) sum(ctx context.Context, m *merged) (sum [sha256.Size]byte, err error) {
	w, done := b.merged.open(ctx, m)
	defer done()
	err = w.skipTo(m.size())
	w.sha.Sum(sum[:0])
	return sum, err
}

// checkJournal reads an object of the journal. Damage counts for the records that the
// state names. A damaged footer may hide some: then those in memory count.
func (b *Background) checkJournal(ctx context.Context, m *merged) ([]*Finding, int64, error) {
	raw, err := b.opt.Store.Get(ctx, m.object.Key())
	if err != nil {
		return nil, 0, err
	}
	o := &object{journal: m.object.Journal, seq: m.object.Seq}
	examine(o, raw, false)
	if m.pieces = nil; o.footer == nil {
		m.pieces = b.piecesAt(m.object)
	} else if m.pieces, err = b.piecesIn(ctx, m.object, o.footer); err != nil {
		return nil, int64(len(raw)), err
	}
	o.against(m.pieces)
	var found []*Finding
	for _, f := range o.findings {
		if f.Severity == Error && len(f.Affects) > 0 {
			found = append(found, f)
		}
	}
	return found, int64(len(raw)), nil
}

// missing is the finding about an object that is missing at a proved head; none if the
// state names it no more.
func (b *Background) missing(ctx context.Context, m *merged) ([]*Finding, error) {
	pieces := m.pieces
	if m.object.Kind != segment.KindMerged {
		pieces = b.piecesAt(m.object)
	}
	var still []piece
	for _, p := range pieces {
		view, _ := b.opt.State.Lookup(p.key)
		if p.Last < view.Start {
			continue
		}
		extents, page, err := b.find(ctx, p.key, max(p.Base, view.Start), 1)
		switch {
		case err != nil && !lost.Unreadable(err):
			return nil, err
		case page != nil && err != nil, len(extents) > 0 && extents[0].Object == m.object:
			still = append(still, p)
		}
	}
	if len(still) == 0 {
		return nil, nil
	}
	f := finding(Error, CodeMissing, b.opt.State.Journal(), m.object.Key(), hintRestore, "missing, though the journal still names it")
	f.Affects, f.records = affectedBy(still), true
	return []*Finding{f}, nil
}

// find returns extents of a partition from an offset on, or from its start if that is
// above. They come from an index page if they lie there. The page is returned, too, also if
// it cannot be read.
func (b *Background) find(ctx context.Context, k partlog.Key, offset int64, n int) ([]partlog.Extent, *partlog.Page, error) {
	extents, page, view, _ := b.opt.State.FindFrom(k, offset, n)
	if page == nil {
		return extents, nil, nil
	}
	found, err := b.page(ctx, page)
	if err != nil {
		return nil, page, err
	}
	return found.From(max(offset, view.Start), n), page, nil
}

// damaged reports and notes a damaged object. Up to a bound they are known after a restart.
func (b *Background) damaged(key string, found []*Finding) {
	for _, f := range found {
		for i := range f.Affects {
			f.Affects[i].Topic = cmp.Or(b.opt.Name(f.Affects[i].id), f.Affects[i].id.Base64())
		}
		b.opt.OnDamage(*f)
	}
	const most = 1024
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range []*[]string{&b.progress.Damaged, &b.progress.Found} {
		if len(*list) < most && !slices.Contains(*list, key) {
			*list = append(*list, strings.Clone(key))
		}
	}
}

// mended notes that an object is sound, or not needed any more.
func (b *Background) mended(key string) {
	same := func(known string) bool { return known == key }
	b.mu.Lock()
	before := len(b.progress.Damaged)
	b.progress.Damaged = slices.DeleteFunc(b.progress.Damaged, same)
	b.progress.Found = slices.DeleteFunc(b.progress.Found, same)
	was := len(b.progress.Damaged) < before
	b.mu.Unlock()
	if was {
		b.opt.OnMended(key)
	}
}
