package follow

import (
	"errors"

	"github.com/varvelog/varve/tiering/journal"
)

// world carries out the decisions of core. Each method returns at once; its outcome is an
// event later. An attempt is one following of a journal, from a checkpoint on.
type world interface {
	// load reads the newest checkpoint of a journal for an attempt; core.loaded.
	load(id uint32, attempt uint64)
	// catchUp follows the journal from the checkpoint that was loaded; core.caughtUp,
	// core.grew and core.ended.
	catchUp(id uint32, attempt uint64)
	// show lets readers see the attempt in place of the one before it.
	show(id uint32, attempt uint64)
	// drop ends an attempt, and forgets it.
	drop(id uint32, attempt uint64)
	// pause waits before a journal is tried again; core.due.
	pause(id uint32)
	// again logs why a journal is begun again at once.
	again(id uint32, err error)
	// ready is called once, when all journals that were named are shown.
	ready()
	// fail ends the node.
	fail(id uint32, err error)
}

// core decides which journals are followed, and from where. It has one owner.
//
// Invariant: a journal that is shown stays shown. Readers see an attempt until the next
// one has caught up, even if it applies nothing any more.
type core struct {
	world    world
	stays    func(error) bool // no second try mends this error
	started  bool             // ready was called: from then on an error that may pass is tried again
	journals map[uint32]*following
	attempts uint64 // so far
}

// following is one journal.
type following struct {
	id          uint32
	shown, next attempt // next has not caught up
	ended       bool    // shown applies nothing any more: it fell below the floor
	pausing     bool
}

// attempt is zero if there is none.
type attempt struct {
	id   uint64
	from uint64 // the seq of its checkpoint; 0: the journal's beginning
}

func newCore(w world, stays func(error) bool) *core {
	return &core{world: w, stays: stays, journals: map[uint32]*following{}}
}

// start begins with journal 0, which names the others.
func (c *core) start() { c.add(0) }

// named takes the data journals that journal 0 names. Before journal 0 has caught up
// they may be few, so they are looked at again then.
func (c *core) named(ids []uint32) {
	if c.journals[0].shown.id == 0 {
		return
	}
	for _, id := range ids {
		if c.journals[id] == nil {
			c.add(id)
		}
	}
	c.checkReady()
}

func (c *core) add(id uint32) {
	j := &following{id: id}
	c.journals[id] = j
	c.begin(j)
}

// begin starts an attempt; one of a journal at a time.
func (c *core) begin(j *following) {
	c.attempts++
	j.next = attempt{id: c.attempts}
	c.world.load(j.id, j.next.id)
}

// loaded takes the seq of the newest checkpoint, 0 if there is none, or why that is not
// known.
func (c *core) loaded(id uint32, from uint64, err error) {
	j := c.journals[id]
	switch {
	case err != nil:
		c.failed(j, err)
	case j.shown.id != 0 && from <= j.shown.from: // it would get no further than the attempt that is shown
		c.giveUp(j)
		if j.ended { // after this checkpoint was looked for: there is a newer one
			c.pause(j)
		}
	default:
		j.next.from = from
		c.world.catchUp(id, j.next.id)
	}
}

// caughtUp: an attempt has applied all that its journal held.
func (c *core) caughtUp(id uint32) {
	j := c.journals[id]
	before := j.shown
	j.shown, j.next, j.ended = j.next, attempt{}, false
	c.world.show(id, j.shown.id)
	if before.id != 0 {
		c.world.drop(id, before.id)
	}
	if id != 0 {
		c.checkReady()
	}
}

func (c *core) checkReady() {
	if c.started {
		return
	}
	for _, j := range c.journals {
		if j.shown.id == 0 {
			return
		}
	}
	c.started = true
	c.world.ready()
}

// grew: a journal has grown so much that it is worth to begin again from a newer
// checkpoint. The state of journal 0 does not shrink by that.
func (c *core) grew(id uint32) {
	if j := c.journals[id]; id != 0 && j.shown.id != 0 && j.idle() {
		c.begin(j)
	}
}

// idle: no attempt is under way or waited for.
func (j *following) idle() bool { return j.next.id == 0 && !j.pausing }

// ended takes the end of an attempt, which has an error.
func (c *core) ended(id uint32, attempt uint64, err error) {
	j := c.journals[id]
	switch {
	case attempt == j.next.id:
		c.failed(j, err)
	case attempt != j.shown.id: // dropped
	case !errors.Is(err, journal.ErrBelowFloor):
		c.world.fail(id, err)
	default: // it stood still for long
		j.ended = true
		if j.idle() {
			c.again(j, err)
		}
	}
}

// failed takes the error of the attempt under way.
func (c *core) failed(j *following, err error) {
	c.giveUp(j)
	switch {
	case errors.Is(err, journal.ErrBelowFloor):
		c.again(j, err)
	case !c.started || c.stays(err):
		c.world.fail(j.id, err)
	default:
		c.pause(j)
	}
}

// again begins again after the floor has passed an attempt: there is a newer checkpoint.
func (c *core) again(j *following, err error) {
	c.world.again(j.id, err)
	c.begin(j)
}

func (c *core) giveUp(j *following) {
	dropped := j.next.id
	j.next = attempt{}
	c.world.drop(j.id, dropped)
}

func (c *core) pause(j *following) {
	j.pausing = true
	c.world.pause(j.id)
}

// due ends a pause.
func (c *core) due(id uint32) {
	j := c.journals[id]
	j.pausing = false
	c.begin(j)
}
