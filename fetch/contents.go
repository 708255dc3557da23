package fetch

import (
	"sync"

	"github.com/varvelog/varve/tiering/partlog"
)

// maxContents bounds how many batches are remembered as reported.
const maxContents = 4096

// contents reports batches whose bytes are those that a client sent, and whose
// records cannot be decoded: each once. It is safe for concurrent use.
type contents struct {
	tell func(Damage)

	mu    sync.Mutex
	known map[contentID]bool
	n     int64 // that were reported
}

type contentID struct {
	partlog.Key
	offset int64
}

func newContents(tell func(Damage)) *contents {
	if tell == nil {
		tell = func(Damage) {}
	}
	return &contents{tell: tell, known: map[contentID]bool{}}
}

// found reports a batch, unless it was reported before, or too many others were.
func (c *contents) found(d Damage) {
	c.mu.Lock()
	id := contentID{d.Key, d.First}
	if c.known[id] || len(c.known) == maxContents {
		c.mu.Unlock()
		return
	}
	c.known[id] = true
	c.n++
	c.mu.Unlock()
	c.tell(d)
}

// Undecodable is how many batches were met whose records cannot be decoded.
func (r *Reader) Undecodable() int64 {
	r.contents.mu.Lock()
	defer r.contents.mu.Unlock()
	return r.contents.n
}
