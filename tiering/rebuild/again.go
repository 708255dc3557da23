package rebuild

import (
	"context"
	"errors"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// lookAgain is the pause between two checks of lost objects.
	lookAgain = 5 * time.Minute
	// mostLooks limits how many objects one round checks.
	mostLooks = 64
)

// loss is an index object that was reported as lost, and not as mended since.
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
	p.opt.Lost(pages[0].ObjectKey(), text)
}

// mended reports that an object can be read again.
func (p *Pages) mended(pages []*partlog.Page) {
	object := pages[0].Object
	p.mu.Lock()
	delete(p.standing, object)
	p.mu.Unlock()
	p.opt.Mended(pages[0].ObjectKey())
}

// LookAgain checks objects that stay lost, which readers may never ask for
// again: an operator may have restored them, or the bucket accepts them now. It
// costs a few reads for each of a bounded number of objects, every five
// minutes, and nothing if there are none. Callers are expected to call it more
// often than that. It does not wait.
func (p *Pages) LookAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opt.Now()
	if p.closed || len(p.standing) == 0 || now.Sub(p.looked) < lookAgain {
		return
	}
	p.looked = now
	due, n := map[uint32][]loss{}, 0
	for _, l := range p.standing { // in random order, so that each has its turn
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

// lookAgainAt mends an object that exists again or that no state names any
// more, or writes it if it was rebuilt. A step that fails is tried again in the
// next round.
func (p *Pages) lookAgainAt(ctx context.Context, l loss) {
	object := l.pages[0].Object
	if len(l.state.Pages()[object]) == 0 {
		p.drop(object)
		p.mended(l.pages)
		return
	}
	c, err := p.look(ctx, l.pages)
	if err == nil && c.is() != sound {
		err = errors.New("it is still lost")
		if payload := p.payload(object); payload != nil && p.opt.Writes {
			err = p.write(ctx, l.state, l.pages, payload)
		}
	}
	if err == nil {
		p.drop(object)
		p.mended(l.pages)
	}
}

// payload returns the rebuilt bytes of an object that are kept in memory, or
// nil.
func (p *Pages) payload(object segment.ID) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.payloads[object]
}

// drop frees the payload of an object.
func (p *Pages) drop(object segment.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes -= len(p.payloads[object])
	delete(p.payloads, object)
	p.kept.Store(int64(len(p.payloads)))
}
