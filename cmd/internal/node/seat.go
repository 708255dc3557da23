package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// handOverLimit bounds a hand-over: after it the leader keeps the journal.
	handOverLimit = 30 * time.Second
	// seatPause is the pause between two looks at a journal that is waited for. handPause is
	// between two requests to its leader, and seatAgain before a new try.
	seatPause = 100 * time.Millisecond
	handPause = 500 * time.Millisecond
	seatAgain = time.Second
	// seatGrowth is how many objects of a journal are followed while it is waited for. A
	// follower writes no index pages, so its state grows with each of them.
	seatGrowth = 4096
)

// seat is a data journal that journal 0 assigns to this node. Its goroutine reads the journal,
// waits until this node may take it (metadata/CLUSTER.md, rules 45 and 46), and begins again
// from the newest checkpoint after each leadership. It ends when the journal is assigned to
// another node, and that one leads it.
type seat struct {
	m       *member
	id      uint32
	watch   *pulseWatch // of the present life
	handing sync.WaitGroup

	mu       sync.Mutex // guards all below
	stage    journal.Stage
	led      bool // and the driver knows it
	ledEpoch uint32
	since    time.Time // it waits for the journal, or takes it
	claim    claim
	life     *dataLife
	declined uint32     // number of the assignment whose hand-over was not done
	to       segment.ID // it is being handed over to this node
	handsOn  time.Time  // since when
}

// takeSeats has a seat for each journal that is assigned to this node.
func (m *member) takeSeats(c *metadata.Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range c.Assignments {
		if m.seats[a.Journal] == nil && m.mine(c, a.Journal) && m.ctx.Err() == nil {
			s := &seat{m: m, id: a.Journal, since: time.Now(), watch: &pulseWatch{}}
			m.seats[a.Journal] = s
			m.sitting.Go(s.run)
		}
	}
}

// mine reports whether journal 0 assigns a data journal to this run of the process.
func (m *member) mine(c *metadata.Cluster, id uint32) bool {
	a := c.Assignment(id)
	return a != nil && a.Node == m.node.dir.Node() && m.registered(c)
}

func (m *member) seat(id uint32) *seat {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seats[id]
}

// leads reports whether a data journal is led here.
func (m *member) leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.seats {
		if s.leads() {
			return true
		}
	}
	return false
}

// reports are the parts of a heartbeat about journals.
func (m *member) reports() (all []membership.Report) {
	if r, ok := m.zero.report(); ok {
		all = append(all, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range uint32(len(m.node.meta.Journals())) + 1 { // in order
		if s := m.seats[id]; s != nil {
			all = append(all, s.report())
		}
	}
	return all
}

// run goes on while the journal is assigned here.
func (s *seat) run() {
	m, ctx := s.m, s.m.ctx
	for ctx.Err() == nil && m.mine(m.node.meta.Cluster(), s.id) {
		err := s.once(ctx)
		if err == nil || errors.Is(err, errNotAssigned) || errors.Is(err, errGrown) || ctx.Err() != nil {
			continue
		}
		if kindOf(err).ending == Permanent { // each node would meet the same
			m.node.fail(fmt.Errorf("journal %d: %w", s.id, err))
			break
		}
		m.node.log.Warn("a journal that is assigned to this node is not taken yet", "journal", s.id, "error", err)
		_ = pause(ctx, seatAgain) // ctx is looked at next
	}
	m.mu.Lock()
	delete(m.seats, s.id)
	m.mu.Unlock()
	m.post(func(*drive.Driver) {}) // it may be assigned here again
}

// once reads the journal, takes it when it may, and leads it.
func (s *seat) once(ctx context.Context) error {
	watch := &pulseWatch{}
	s.mu.Lock()
	s.stage, s.claim, s.watch = journal.StageFollows, claim{}, watch
	s.mu.Unlock()
	l, err := s.m.node.newLife(ctx, s.id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.life = l
	s.mu.Unlock()
	l.onBegun, l.ends = s.begun, func(err error) error { return s.endOf(err) }
	l.journal.Follow()
	go l.run()
	watching, stop := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { watch.run(watching, l.journal.Pulse, s.m.probe) })
	defer func() {
		if err := l.close(); err != nil {
			s.m.node.log.Warn("records of a journal stay in the write-ahead log", "journal", s.id, "error", err)
		}
		s.ended()
		s.m.node.journals.drop(s.id)
		stop()
		watched.Wait()
		s.handing.Wait()
	}()
	if err := s.wait(ctx, l); err != nil {
		return err
	}
	s.enters(journal.StageTakesOver)
	l.take()
	select {
	case <-l.over:
		s.ended()
	case <-ctx.Done():
		s.enters(journal.StageHandsOver) // the rest is flushed: until then the journal is not free
	}
	return nil
}

// endOf decides about an error of the life of the journal: this node goes on without it, unless
// another try would meet the same.
func (s *seat) endOf(err error) error {
	if errors.Is(err, journal.ErrBelowFloor) || errors.Is(err, journal.ErrEnded) {
		return nil
	}
	return err
}

// wait returns when this node may take the journal.
func (s *seat) wait(ctx context.Context, l *dataLife) error {
	select {
	case <-l.journal.AtHead():
	case <-l.over:
		return errLifeOver
	case <-ctx.Done():
		return ctx.Err()
	}
	w := waiting{seat: s, life: l, probed: time.Now()}
	for s.m.mine(s.m.node.meta.Cluster(), s.id) {
		may, err := w.look(ctx)
		if may || err != nil {
			return err
		}
		if err := pause(ctx, seatPause); err != nil {
			return err
		}
	}
	return errNotAssigned
}

var (
	errLifeOver    = errors.New("reading the journal has ended")
	errNotAssigned = errors.New("the journal is not assigned to this node any more")
	errGrown       = errors.New("the journal has grown while it was waited for")
)

// waiting is the knowledge of a node that waits for a journal.
type waiting struct {
	seat   *seat
	life   *dataLife
	from   uint64 // the seq at which the wait began; 0: it begins
	proved bool
	asked  time.Time
	probed time.Time  // or the begin of the wait
	leader segment.ID // the node of the last fence
	epoch  uint32     // of that
	taking membership.Taking
	silent time.Time // since when requests are not answered; zero: they are
}

// look reads on, and reports whether this node may take the journal.
func (w *waiting) look(ctx context.Context) (may bool, err error) {
	m := w.seat.m
	if !w.proved {
		ctx, cancel := context.WithTimeout(ctx, membership.HandshakeLimit)
		w.proved = m.node.controller.Prove(ctx) == nil
		cancel()
	}
	w.life.journal.Poke()
	p, err := w.life.journal.Pulse(ctx)
	if err != nil {
		return false, err
	}
	if err := w.reads(p); err != nil {
		return false, err
	}
	if time.Since(w.probed) >= probeEvery {
		w.taking.StoreFails = !m.probe(ctx)
		w.probed = time.Now()
	}
	t := &w.taking
	t.Self, t.Cluster, t.Journal, t.Last, t.Proved = m.node.dir.Node(), m.node.meta.Cluster(), w.seat.id, p.Leader, w.proved
	t.EndedFor = segment.ID{}
	if p.Ended != nil {
		t.EndedFor = p.Ended.To
	}
	t.Silent = 0
	if !w.silent.IsZero() {
		t.Silent = time.Since(w.silent)
	}
	if t.MayFence() {
		return true, nil
	}
	if time.Since(w.asked) >= handPause {
		w.asked = time.Now()
		w.ask(ctx, t)
	}
	return false, nil
}

// reads takes the place up to which the journal is read. Answers of before are about another
// leadership if a fence was read.
func (w *waiting) reads(p journal.Pulse) error {
	if w.from == 0 {
		w.from = p.Next
	}
	if p.Leader != w.leader || p.Epoch != w.epoch {
		w.leader, w.epoch, w.taking, w.silent = p.Leader, p.Epoch, membership.Taking{}, time.Time{}
	}
	if p.Next-w.from >= seatGrowth {
		return errGrown
	}
	return nil
}

// ask asks the leader to hand the journal over.
func (w *waiting) ask(ctx context.Context, t *membership.Taking) {
	n, a := t.Cluster.Node(t.Last), t.Cluster.Assignment(t.Journal)
	if n == nil || a == nil || !n.Lives() || t.Last == t.Self {
		return
	}
	if w.silent.IsZero() {
		w.silent = time.Now()
	}
	ctx, cancel := context.WithTimeout(ctx, membership.HandshakeLimit)
	defer cancel()
	body := membership.HandOver{Journal: t.Journal, Number: a.Number}.Append(nil)
	answer, outcome, err := w.seat.m.peers.Ask(ctx, t.Last, n.Run, peer.KindHandOver, body)
	t.Handshake = outcome
	if outcome != membership.Proved || err != nil {
		return
	}
	if h, err := membership.DecodeHanding(answer); err == nil {
		w.silent, t.Denied = time.Time{}, h == membership.Denies
	}
}
