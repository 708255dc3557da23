package ingest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
)

// attempt is one batch that a producer sends, in the form that it has in the
// log if it gets there. A retry of an idempotent producer is the same attempt,
// of another one a new one.
type attempt struct {
	key      partlog.Key
	data     []byte
	header   batch.Header
	producer *producer
	epoch    int16
	sequence int32 // of its first record, -1 if not idempotent
	acked    bool
}

// content is the part of a batch that a broker does not change.
func content(data []byte) string { return string(data[17:]) }

// call is one request under way.
type call struct {
	n        *proc
	a        *attempt
	answer   func(Result) // nil with acks=0 or when the client has gone
	acks     Acks
	answered bool
}

// broken reports a lost connection to the client.
func (r *call) broken() {
	if !r.answered && r.answer != nil {
		answer := r.answer
		r.n.f.c.After(time.Millisecond, "reset", func() { answer(Result{Err: errGone}) })
	}
	r.answered = true
}

// append hands a request to the core, and checks the answer when it is given.
func (n *proc) append(r *call) {
	c := n.f.c
	frame := n.pool.Get(len(r.a.data))
	copy(frame.Bytes(), r.a.data)
	c.Logf("%s takes batch %d of %s, epoch %d", n.p.Name, r.a.sequence, r.a.producer.name, r.a.epoch)
	n.core.append(request{acks: r.acks, batches: []Batch{{Key: r.a.key, Data: frame.Bytes(), Header: r.a.header, Memory: frame}}, done: func(results []Result) {
		frame.Release()
		if r.answered {
			c.Fail("%s answered twice", n.p.Name)
		}
		r.answered = true
		res := results[0]
		c.truth.answered(n, r, res)
		if answer := r.answer; answer != nil {
			c.After(c.Between(time.Millisecond, 20*time.Millisecond), "answer", func() { answer(res) })
		}
	}})
}

// producer is a client that writes.
type producer struct {
	c          *cluster
	name       string
	id         int64 // 0: not idempotent
	epoch      int16
	acks       Acks
	node       int // the folder it sends to
	connection int // answers of older ones are not listened to
	arrives    time.Duration
	serial     int
	key        partlog.Key
	next       int32      // sequence number
	waiting    []*attempt // in order, not acknowledged
	acked      bool       // the first batch to this key in this epoch
	retrying   bool       // the waiting attempts are about to be sent again
	done       bool
}

const maxWaiting = 5

func newProducer(c *cluster, i int) *producer {
	p := &producer{c: c, name: fmt.Sprintf("p%d", i), acks: []Acks{AcksAll, AcksAll, AcksLeader, AcksNone}[c.Rand.Intn(4)]}
	if p.acks != AcksNone && c.Chance(0.7) {
		p.id = int64(100 * (i + 1))
	}
	p.node = c.Rand.Intn(c.shape.Nodes)
	p.choose()
	c.After(c.Between(0, time.Second), "produce", p.produce)
	return p
}

// choose chooses a partition to write to. An idempotent producer begins again
// there.
func (p *producer) choose() {
	open := p.c.want.Open[p.c.own:]
	p.key = open[p.c.Rand.Intn(len(open))]
	p.waiting = nil
	if p.id > 0 {
		p.id++ // as a new client would
	}
	p.epoch, p.next, p.acked = 0, 0, false
}

// gone reports whether its partition is deleted.
func (p *producer) gone() bool {
	for _, k := range p.c.want.Open {
		if k == p.key {
			return false
		}
	}
	return true
}

func (p *producer) idle() bool { return p.done && len(p.waiting) == 0 }

func (p *producer) produce() {
	c := p.c
	if p.gone() {
		p.reset()
		p.choose()
	}
	if c.quiet {
		p.done = true
		return
	}
	if len(p.waiting) < maxWaiting {
		a := p.build()
		if p.acks != AcksNone {
			p.waiting = append(p.waiting, a)
		}
		if !p.retrying {
			p.send(a)
		}
	}
	c.After(c.Between(c.shape.Pace/4, 3*c.shape.Pace), "produce", p.produce)
}

// build makes the next batch.
func (p *producer) build() *attempt {
	p.serial++
	pad := strings.Repeat(".", p.c.Rand.Intn(120))
	return p.encode(p.records(1+p.c.Rand.Intn(3), pad))
}

func (p *producer) encode(records []batchtest.Record) *attempt {
	spec := batchtest.Spec{Records: records, ProducerID: p.id}
	a := &attempt{key: p.key, producer: p, epoch: p.epoch, sequence: -1}
	if p.id > 0 {
		spec.Epoch, spec.Sequence = p.epoch, p.next
		a.sequence = p.next
		p.next += int32(len(records))
	}
	a.data = batchtest.Build(spec)
	h, err := batch.Validate(a.data, 1<<20)
	if err != nil {
		p.c.Fail("%s: %w", p.name, err)
	}
	a.header = h
	p.c.truth.attempts[content(a.data)] = a
	return a
}

// send sends one batch over the current connection, on which order is kept.
func (p *producer) send(a *attempt) {
	c, connection := p.c, p.connection
	f := c.folders[p.node]
	listening := func(res Result) {
		if connection == p.connection {
			p.answered(a, res)
		}
	}
	p.arrives = max(p.arrives, c.Elapsed()+c.Between(time.Millisecond, 20*time.Millisecond))
	c.After(p.arrives-c.Elapsed(), "request", func() {
		n := f.proc
		if n == nil {
			listening(Result{Err: errGone})
			return
		}
		r := &call{n: n, a: a, acks: p.acks, answer: listening}
		if p.acks == AcksNone {
			r.answer = nil
		}
		n.connected(r)
	})
	if p.acks != AcksNone {
		c.After(c.Between(2*time.Second, 35*time.Second), "client time-out", func() {
			if connection == p.connection && !a.acked {
				p.answered(a, Result{Err: errGone})
			}
		})
	}
}

// connected takes a request off the wire.
func (n *proc) connected(r *call) {
	left := n.conns[:0]
	for _, other := range n.conns {
		if !other.answered {
			left = append(left, other)
		}
	}
	n.conns = append(left, r)
	n.p.Do(func() {
		if n.over { // its core refuses everything
			n.append(r)
			return
		}
		n.queue = append(n.queue, r)
		n.owner.Wake()
	})
}

// answered acts on an answer as a client library would.
func (p *producer) answered(a *attempt, res Result) {
	p.c.Logf("%s is answered for batch %d of epoch %d: offset %d, %v", p.name, a.sequence, a.epoch, res.BaseOffset, res.Err)
	switch {
	case res.Err == nil:
		a.acked = true
		for len(p.waiting) > 0 && p.waiting[0].acked {
			p.waiting, p.acked = p.waiting[1:], true
		}
	case p.retriable(a, res.Err):
		p.reset()
		p.again()
	default:
		p.c.Fail("%s: batch %d of epoch %d in %v: %w", p.name, a.sequence, a.epoch, a.key, res.Err)
	}
}

// retriable reports whether a producer retries after an error. It does at all
// errors but one that shows an idempotent producer that an acknowledged batch
// is lost.
func (p *producer) retriable(a *attempt, err error) bool {
	switch {
	case errors.Is(err, ErrNotLeader), errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed), errors.Is(err, errGone):
		return true
	case !errors.Is(err, partlog.ErrOutOfOrder):
		return false
	case len(p.waiting) > 0 && p.waiting[0] != a: // one before it has failed and comes again
		return true
	case p.acks == AcksAll && p.acked:
		return false
	}
	p.bump()
	return true
}

// bump begins a new producer epoch with the batches that are not acknowledged.
func (p *producer) bump() {
	p.epoch++
	p.next, p.acked = 0, false
	p.renew()
}

// renew makes new attempts of the waiting ones.
func (p *producer) renew() {
	var waiting []*attempt
	for _, a := range p.waiting {
		if a.acked {
			continue
		}
		p.serial++
		waiting = append(waiting, p.encode(p.records(int(a.header.Records), "")))
	}
	p.waiting = waiting
}

// reset drops the connection and chooses another node.
func (p *producer) reset() {
	p.connection++
	p.arrives, p.retrying = 0, false
	p.node = (p.node + 1) % len(p.c.folders)
	if p.c.only != nil {
		for i, f := range p.c.folders {
			if f == p.c.only {
				p.node = i
			}
		}
	}
}

// again sends everything that waits, in order, a moment later.
func (p *producer) again() {
	connection := p.connection
	p.retrying = true
	p.c.After(p.c.Between(20*time.Millisecond, 500*time.Millisecond), "retry", func() {
		if connection != p.connection {
			return
		}
		p.retrying = false
		if p.gone() {
			p.reset()
			p.choose()
			return
		}
		if p.id == 0 {
			p.renew()
		}
		for _, a := range p.waiting {
			if !a.acked {
				p.send(a)
			}
		}
	})
}

func (p *producer) explain() string {
	return fmt.Sprintf("%s (acks %d, id %d) waits for %d at node %d, done %v", p.name, p.acks, p.id, len(p.waiting), p.node, p.done)
}

// consumer follows the journal, as a fetch node does.
type consumer struct {
	c     *cluster
	name  string
	p     *sim.Process
	owner *sim.Owner
	state *partlog.State
	stood time.Duration // for so long it stood still last
}

func (f *consumer) freeze(d time.Duration) {
	f.stood = d
	f.p.Freeze(d)
}

func (f *consumer) start() {
	c := f.c
	f.p = c.NewProcess(f.name)
	l, err := load(c)
	if err != nil {
		c.truth.MayEnd(f.name, err)
		f.owner = nil
		c.After(c.Between(100*time.Millisecond, 3*time.Second), "start again", f.start)
		return
	}
	f.state = l.state
	cfg := journal.Config{Chain: l.Chain, History: l.History}
	f.owner = sim.Follow(f.p, c.store, cfg, f.apply, c.Between(50*time.Millisecond, 2*time.Second), func(err error) {
		c.truth.MayEnd(f.name, err)
		f.p.Kill()
		c.After(c.Between(100*time.Millisecond, 3*time.Second), "start again", f.start)
	})
	f.p.After(c.Between(time.Second, 10*time.Second), "prove", f.prove)
	if c.shape.upkeep() {
		f.readOften()
	}
	f.p.After(c.Between(5*time.Second, 60*time.Second), "restart", func() { f.p.Kill(); f.start() })
}

func (f *consumer) apply(o *journal.Object) error {
	if err := f.state.Apply(o.Footer, o.Entries); err != nil {
		return err
	}
	f.c.truth.applied(f.name, o, f.state)
	return nil
}

// prove checks that records committed before are seen afterwards.
func (f *consumer) prove() {
	head := f.c.truth.Last
	state := f.state
	f.owner.Do(func() {
		f.owner.Prove(func(err error) {
			if err == nil && state.Head() < head {
				f.c.Fail("%s proved its head at seq %d, seq %d was committed before", f.name, state.Head(), head)
			}
		})
	})
	f.p.After(f.c.Between(time.Second, 10*time.Second), "prove", f.prove)
}
