package fetch

import (
	"sync"

	"github.com/varvelog/varve/tiering/partlog"
)

// maxContents bounds the batches that are remembered as reported.
const maxContents = 4096

// contents reports batches that are stored as a client sent them, and whose records
// cannot be decoded: each once. It is safe for concurrent use.
type contents struct {
	onUndecodable func(Damage)

	mu    sync.Mutex
	known map[contentID]bool
	n     int64 // reported
}

type contentID struct {
	partlog.Key
	offset int64
}

func newContents(onUndecodable func(Damage)) *contents {
	if onUndecodable == nil {
		onUndecodable = func(Damage) {}
	}
	return &contents{onUndecodable: onUndecodable, known: map[contentID]bool{}}
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
	c.onUndecodable(d)
}

// Undecodable returns how many batches were read whose records cannot be decoded.
func (r *Reader) Undecodable() int64 {
	r.contents.mu.Lock()
	defer r.contents.mu.Unlock()
	return r.contents.n
}
