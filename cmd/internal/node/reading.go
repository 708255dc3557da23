package node

import (
	"context"
	"errors"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// This part of member is that of a node that only reads. It is registered and sends heartbeats,
// and never leads a journal.

// readLimit is how long a node that only reads waits to be registered if journal 0 has its id
// from an earlier start: it serves without a controller.
const readLimit = 10 * time.Second

// enterToRead takes part in the cluster. Without the keys by which nodes know each other it
// reads alone.
func (n *node) enterToRead(ctx context.Context, closers *stack) error {
	m := n.member
	m.prepare()
	closers.push(m.close)
	if err := m.awaitKeys(ctx); err != nil {
		n.log.Warn("reading alone: this node cannot read the keys by which the nodes of the cluster know each other; "+
			"allow it to read them, or set --archive", "error", err)
		closers.push(every(keysEvery, func() {
			if m.peers.readable(m.ctx) == nil {
				n.fail(errLevelRaised)
			}
		}))
		return ctx.Err()
	}
	n.alone = false
	n.leaders, n.facts = m, m
	n.opened = make(chan struct{})
	n.id.Store(0)
	return m.hearLeaders(closers)
}

const (
	firstKeysLimit = 5 * time.Second // nodes that write may be about to create the first keys
	keysPause      = 200 * time.Millisecond
	keysEvery      = time.Minute // between two looks of a node that reads alone
)

// awaitKeys returns nil once the keys are read, or why they cannot be.
func (m *member) awaitKeys(ctx context.Context) error {
	limit := time.After(firstKeysLimit)
	for {
		err := m.peers.readable(ctx)
		if err == nil || !errors.Is(err, peer.ErrNoKey) {
			return err
		}
		select {
		case <-time.After(keysPause):
		case <-limit:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// joinToRead waits until this run is registered. A node that has an id serves without a
// controller after a while, by all that it knows.
func (m *member) joinToRead(ctx context.Context) error {
	n := m.node
	for _, id := range n.meta.Journals() {
		if epoch, known := n.rivals.Epoch(id); known {
			m.post(func(d *drive.Driver) { d.Read(id, epoch) })
		}
	}
	limit := time.After(readLimit)
	for {
		c := n.meta.Cluster()
		if known := c.Node(n.dir.Node()); known != nil {
			n.id.Store(known.ID)
		}
		if m.registered(c) {
			n.onRefused(nil)
			return nil
		}
		select {
		case <-m.changed:
		case <-limit:
			limit = nil
			if n.id.Load() > 0 {
				n.log.Warn("serving clients without a controller, which does not answer", "node", n.id.Load())
				return nil
			}
			n.log.Warn("waiting for a controller, which gives this node its id; with --archive it needs none")
		case err := <-n.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leaveReading sends consumers back to the leaders, and has the heartbeats say that this run
// ends, until journal 0 says so. Nothing is lost if it does not: clients come back from a node
// that has ended, too.
func (m *member) leaveReading() {
	n := m.node
	n.board.Busy("leaving the cluster")
	m.post(func(d *drive.Driver) { d.Leave() })
	limit := time.After(leaveReadingLimit)
	for {
		self := n.meta.Cluster().Node(n.dir.Node())
		if self == nil || !m.others() {
			return
		}
		if self.State != metadata.StateServing { // no node sends consumers here any more
			n.steering.leaving.Store(true)
			break
		}
		select {
		case <-m.changed:
		case <-limit:
			return
		case <-m.ctx.Done():
			return
		}
	}
	_ = pause(m.ctx, sendBackFor) // or less: the node ends
}

const (
	// leaveReadingLimit bounds the wait until journal 0 says that a node leaves: some
	// heartbeats.
	leaveReadingLimit = 3 * time.Second
	// sendBackFor is how long consumers are sent back: most poll every half second.
	sendBackFor = time.Second
)

// readerEnv is the process of a node that only reads, around its driver. It never stands, and
// plans nothing.
type readerEnv struct{ drive.Env }

// Reports implements drive.Journals, and so do all methods below.
func (readerEnv) Reports() []membership.Report { return nil }

func (readerEnv) Prove(uint32) {}

func (readerEnv) Stand() {}

func (readerEnv) Resign() {}

func (readerEnv) Yield(segment.ID) {}

func (readerEnv) Plan(_ []metadata.Change, done func(error)) { done(metadata.ErrNotController) }

func (readerEnv) StartNode(_ segment.ID, _ metadata.Run, done func(drive.Registered)) {
	done(drive.Registered{Err: metadata.ErrNotController})
}
