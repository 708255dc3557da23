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
	err := p.opt.Store.List(ctx, segment.IndexPrefix(s.Journal()), "", func(i objstore.Info) error {
		if name, ok := segment.ParseIndexKey(s.Journal(), i.Key); ok && !name.Copy {
			delete(named, name.Object)
		}
		return nil
	})
	return len(named) > 0, err
}

// state is the condition of an index object.
type state int

const (
	sound state = iota
	gone
	rotten
)

// rebuild finds the index objects that cannot be read, and rebuilds them.
func (p *Pages) rebuild(ctx context.Context, s *partlog.State) error {
	id := s.Journal()
	bad, states, room := map[segment.ID][]*partlog.Page{}, map[segment.ID]state{}, maxPayload
	for object, pages := range s.Pages() {
		is, err := p.look(ctx, id, object, pages)
		if err != nil {
			return err
		}
		if size := int(pages[0].Size); is != sound && size <= room && p.Page(pages[0]) == nil {
			bad[object], states[object] = pages, is
			room -= size
		}
	}
	if len(bad) == 0 {
		return nil
	}
	report := func(format string, args ...any) {
		for object, is := range states {
			fault := map[state]string{gone: "missing", rotten: "damaged"}[is]
			p.lost(s, bad[object], "index page is "+fault+"; "+fmt.Sprintf(format, args...))
		}
	}
	report("it is being rebuilt from the journal")
	g := newGathering(bad)
	next := uint64(0)
	err := g.walk(ctx, p.opt.Store, p.opt.Chain(id), func(seq uint64) {
		if seq >= next {
			report("it is being rebuilt from the journal, which is read up to seq %d", seq)
			next = seq + 10_000
		}
	})
	var payloads map[segment.ID][]byte
	if err == nil {
		payloads, err = g.payloads()
	}
	if err != nil {
		if ctx.Err() == nil {
			report("it cannot be rebuilt from the journal: %v; restore it, and all other objects that \"varve bucket verify\" names, from a copy of the bucket", err)
		}
		return err
	}
	return p.mend(ctx, s, payloads, bad, states)
}

// look reads an index object, and again while it is damaged, a few times.
func (p *Pages) look(ctx context.Context, id uint32, object segment.ID, pages []*partlog.Page) (is state, err error) {
	for range getTries {
		limited, cancel := context.WithTimeout(ctx, getLimit)
		b, err := p.opt.Store.Get(limited, segment.IndexKey(id, object))
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
func (p *Pages) mend(ctx context.Context, s *partlog.State, payloads map[segment.ID][]byte, bad map[segment.ID][]*partlog.Page, states map[segment.ID]state) error {
	var errs []error
	for object, payload := range payloads {
		err := errReadOnly
		if p.opt.Writes {
			err = p.write(ctx, s, bad[object], payload, states[object])
		}
		if err != nil {
			p.keep(object, payload)
		}
		if err != nil && p.opt.Writes {
			p.lost(s, bad[object], fmt.Sprintf("index page was rebuilt from the journal, but cannot be written: %v", err))
			errs = append(errs, err)
			continue
		}
		p.mended(s, object)
	}
	return errors.Join(errs...)
}

var errReadOnly = errors.New("this node only reads")

// write creates the object. Only its pages have to be those that the state
// names; the rest of it may differ.
func (p *Pages) write(ctx context.Context, s *partlog.State, pages []*partlog.Page, payload []byte, is state) error {
	object := pages[0].Object
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	chain, key := p.opt.Chain(s.Journal()), segment.IndexKey(s.Journal(), object)
	b, err := segment.EncodeBlob(segment.Blob{
		Kind: segment.KindIndex, Cluster: chain.Cluster, Object: object, Journal: s.Journal(), Seq: s.Head(), Payload: payload,
	})
	if err != nil {
		return err
	}
	if is == rotten { // since the walk began it may have been restored
		is, err := p.look(ctx, s.Journal(), object, pages)
		if err != nil || is == sound {
			return err
		}
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
