package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
)

// moreIDsLimit limits how long a block of producer ids is asked for.
const moreIDsLimit = 15 * time.Second

// producerIDs gives ids to producers, from blocks that only this node has. The next block is
// asked for while the last one is being used up.
type producerIDs struct {
	more   func(ctx context.Context) (metadata.ProducerIDBlock, error)
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu         sync.Mutex
	have, next metadata.ProducerIDBlock // guarded by mu
	asking     chan struct{}            // guarded by mu: closed when the block under way is there, or failed; nil: none is
	err        error                    // guarded by mu: of the last attempt
}

func newProducerIDs(more func(ctx context.Context) (metadata.ProducerIDBlock, error)) *producerIDs {
	p := &producerIDs{more: more}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// close stops asking, and waits.
func (p *producerIDs) close() error {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.work.Wait()
	return nil
}

// NextProducerID returns an id that no producer was ever given.
func (p *producerIDs) NextProducerID(ctx context.Context) (int64, error) {
	for tried := false; ; tried = true {
		id, asking, err := p.take()
		switch {
		case id > 0:
			return id, nil
		case err != nil && (tried || asking == nil):
			return 0, fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
		}
		select {
		case <-asking:
		case <-ctx.Done():
			return 0, metadata.ErrUnavailable
		}
	}
}

// take takes an id, 0 if there is none. Then it returns the attempt to get more, or nil if
// there is none, and the error of the last one.
func (p *producerIDs) take() (id int64, asking <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok := p.have.Take()
	if !ok {
		p.have, p.next = p.next, metadata.ProducerIDBlock{}
		id, _ = p.have.Take()
	}
	err = p.err
	if left := p.have.End - p.have.Next; left <= metadata.ProducerIDBlockSize/2 && p.next.Next == p.next.End {
		p.askLocked()
	}
	if p.asking == nil {
		return id, nil, p.err
	}
	return id, p.asking, err
}

// askLocked asks for the next block, unless that is under way.
func (p *producerIDs) askLocked() {
	switch {
	case p.asking != nil:
		return
	case p.ctx.Err() != nil:
		p.err = p.ctx.Err()
		return
	}
	asking := make(chan struct{})
	p.asking = asking
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, moreIDsLimit)
		defer cancel()
		ids, err := p.more(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err = err; err == nil {
			p.next = ids
		}
		p.asking = nil
		close(asking)
	})
}

// clientAdmin is the Admin of clients of this node. In a cluster, producer ids do not take a
// request to the controller each.
type clientAdmin struct {
	metadata.Admin
	node *node
	ids  *producerIDs
}

func (n *node) clientAdmin(closers *stack) clientAdmin {
	ids := newProducerIDs(n.control.moreProducerIDs)
	closers.push(ids.close)
	return clientAdmin{n.admin, n, ids}
}

// NextProducerID implements metadata.Admin.
func (a clientAdmin) NextProducerID(ctx context.Context) (int64, error) {
	if !a.node.inCluster() {
		return a.Admin.NextProducerID(ctx)
	}
	return a.ids.NextProducerID(ctx)
}
