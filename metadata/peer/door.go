package peer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// Door is the called end of handshakes. It may be used by several goroutines. Fields are not
// changed once it is used.
type Door struct {
	Self    Identity
	Cluster segment.ID
	Keys    []*Keys // of the roles that are let in
	Random  io.Reader
	Now     func() time.Time

	mu     sync.Mutex
	loaded time.Time
}

// Hello answers the first message of a handshake. ErrNoKey may mean that the key is new:
// Reload, and the caller tries again.
func (d *Door) Hello(first []byte) (a *Answer, second []byte, err error) {
	var nonce [NonceSize]byte
	if _, err := io.ReadFull(d.Random, nonce[:]); err != nil {
		return nil, nil, fmt.Errorf("draw a nonce: %w", err)
	}
	return NewAnswer(d.Self, d.Cluster, d.accepted, first, nonce, nil)
}

func (d *Door) accepted(role segment.PeerRole, number uint64) (segment.PeerKey, error) {
	for _, k := range d.Keys {
		if k.opt.Role == role {
			return k.Accepted(number)
		}
	}
	return segment.PeerKey{}, fmt.Errorf("%w: role %s is not let in", ErrNoKey, role)
}

// reloadEvery is the shortest time between two reads of new keys, whatever clients ask for.
const reloadEvery = time.Second

// Reload reads the keys that were created since, unless that was done a moment ago.
func (d *Door) Reload(ctx context.Context) error {
	d.mu.Lock()
	now := d.Now()
	if now.Sub(d.loaded) < reloadEvery {
		d.mu.Unlock()
		return nil
	}
	d.loaded = now
	d.mu.Unlock()
	for _, k := range d.Keys {
		if err := k.Load(ctx); err != nil {
			return err
		}
	}
	return nil
}
