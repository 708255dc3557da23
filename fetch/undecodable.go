package fetch

import (
	"sync"

	"github.com/varvelog/varve/tiering/partlog"
)

// maxUndecodable bounds the batches that are remembered as reported.
const maxUndecodable = 4096

// undecodable reports batches that are stored as a client sent them, and whose records
// cannot be decoded: each once. It is safe for concurrent use.
type undecodable struct {
	onUndecodable func(Damage)

	mu    sync.Mutex
	known map[batchID]bool
	n     int64 // reported
}

type batchID struct {
	partlog.Key
	offset int64
}

func newUndecodable(onUndecodable func(Damage)) *undecodable {
	if onUndecodable == nil {
		onUndecodable = func(Damage) {}
	}
	return &undecodable{onUndecodable: onUndecodable, known: map[batchID]bool{}}
}

// found reports a batch, unless it was reported before, or too many others were.
func (u *undecodable) found(d Damage) {
	u.mu.Lock()
	id := batchID{d.Key, d.First}
	if u.known[id] || len(u.known) == maxUndecodable {
		u.mu.Unlock()
		return
	}
	u.known[id] = true
	u.n++
	u.mu.Unlock()
	u.onUndecodable(d)
}

// Undecodable returns how many batches were read whose records cannot be decoded.
func (r *Reader) Undecodable() int64 {
	r.undecodable.mu.Lock()
	defer r.undecodable.mu.Unlock()
	return r.undecodable.n
}
