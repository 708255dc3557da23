package rebuild

import (
	"context"
	"errors"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// lookAgain is how long after the last look lost objects are looked at again.
	lookAgain = 5 * time.Minute
	// mostLooks bounds what is looked at in one go.
	mostLooks = 64
)

// loss is an index object that was reported lost, and not as mended since.
type loss struct {
	state *partlog.State
	pages []*partlog.Page
}

// lost reports an object as lost.
func (p *Pages) lost(s *partlog.State, pages []*partlog.Page, text string) {
	object := pages[0].Object
	p.mu.Lock()
	if len(p.standing) == 0 {
		p.looked = p.opt.Now()
	}
	p.standing[object] = loss{s, pages}
	p.mu.Unlock()
	p.opt.Lost(segment.IndexKey(s.Journal(), object), text)
}

// mended reports that an object can be had again.
func (p *Pages) mended(s *partlog.State, object segment.ID) {
	p.mu.Lock()
	delete(p.standing, object)
	p.mu.Unlock()
	p.opt.Mended(segment.IndexKey(s.Journal(), object))
}

// LookAgain looks at objects that stay lost, which readers may never ask for again: an
// operator may have restored them, or the bucket takes them now. It costs a few reads
// for each of a bounded number of them, every five minutes, and nothing while there
// are none: it is to be called more often. It does not wait.
func (p *Pages) LookAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opt.Now()
	if p.closed || len(p.standing) == 0 || now.Sub(p.looked) < lookAgain {
		return
	}
	p.looked = now
	due, n := map[uint32][]loss{}, 0
	for _, l := range p.standing { // in any order, so that each has its turn
		if id := l.state.Journal(); n < mostLooks && !p.running[id] {
			due[id] = append(due[id], l)
			n++
		}
	}
	for id, losses := range due {
		p.running[id] = true
		p.wg.Go(func() {
			for _, l := range losses {
				p.lookAgainAt(p.ctx, l)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.running, id)
		})
	}
}

// lookAgainAt mends an object that is there again or that no state names any more,
// or writes it if it was rebuilt. What fails is tried again with the next look.
func (p *Pages) lookAgainAt(ctx context.Context, l loss) {
	object := l.pages[0].Object
	if len(l.state.Pages()[object]) == 0 {
		p.drop(object)
		p.mended(l.state, object)
		return
	}
	is, err := p.look(ctx, l.state.Journal(), object, l.pages)
	if err == nil && is != sound {
		err = errors.New("it is still lost")
		if payload := p.payload(object); payload != nil && p.opt.Writes {
			err = p.write(ctx, l.state, l.pages, payload, is)
		}
	}
	if err == nil {
		p.drop(object)
		p.mended(l.state, object)
	}
}

// payload is what was rebuilt of an object and is kept in memory, or nil.
func (p *Pages) payload(object segment.ID) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.payloads[object]
}

// drop lets go of what payload has.
func (p *Pages) drop(object segment.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes -= len(p.payloads[object])
	delete(p.payloads, object)
	p.kept.Store(int64(len(p.payloads)))
}
