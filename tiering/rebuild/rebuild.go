// Package rebuild makes index pages again that are missing or damaged in the
// bucket, from the journal whose objects they list.
//
// It owns the search for such pages, the walk through the journal, and the
// rebuilt pages for as long as they are not in the bucket. It promises:
//   - it uses a page only if its bytes have the CRC that the journal's state
//     has for it;
//   - one walk at a time for each journal, however many callers ask, and
//     bounded memory;
//   - where it may write, the object at its old key, so that all checkpoints
//     which name it are whole again.
//
// It also restores one of the two copies of an index object from the other.
//
// It deletes an object only if that is an index object that was read as damaged
// several times, and never touches anything else.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// maxPayload limits how many bytes are rebuilt at once, and kept.
	maxPayload = 64 << 20
	// again is how long after a failed rebuild the next one may begin.
	again = time.Minute
)

// Options are the settings of a Pages. Store, Chain, Lost and Mended are
// required.
type Options struct {
	Store  objstore.Store
	Writes bool // put rebuilt objects into the bucket
	// Chain returns where the reading of a journal begins.
	Chain func(id uint32) journal.Chain
	// Lost is called for each index object that cannot be read, with a text
	// that says how it is handled. Mended is called when its pages can be read
	// again.
	Lost   func(object, text string)
	Mended func(object string)
	Now    func() time.Time // time.Now if nil
}

// Pages rebuilds index pages. It is safe for concurrent use. Close it.
type Pages struct {
	opt    Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	kept   atomic.Int64 // objects in memory, so that others need no lock

	mu       sync.Mutex
	closed   bool
	running  map[uint32]bool
	failed   map[uint32]time.Time
	payloads map[segment.ID][]byte // rebuilt, and not in the bucket
	bytes    int
	standing map[segment.ID]loss
	looked   time.Time // when those were last checked, or the first was lost
}

// New returns a Pages that has nothing to do yet.
func New(opt Options) *Pages {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	p := &Pages{opt: opt, running: map[uint32]bool{}, failed: map[uint32]time.Time{}, payloads: map[segment.ID][]byte{}, standing: map[segment.ID]loss{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends the work under way and waits for it.
func (p *Pages) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// Page returns the bytes of a page if it was rebuilt and is not in the bucket; nil
// otherwise.
func (p *Pages) Page(page *partlog.Page) []byte {
	if p.kept.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	payload := p.payloads[page.Object]
	if uint64(page.Position)+uint64(page.Length) > uint64(len(payload)) {
		return nil
	}
	return payload[page.Position:][:page.Length:page.Length]
}

// Rebuild begins to rebuild the pages of a journal's state that cannot be read,
// unless that is under way or failed a short time ago.
func (p *Pages) Rebuild(s *partlog.State) { p.begin(s, p.rebuild) }

// Look lists the index objects of a journal in the bucket, compares them with
// those that its state names, and rebuilds the missing ones. It does not wait.
func (p *Pages) Look(s *partlog.State) {
	p.begin(s, func(ctx context.Context, s *partlog.State) error {
		missing, err := p.missing(ctx, s)
		if err != nil || !missing {
			return err
		}
		return p.rebuild(ctx, s)
	})
}

func (p *Pages) begin(s *partlog.State, do func(context.Context, *partlog.State) error) {
	id := s.Journal()
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.failed[id]; p.closed || p.running[id] || ok && p.opt.Now().Sub(at) < again {
		return
	}
	p.running[id] = true
	p.wg.Go(func() {
		err := do(p.ctx, s)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, id)
		if delete(p.failed, id); err != nil {
			p.failed[id] = p.opt.Now()
		}
	})
}

func (p *Pages) missing(ctx context.Context, s *partlog.State) (bool, error) {
	named := s.Pages()
	if len(named) == 0 {
		return false, nil
	}
	lost := map[string]bool{}
	for _, pages := range named {
		for _, name := range pages[0].Copies() {
			lost[name.Key()] = true
		}
	}
	err := p.opt.Store.List(ctx, segment.IndexPrefix(s.Journal()), "", func(i objstore.Info) error {
		delete(lost, i.Key)
		return nil
	})
	return len(lost) > 0, err
}

// state is the condition of an index object.
type state int

const (
	sound state = iota
	gone
	rotten
)

// condition is the state of an index object in each of the places where it is stored.
type condition struct {
	names  []segment.IndexName
	states []state
}

// is returns the state of the object: readers take a sound copy.
func (c *condition) is() state {
	worst := gone
	for _, s := range c.states {
		if s == sound {
			return sound
		}
		worst = max(worst, s)
	}
	return worst
}

// rebuild finds the index objects that cannot be read, and rebuilds them. A copy that is
// lost is made from the other one.
func (p *Pages) rebuild(ctx context.Context, s *partlog.State) error {
	bad, found, room := map[segment.ID][]*partlog.Page{}, map[segment.ID]condition{}, maxPayload
	var errs []error
	for object, pages := range s.Pages() {
		c, err := p.look(ctx, pages)
		switch size := int(pages[0].Size); {
		case err != nil:
			return err
		case c.is() == sound:
			errs = append(errs, p.restoreCopies(ctx, c))
		case c.is() == gone && p.removed(ctx, s, pages[0].IndexName):
			// readers go by the newest floor
		case slices.ContainsFunc(pages, func(page *partlog.Page) bool { return page.Merged }):
			p.lost(s, pages, "index page of merged segments is lost in both copies; restore one of them from a copy of the bucket")
		case size <= room && p.Page(pages[0]) == nil:
			bad[object], found[object] = pages, c
			room -= size
		}
	}
	if len(bad) == 0 {
		return errors.Join(errs...)
	}
	payloads, err := p.gather(ctx, s, bad, found)
	if err != nil {
		return err
	}
	return errors.Join(append(errs, p.mend(ctx, s, payloads, bad))...)
}

// removed reports whether a leader may have removed an index object, because no floor keeps
// it. If that cannot be found out the object counts as lost.
func (p *Pages) removed(ctx context.Context, s *partlog.State, name segment.IndexName) bool {
	names := func(c *journal.Checkpoint) ([]segment.IndexName, error) {
		return partlog.IndexNames(c.Chain.Journal, c.State)
	}
	not, err := journal.NotKept(ctx, p.opt.Store, p.opt.Chain(s.Journal()), names, []segment.IndexName{name})
	return err == nil && len(not) > 0
}

// restoreCopies makes the lost copies of a sound index object again.
func (p *Pages) restoreCopies(ctx context.Context, c condition) error {
	for i, name := range c.names {
		if c.states[i] == sound || !p.opt.Writes {
			continue
		}
		if err := RestoreCopy(ctx, p.opt.Store, name); err != nil {
			return err
		}
	}
	return nil
}

// gather makes the payloads of lost objects from the journal.
func (p *Pages) gather(ctx context.Context, s *partlog.State, bad map[segment.ID][]*partlog.Page, found map[segment.ID]condition) (map[segment.ID][]byte, error) {
	report := func(format string, args ...any) {
		for object, c := range found {
			fault := map[state]string{gone: "missing", rotten: "damaged"}[c.is()]
			p.lost(s, bad[object], "index page is "+fault+"; "+fmt.Sprintf(format, args...))
		}
	}
	report("it is being rebuilt from the journal")
	g := newGathering(bad)
	next := uint64(0)
	err := g.walk(ctx, p.opt.Store, p.opt.Chain(s.Journal()), func(seq uint64) {
		if seq >= next {
			report("it is being rebuilt from the journal, which is read up to seq %d", seq)
			next = seq + 10_000
		}
	})
	var payloads map[segment.ID][]byte
	if err == nil {
		payloads, err = g.payloads()
	}
	if err != nil && ctx.Err() == nil {
		report("it cannot be rebuilt from the journal: %v; restore it, and all other objects that \"varve bucket verify\" names, from a copy of the bucket", err)
	}
	return payloads, err
}

// look reads an index object in all places where it is stored.
func (p *Pages) look(ctx context.Context, pages []*partlog.Page) (condition, error) {
	c := condition{names: pages[0].Copies()}
	for _, name := range c.names {
		is, err := p.lookAt(ctx, name, pages)
		if err != nil {
			return c, err
		}
		c.states = append(c.states, is)
	}
	return c, nil
}

// lookAt reads an index object, and again while it is damaged, a few times.
func (p *Pages) lookAt(ctx context.Context, name segment.IndexName, pages []*partlog.Page) (is state, err error) {
	for range getTries {
		limited, cancel := context.WithTimeout(ctx, getLimit)
		b, err := p.opt.Store.Get(limited, name.Key())
		cancel()
		switch {
		case errors.Is(err, objstore.ErrNotFound):
			return gone, nil
		case err != nil:
			return sound, err
		}
		err = Check(b, pages)
		if errors.Is(err, segment.ErrUnsupported) {
			return sound, err // a newer program's: it is not damaged
		}
		if err == nil {
			return sound, nil
		}
	}
	return rotten, nil
}

// Check returns why the bytes of an index object do not have the pages, or nil
// if they do.
func Check(object []byte, pages []*partlog.Page) error {
	for _, p := range pages {
		at, end := segment.BlobHeaderSize+int64(p.Position), segment.BlobHeaderSize+int64(p.Position)+int64(p.Length)
		if want := segment.BlobHeaderSize + int64(p.Size); int64(len(object)) != want || end > want {
			return fmt.Errorf("%w: index object of %d bytes, not %d", segment.ErrCorrupt, len(object), want)
		}
		if _, err := partlog.DecodePage(p, object[at:end]); err != nil {
			return err
		}
	}
	return nil
}

// mend puts rebuilt objects into the bucket, or keeps them in memory if it
// cannot.
func (p *Pages) mend(ctx context.Context, s *partlog.State, payloads map[segment.ID][]byte, bad map[segment.ID][]*partlog.Page) error {
	var errs []error
	for object, payload := range payloads {
		err := errReadOnly
		if p.opt.Writes {
			err = p.write(ctx, s, bad[object], payload)
		}
		if err != nil {
			p.keep(object, payload)
		}
		if err != nil && p.opt.Writes {
			p.lost(s, bad[object], fmt.Sprintf("index page was rebuilt from the journal, but cannot be written: %v", err))
			errs = append(errs, err)
			continue
		}
		p.mended(bad[object])
	}
	return errors.Join(errs...)
}

var errReadOnly = errors.New("this node only reads")

// write creates the object where it is lost. Only its pages have to be those that the state
// names; the rest of it may differ.
func (p *Pages) write(ctx context.Context, s *partlog.State, pages []*partlog.Page, payload []byte) error {
	object := pages[0].Object
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b, err := segment.EncodeBlob(segment.Blob{
		Kind: segment.KindIndex, Cluster: p.opt.Chain(s.Journal()).Cluster, Object: object, Journal: s.Journal(), Seq: s.Head(), Payload: payload,
	})
	if err != nil {
		return err
	}
	c, err := p.look(ctx, pages) // since the walk began it may have been restored
	for i := 0; i < len(c.states) && err == nil; i++ {
		if c.states[i] != sound {
			err = p.writeAt(ctx, c.names[i].Key(), c.states[i], pages, b)
		}
	}
	return err
}

func (p *Pages) writeAt(ctx context.Context, key string, is state, pages []*partlog.Page, b []byte) error {
	if is == rotten {
		if err := p.opt.Store.Delete(ctx, key); err != nil {
			return err
		}
	}
	createErr := p.opt.Store.Create(ctx, key, objstore.Plain(b))
	got, err := p.opt.Store.Get(ctx, key)
	if err != nil {
		return errors.Join(createErr, err)
	}
	if err := Check(got, pages); err != nil {
		return errors.Join(createErr, fmt.Errorf("%s reads back with other bytes than were written: %w", key, err))
	}
	return nil
}

// keep holds a payload in memory, and drops others to make room.
func (p *Pages) keep(object segment.ID, payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, b := range p.payloads {
		if other == object || p.bytes+len(payload) > maxPayload {
			p.bytes -= len(b)
			delete(p.payloads, other)
		}
	}
	p.payloads[object] = payload
	p.bytes += len(payload)
	p.kept.Store(int64(len(p.payloads)))
}
