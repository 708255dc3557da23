package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// clusterEnv is the process around the driver. Its methods run on the goroutine of the driver,
// and wait for nothing.
type clusterEnv struct {
	drive.Network
	drive.Bucket
	m *member
}

var _ drive.Env = (*clusterEnv)(nil)

// planLimit bounds the wait for entries of journal 0. Their outcome is unknown then.
const planLimit = 30 * time.Second

// Now implements drive.Env, and so do all methods below.
func (e *clusterEnv) Now() time.Time { return time.Now() }

func (e *clusterEnv) Refused(err error) { e.m.refused(err) }

func (e *clusterEnv) Exit(err error) { e.m.node.fail(err) }

func (e *clusterEnv) Reports() []membership.Report { return e.m.reports() }

func (e *clusterEnv) Prove(id uint32) {
	// By any epoch above: rivals asks the bucket once for all hints that come at once.
	if epoch, known := e.m.node.rivals.Epoch(id); known {
		e.m.node.rivals.Heard(id, epoch+1)
	}
}

func (e *clusterEnv) Poke() { e.m.node.pokeMetadata() }

func (e *clusterEnv) Stand() {
	e.m.zero.stands()
	e.m.aside(func(ctx context.Context) { _ = e.m.node.controller.LeadPatiently(ctx, segment.NewID()) })
}

func (e *clusterEnv) Resign() {
	e.m.aside(func(ctx context.Context) { _ = e.m.node.controller.Resign(ctx) })
}

func (e *clusterEnv) Yield(to segment.ID) {
	e.m.zero.yields(to)
	e.m.lasting.Go(func() { // its outcome is waited for once the end entry was sent
		ctx, cancel := context.WithTimeout(e.m.ctx, handOverLimit)
		defer cancel()
		_ = e.m.node.controller.HandOver(ctx, to) // if not, the Judge asks again
		e.m.zero.yields(segment.ID{})
	})
}

func (e *clusterEnv) Plan(changes []metadata.Change, done func(error)) {
	e.m.aside(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, planLimit)
		defer cancel()
		err := e.m.node.controller.Change(ctx, changes...)
		e.m.post(func(*drive.Driver) { done(err) })
	})
}

func (e *clusterEnv) StartNode(node segment.ID, run metadata.Run, done func(drive.Registered)) {
	e.m.aside(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, planLimit)
		defer cancel()
		id, err := e.m.node.controller.StartNode(ctx, node, run)
		e.m.post(func(*drive.Driver) { done(drive.Registered{ID: id, Err: err}) })
	})
}

// aside runs work of the driver next to it. At the end of the node none begins: a call of the
// controller may be made though ctx has ended.
func (m *member) aside(work func(ctx context.Context)) {
	if m.ctx.Err() == nil {
		m.work.Go(func() { work(m.ctx) })
	}
}

// probe asks whether this node can write to the store.
func (m *member) probe(ctx context.Context) bool {
	answer := make(chan bool, 1)
	if m.loop.Do(ctx, func() { m.probes.Probe(membership.ProbeLimit, func(ok bool) { answer <- ok }) }) != nil {
		return false
	}
	select {
	case ok := <-answer:
		return ok
	case <-ctx.Done():
		return false
	}
}

// zero is this node's part in journal 0. The driver gets the end of a leadership before its
// plans fail (metadata/CLUSTER.md, rule 51).
type zero struct {
	m     *member
	watch pulseWatch

	mu    sync.Mutex
	claim claim     // guarded by mu
	leads bool      // guarded by mu
	since time.Time // guarded by mu: it stands; zero: it does not
	to    segment.ID
}

// stands notes that it is about to take journal 0.
func (z *zero) stands() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.since = time.Now()
}

// yields notes the node that the leadership is to be handed over to.
func (z *zero) yields(to segment.ID) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.to = to
}

// led: journal 0 is led here.
func (z *zero) led(epoch uint32) {
	if !z.m.began.Load() { // there is no cluster
		return
	}
	z.mu.Lock()
	z.leads, z.since, z.claim.epoch = true, time.Time{}, epoch
	l := z.claim.leader(0, z.m.node.dir.Node())
	z.mu.Unlock()
	z.m.led(l)
}

// ready: this node is the controller.
func (z *zero) ready() {
	if !z.m.began.Load() {
		return
	}
	z.m.node.rivals.Leads(0, z.m.node.controller)
	z.m.post((*drive.Driver).Ready)
}

// ending: a leadership of journal 0, or the way to it, is over.
func (z *zero) ending(err error) {
	if !z.m.began.Load() {
		return
	}
	z.m.node.rivals.Leads(0, nil)
	z.mu.Lock()
	epoch, to := uint32(0), z.to
	if z.leads {
		epoch = z.claim.epoch
	}
	z.leads, z.since, z.to = false, time.Time{}, segment.ID{}
	z.mu.Unlock()
	by := new(journal.FencedError)
	switch {
	case errors.As(err, &by):
		z.m.post(func(d *drive.Driver) { d.Fenced(epoch, membership.Fenced{Node: by.Node, Epoch: by.Epoch}) })
	case err == nil && !to.IsZero():
		z.m.post(func(d *drive.Driver) { d.Fenced(epoch, membership.Fenced{Node: to, Epoch: epoch}) })
	default:
		z.m.post(func(d *drive.Driver) { d.Resigned(epoch) })
	}
}

// report is the part of a heartbeat about journal 0; false if this node only follows it.
func (z *zero) report() (membership.Report, bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.leads && z.since.IsZero() {
		return membership.Report{}, false
	}
	r := membership.Report{Leader: z.claim.leader(0, z.m.node.dir.Node()), Leads: z.leads}
	if !z.leads {
		r.Taking = time.Since(z.since) + 1
	}
	r.Idle, r.Blocked = z.watch.state()
	return r, true
}

// claim is the proof of a leadership: its newest object that is committed.
type claim struct {
	epoch   uint32
	settled segment.Ref
	head    uint64
}

func (c *claim) leader(id uint32, node segment.ID) membership.Leader {
	return membership.Leader{Journal: id, Node: node, Epoch: c.epoch, Settled: c.settled, Head: c.head}
}

// own reports whether the epoch is this node's, and settled.
func (c *claim) own() bool { return c.settled.Seq > 0 }

// note takes an object of the journal that was applied here.
func (c *claim) note(h *segment.Header, self segment.ID) {
	c.head = h.Seq
	if h.Kind == segment.KindFence {
		c.epoch, c.settled = h.Epoch, segment.Ref{}
	} else if h.Node == self && h.Epoch == c.epoch {
		c.settled = segment.Ref{Seq: h.Seq, Object: h.Object}
	}
}

// applied is called with each object of a journal that this node applied.
func (m *member) applied(h *segment.Header) {
	self := m.node.dir.Node()
	if h.Journal > 0 {
		if s := m.seat(h.Journal); s != nil {
			s.note(h)
		}
		if !m.node.writes() && h.Kind == segment.KindFence {
			id, epoch := h.Journal, h.Epoch
			m.post(func(d *drive.Driver) { d.Read(id, epoch) })
		}
		return
	}
	m.zero.mu.Lock()
	m.zero.claim.note(h, self)
	m.zero.mu.Unlock()
	fence, node, epoch := h.Kind == segment.KindFence, h.Node, h.Epoch
	m.post(func(d *drive.Driver) {
		if fence {
			d.FenceSeen(node, epoch)
			d.Read(0, epoch)
		}
		d.Applied(m.node.meta.Cluster())
	})
}

// skipped is called when the state of journal 0 is that of a newer checkpoint. The fence before
// it is the last one; how many there were is not known.
func (m *member) skipped(at journal.Chain) {
	m.zero.mu.Lock()
	m.zero.claim = claim{epoch: at.Epoch, head: at.Last.Seq}
	m.zero.mu.Unlock()
	m.post(func(d *drive.Driver) {
		d.FenceSeen(at.Leader, at.Epoch)
		d.Read(0, at.Epoch)
		d.Applied(m.node.meta.Cluster())
	})
}

// ended is called with each end entry of journal 0 of another node.
func (m *member) ended(_ uint32, e journal.End) {
	m.post(func(d *drive.Driver) { d.Ending(e.To) })
}
