package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// openLimit is how long a node that is registered waits for its journals before it serves
// clients.
const openLimit = 10 * time.Second

// standPause is the longest pause before a node stands on an empty bucket, where others may
// start at the same time.
const standPause = time.Second

// member is this node's part in a cluster: the driver of the cores with the network, the
// bucket and the journals that they act on. Journal 0 decides which data journals this node
// takes; each of them has a seat.
type member struct {
	node   *node
	run    metadata.Run
	loop   *drive.Loop
	driver *drive.Driver
	peers  *peers
	probes *probes
	zero   zero // its part in journal 0

	watching watching

	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	sitting sync.WaitGroup // seats: none begins after the end of ctx
	work    sync.WaitGroup // begun by the driver, which ends before
	lasting sync.WaitGroup // likewise; it ends only with journal 0
	began   atomic.Bool    // the driver has a state of journal 0
	changed chan struct{}
	known   atomic.Pointer[map[uint32]membership.Known]
	heard   atomic.Pointer[time.Time]

	mu     sync.Mutex
	seats  map[uint32]*seat // guarded by mu
	leaves bool             // guarded by mu: the process is to end
}

// newMember prepares a part in the cluster, which start begins.
func (n *node) newMember() *member {
	m := &member{node: n, run: n.registers(), loop: drive.NewLoop(), changed: make(chan struct{}, 1), seats: map[uint32]*seat{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.known.Store(&map[uint32]membership.Known{})
	m.heard.Store(&time.Time{})
	m.zero.m = m
	m.watching = watching{ctx: m.ctx, work: &m.work, dial: m.dialLeader}
	n.rivals.OnProved(func(journal uint32, began time.Time) {
		m.post(func(d *drive.Driver) { d.Proved(began, journal) })
	})
	return m
}

// dialLeader connects to a node at the address that it has registered.
func (m *member) dialLeader(ctx context.Context, id segment.ID) (*peer.Conn, error) {
	known := m.node.meta.Cluster().Node(id)
	if known == nil {
		return nil, metadata.ErrUnknownNode
	}
	c, _, err := m.peers.dial(ctx, id, known.Run)
	return c, err
}

// registers is this run of the process as the controller registers it. Other nodes dial its
// first listener.
func (n *node) registers() metadata.Run {
	run := metadata.Run{Start: n.incarnation, MinLevel: 1, MaxLevel: uint16(n.cfg.FeatureLevel), Rack: n.cfg.Rack}
	for _, r := range n.cfg.Roles {
		switch r {
		case config.RoleIngest:
			run.Roles |= metadata.RoleIngest
		case config.RoleFetch:
			run.Roles |= metadata.RoleFetch
		case config.RoleTiering:
			run.Roles |= metadata.RoleTiering
		}
	}
	for _, l := range n.listeners {
		shown := metadata.Listener{Name: l.name, Host: l.shown.Host, Port: uint16(l.shown.Port)}
		if l.name == n.cfg.InterBroker {
			run.Listeners = append([]metadata.Listener{shown}, run.Listeners...)
		} else {
			run.Listeners = append(run.Listeners, shown)
		}
	}
	return run
}

// start begins to take part. The Kafka listener answers other nodes already, and the state of
// journal 0 has its proved head.
func (m *member) start(ctx context.Context) error {
	if err := m.peers.Start(ctx); err != nil {
		return fmt.Errorf("keys of the cluster: %w", err)
	}
	m.loop.Start(m.driver)
	m.began.Store(true)
	m.post(func(d *drive.Driver) {
		epoch, _ := m.node.rivals.Epoch(0)
		d.Read(0, epoch)
		d.Begin(m.node.meta.Cluster())
	})
	if m.node.writes() {
		m.work.Go(func() { m.zero.watch.run(m.ctx, m.node.controller.Pulse, m.probe) })
	}
	return nil
}

// prepare makes the parts that need the cluster of the bucket.
func (m *member) prepare() {
	n := m.node
	m.peers = newPeers(peersOptions{
		Self: peer.Identity{Node: n.dir.Node(), Start: n.incarnation}, Cluster: n.cluster.ID, Store: n.store, Loop: m.loop, Writes: n.writes(),
		Lost: func(node segment.ID) { m.driver.Lost(node) }, Now: time.Now, Log: n.log,
	})
	n.request = m.peers.Request
	n.metrics.peers(m.peers)
	m.probes = newProbes(n.store, m.chain, m.loop)
	var env drive.Env = &clusterEnv{m.peers, m.probes, m}
	if !n.writes() {
		env = readerEnv{env}
	}
	m.driver = drive.New(drive.Options{Node: n.dir.Node(), Run: m.run, Pause: m.pause(), After: m.after}, env)
}

// enterCluster prepares this node's part. Clients are answered once it has joined.
func (n *node) enterCluster(closers *stack) error {
	m := n.member
	n.afterLoss = follows
	m.prepare()
	n.leaders, n.facts = m, m
	n.opened = make(chan struct{})
	closers.push(m.close)
	n.startRetention(n.controller, closers)
	if err := n.listenToBus(closers); err != nil {
		return err
	}
	return m.hearLeaders(closers)
}

// hearLeaders takes the leaders that are announced, until closers.
func (m *member) hearLeaders(closers *stack) error {
	cancel, err := m.node.bus.SubscribeLeaders(func(l membership.Leader) { m.post(func(d *drive.Driver) { d.Announced(l) }) })
	if err != nil {
		return err
	}
	closers.push(func() error { cancel(); return nil })
	return nil
}

// led: a journal is led here.
func (m *member) led(l membership.Leader) {
	m.node.bus.PublishLeader(l)
	m.post(func(d *drive.Driver) { d.Led(l) })
}

// follows lets a journal be followed after a loss: journal 0 says which node is to lead it.
func follows(uint32, error) (again bool, end error) { return false, nil }

// pause is drawn by each process that may not be alone.
func (m *member) pause() time.Duration {
	if c := m.node.cfg.NATS; c.Embedded && c.Listen == "" {
		return 0
	}
	return rand.N(standPause)
}

// chain is how far this node knows a journal.
func (m *member) chain(id uint32) journal.Chain {
	c := journal.NewChain(m.node.cluster.ID, id, int(m.node.cluster.Window))
	c.Next = m.node.dir.Witness(id).Seq + 1
	return c
}

// post gives the driver an event. It may wait for a moment, and must not be called by the
// driver. Before the start, and after the end, nothing happens.
func (m *member) post(f func(d *drive.Driver)) {
	if m.began.Load() {
		_ = m.loop.Do(m.ctx, func() { f(m.driver) })
	}
}

// after follows every event of the driver: it shows what changed, and takes seats.
func (m *member) after() {
	c := m.node.meta.Cluster()
	m.node.events.Applied(c)
	changed := false
	for id := range uint32(len(c.Assignments)) + 1 {
		if l := m.driver.Leader(id); l != m.Leader(id) {
			m.showLeader(id, l)
			changed = true
		}
	}
	if changed {
		m.watchLeaders()
	}
	heard := m.driver.Answered()
	m.heard.Store(&heard)
	m.takeSeats(c)
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// showLeader shows an answer about a leader that has changed, and notes it.
func (m *member) showLeader(id uint32, l membership.Known) {
	known := maps.Clone(*m.known.Load())
	known[id] = l
	m.known.Store(&known)
	if id > 0 {
		m.node.reports.Leads(id, !l.Node.IsZero())
	}
	if !l.Node.IsZero() {
		m.node.events.Led(id, l.Node, l.Epoch)
	}
}

// watchLeaders keeps a connection to each other node that leads a journal.
func (m *member) watchLeaders() {
	leaders := map[segment.ID]bool{}
	for _, l := range *m.known.Load() {
		if !l.Node.IsZero() && l.Node != m.node.dir.Node() {
			leaders[l.Node] = true
		}
	}
	m.watching.follow(leaders)
}

// Leader implements leaders, and memberFacts.
func (m *member) Leader(journal uint32) membership.Known { return (*m.known.Load())[journal] }

// Answered implements memberFacts.
func (m *member) Answered() time.Time { return *m.heard.Load() }

// registered reports whether journal 0 has this run of the process.
func (m *member) registered(c *metadata.Cluster) bool {
	n := c.Node(m.node.dir.Node())
	return n != nil && n.Run.Start == m.run.Start && n.State != metadata.StateRemoved
}

// join waits until the node may serve clients: it is registered, journal 0 has a leader, and
// this node leads the journals that it is to lead. The last is waited for within a limit.
func (m *member) join(ctx context.Context) error {
	n := m.node
	n.board.Busy("joining the cluster")
	if !n.writes() {
		return m.joinToRead(ctx)
	}
	var limit <-chan time.Time
	for {
		c := n.meta.Cluster()
		if m.registered(c) {
			if limit == nil {
				n.id.Store(c.Node(n.dir.Node()).ID)
				n.onRefused(nil)
				n.board.Busy("taking journals")
				limit = time.After(openLimit)
			}
			if !m.Leader(0).Node.IsZero() && m.seated(c) {
				return m.settle(ctx)
			}
		}
		select {
		case <-m.changed:
		case <-limit:
			n.log.Warn("serving clients before all journals of this node have a leader")
			return nil
		case err := <-n.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle waits for the partitions of the data journals if this node is the controller.
func (m *member) settle(ctx context.Context) error {
	m.node.board.Busy("opening partitions")
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	if m.node.controller.Leads() {
		_ = m.node.controller.Settle(ctx) // the state of topics shows which are missing
	}
	return nil
}

// seated reports whether every journal has a leader, and this node leads its own. A journal that
// is parked has none.
func (m *member) seated(c *metadata.Cluster) bool {
	for _, a := range c.Assignments {
		switch {
		case a.Number == 0, !a.Node.IsZero() && m.Leader(a.Journal).Node.IsZero():
			return false
		case a.Node == m.node.dir.Node() && m.Leader(a.Journal).Node != a.Node:
			return false
		}
	}
	return true
}

// leave hands over all that this node leads, before it ends. It is bounded, and does nothing if
// no other node could take anything.
func (m *member) leave() {
	n := m.node
	if !n.writes() {
		m.leaveReading()
		return
	}
	n.board.Busy("handing journals over")
	m.post(func(d *drive.Driver) { d.Leave() })
	m.leaveSeats()
	limit := time.After(leaveLimit)
	for m.others() && (m.leads() || n.controller.Leads()) {
		select {
		case <-m.changed:
		case <-limit:
			n.log.Warn("journals could not be handed over in time: they are taken over", "waited", leaveLimit)
			return
		case <-m.ctx.Done():
			return
		}
	}
	if m.others() {
		n.sendAway(m.ctx)
	}
}

// leaveSeats has the journals that are led here acknowledge no record that only this node has.
func (m *member) leaveSeats() {
	m.mu.Lock()
	m.leaves = true
	seats := slices.Collect(maps.Values(m.seats))
	m.mu.Unlock()
	for _, s := range seats {
		s.leave()
	}
}

// leaveLimit bounds how long a node that ends waits for others to take its journals.
const leaveLimit = 30 * time.Second

// others reports whether another node could take journals.
func (m *member) others() bool {
	for _, x := range m.node.meta.Cluster().Nodes {
		if x.Node != m.node.dir.Node() && x.Serves() && x.Lives() {
			return true
		}
	}
	return false
}

// close ends everything, and waits. Acknowledged records of the journals that are led here are
// flushed, and the driver says that they are led until then.
func (m *member) close() error {
	m.mu.Lock()
	m.cancel() // a seat begins before, or not at all
	m.mu.Unlock()
	m.sitting.Wait()
	if m.began.Load() {
		m.loop.Close()
	}
	m.work.Wait()
	m.peers.Close()
	m.probes.Close()
	return nil
}

// requests answers the other nodes of the cluster.
func (m *member) requests() kafka.Cluster {
	return &memberRequests{clusterRequests{loop: m.loop, driver: m.driver, handOver: m.handOver}, m}
}

// memberRequests are clusterRequests of which this node learns more.
type memberRequests struct {
	clusterRequests
	m *member
}

// Heartbeat implements kafka.Cluster.
func (r *memberRequests) Heartbeat(ctx context.Context, h membership.Heartbeat) (membership.Answer, error) {
	r.m.heartbeat(&h)
	return r.clusterRequests.Heartbeat(ctx, h)
}

// gone notes that the connection of the heartbeats of a run has ended.
func (m *member) gone(node, start segment.ID) {
	m.post(func(d *drive.Driver) { d.Broken(node, start) })
}

// refused reports why the controller does not register this run.
func (m *member) refused(err error) {
	if errors.Is(err, metadata.ErrNotController) {
		return // the next one is asked
	}
	m.node.onRefused(err)
}

// heartbeat notes how far the journals of another node have followed journal 0, by its report.
func (m *member) heartbeat(h *membership.Heartbeat) {
	for i := range h.Journals {
		if r := &h.Journals[i]; r.Leads && r.Journal > 0 {
			m.node.reports.Report(r.Journal, r.Reconciled)
		}
	}
}
