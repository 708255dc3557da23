package drive

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// Options describe a process.
type Options struct {
	Node  segment.ID    // its data folder
	Run   metadata.Run  // as it is to be registered
	Pause time.Duration // before it stands on an empty bucket: drawn by each process
	After func()        // is called after each event and all its actions; may be nil
}

// Driver runs the cores. One goroutine calls its methods.
type Driver struct {
	opt    Options
	env    Env
	judge  *membership.Judge
	member *membership.Member
	view   *membership.View

	cluster *metadata.Cluster // the last state of journal 0; nil: its head was not proved yet
	led     map[uint32]uint32 // epochs of the journals that are led here, never 0
	turn    uint64            // counts the ends of leaderships of journal 0
	leaving bool
	heard   time.Time // when a controller last answered a heartbeat

	joins map[uint64]joining // registrations that the Judge decides, by token
	token uint64             // of the last one

	busy  bool
	queue []func() // events that came while another one was taken
}

// New returns a Driver that waits for Begin.
func New(opt Options, env Env) *Driver {
	return &Driver{
		opt: opt, env: env, judge: membership.NewJudge(opt.Node), member: membership.NewMember(opt.Node, opt.Run, opt.Pause),
		view: membership.NewView(opt.Node), led: map[uint32]uint32{}, joins: map[uint64]joining{},
	}
}

// enter takes an event, after those that came before and all their actions.
func (d *Driver) enter(f func()) {
	d.queue = append(d.queue, f)
	if d.busy {
		return
	}
	d.busy = true
	for len(d.queue) > 0 {
		f := d.queue[0]
		d.queue = d.queue[1:]
		f()
	}
	d.busy, d.queue = false, nil
	if d.opt.After != nil {
		d.opt.After()
	}
}

// once makes the outcome of an action an event. Only the first one counts.
func once[T any](d *Driver, f func(T)) func(T) {
	over := false
	return func(v T) {
		if !over {
			over = true
			d.enter(func() { f(v) })
		}
	}
}

func (d *Driver) begun() bool { return d.cluster != nil }

// Tick lets time pass. It must come every membership.TickEvery.
func (d *Driver) Tick() {
	d.enter(func() {
		if d.begun() {
			d.judged(membership.Tick{})
			d.membered(membership.Tick{})
			d.proveDoubted()
		}
	})
}

// Begin has the cores act, by a state of journal 0 whose head was proved.
func (d *Driver) Begin(c *metadata.Cluster) {
	d.enter(func() { d.applied(c) })
}

// Applied takes the next state of journal 0. Those before Begin are left out.
func (d *Driver) Applied(c *metadata.Cluster) {
	d.enter(func() {
		if d.begun() {
			d.applied(c)
		}
	})
}

func (d *Driver) applied(c *metadata.Cluster) {
	d.cluster = c
	d.view.Applied(c)
	d.judged(membership.Applied{Cluster: c})
	d.membered(membership.Applied{Cluster: c})
}

// Read notes an epoch that was read in a journal that is followed here.
func (d *Driver) Read(journal, epoch uint32) {
	d.enter(func() { d.view.Read(journal, epoch) })
}

// FenceSeen notes a fence of journal 0 that was read.
func (d *Driver) FenceSeen(node segment.ID, epoch uint32) {
	d.enter(func() {
		if d.begun() {
			d.membered(membership.FenceSeen{Node: node, Epoch: epoch})
		}
	})
}

// Ending notes an end entry of journal 0 that was read, with the successor that it names. The
// state up to it comes first.
func (d *Driver) Ending(successor segment.ID) {
	d.enter(func() {
		if d.begun() {
			d.membered(membership.Ending{Successor: successor})
		}
	})
}

// Led notes that this node leads a journal, which it has settled. For journal 0 Ready
// follows.
func (d *Driver) Led(l membership.Leader) {
	d.enter(func() {
		d.led[l.Journal] = l.Epoch
		d.view.Leads(d.env.Now(), l)
		if l.Journal == 0 {
			d.membered(membership.Stood{Leader: l})
		}
	})
}

// Ready notes that this node is the controller: the entries with which its leadership of
// journal 0 begins are committed.
func (d *Driver) Ready() {
	d.enter(func() {
		if d.led[0] > 0 {
			d.judged(membership.Led{})
		}
	})
}

// Proved notes a commit or a proof of a leadership, by the time when its request began.
func (d *Driver) Proved(began time.Time, journal uint32) {
	d.enter(func() { d.view.Proved(began, journal) })
}

// Ended notes the end of a leadership of a data journal.
func (d *Driver) Ended(journal, epoch uint32) {
	d.enter(func() { d.ended(journal, epoch) })
}

func (d *Driver) ended(journal, epoch uint32) {
	delete(d.led, journal)
	d.view.Ended(journal, epoch)
}

// Fenced notes the end of a leadership of journal 0, or of a try to take it, by another node.
// It is called before the plans of that leadership fail.
func (d *Driver) Fenced(epoch uint32, by membership.Fenced) {
	d.enter(func() { d.deposed(epoch, by) })
}

// Resigned is Fenced without another node: this one has given up by itself.
func (d *Driver) Resigned(epoch uint32) {
	d.enter(func() { d.deposed(epoch, membership.Resigned{}) })
}

func (d *Driver) deposed(epoch uint32, why membership.Event) {
	d.turn++
	d.ended(0, epoch)
	d.judged(membership.Deposed{})
	d.membered(why)
}

// Broken notes that the connection of the heartbeats of a run has ended.
func (d *Driver) Broken(node, start segment.ID) {
	d.enter(func() { d.judged(membership.Broken{Node: node, Start: start}) })
}

// Lost notes that the connection for heartbeats to a node has ended.
func (d *Driver) Lost(node segment.ID) {
	d.enter(func() { d.membered(membership.Lost{Node: node}) })
}

// Leave lets the heartbeats say that the run is to end.
func (d *Driver) Leave() { d.enter(func() { d.leaving = true }) }

// Answered is when a controller last answered a heartbeat of this node, which may be itself;
// zero: never.
func (d *Driver) Answered() time.Time { return d.heard }

// Leader is the answer about the leader of a journal.
func (d *Driver) Leader(journal uint32) membership.Known { return d.view.Leader(d.env.Now(), journal) }
