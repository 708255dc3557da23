package shard

import (
	"fmt"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/tiering/batch"
)

// World carries out the requests of a Core. If a method names an answer, that is a
// later call of a method of the Core, never one from within.
type World interface {
	Now() time.Time
	coordinator.Topics
	// Append sends a batch to the partition, behind those sent before. Appended
	// answers: for batches that are committed, in the order in which they were sent.
	Append(token uint64, data []byte, h batch.Header)
	// AppendEnd is the offset after the last record that was appended, be it
	// committed or not. It is false if this node takes no records of the partition.
	AppendEnd() (int64, bool)
	// Committed is the offset after the last committed record that is known here.
	Committed() (int64, bool)
	// Compacted returns two offsets of the partition: records may be missing below the
	// first, and tombstones below the second. It is never behind the records of a Scan.
	Compacted() (records, tombstones int64)
	// Scan reads the committed records from an offset on, up to a head that is
	// proved after the call. Scanned gets the batches in order, ScanDone ends it.
	Scan(from int64)
	// Publish keeps a snapshot for the next checkpoint. It must not be changed.
	Publish(s Snapshot)
	// Trouble reports a failed attempt to read the partition, which is repeated.
	Trouble(err error)
}

// Snapshot is a Machine's kept state: the sum of all records below Offset.
type Snapshot struct {
	Offset int64
	State  []byte
}

const (
	// maxBatchBytes is about how large a batch may get when it carries the records
	// of many appends. One append alone may take more, up to maxAppendBytes.
	maxBatchBytes  = 1 << 20
	maxAppendBytes = 16 << 20
	// publishAfter is how many bytes of records are applied between two snapshots,
	// beyond the size of the state itself. So snapshots cost a share of applying, and
	// a load reads about as many bytes as the state has, however old the partition.
	publishAfter = 64 << 10
	// recordOverhead is the size that a record counts for, besides its key and value.
	recordOverhead = 20

	scanFirst = 50 * time.Millisecond // pause after a scan that did not help, doubling
	scanMost  = 2 * time.Second
	// readPatience is how long a Read waits for its records.
	readPatience = 5 * time.Second
)

// Phase is the stage of a Core's life.
type Phase uint8

// The phases, in their order.
const (
	Loading Phase = iota + 1 // reading the partition; requests are refused
	Leading
	Ended
)

// Core is one shard: it decides when the Machine applies which records. It is pure:
// World does all I/O and starts all goroutines. One goroutine owns the Core and its
// Machine.
//
// Only committed records are applied, in the order of their offsets. A batch of this
// Core is applied from memory if it is next in the partition. If other records stand
// before it, or an outcome is unknown, the partition is read.
//
// Invariant: while no scan is under way, the kept state is that of all records before
// applied, also of those that were removed since.
type Core struct {
	machine coordinator.Machine
	world   World
	phase   Phase
	err     error // why it ended
	failed  bool  // by itself

	// applied is the offset of the next record to apply: the Machine's kept state is
	// the sum of all records before it.
	applied int64
	// whole is the offset below which tombstones may be missing without harm: the kept
	// state does not need them, see current.
	whole int64
	empty []byte // the snapshot of the Machine before the first record
	// need is the offset up to which the records are needed: by a read, or to settle
	// the unknown outcome of an append.
	need    int64
	pending []pending // appends of this burst, not sent
	flights []*flight // sent and not settled, oldest first
	token   uint64

	deleted [][16]byte // topics whose deletion the Machine learns of when it leads

	reads    []read // oldest first
	scanning bool
	scanFrom int64     // applied when the scan under way began
	scanAt   time.Time // not before
	pause    time.Duration

	unpublished   int // bytes applied since the last snapshot
	lastPublished int // its size
}

// read is a request that waits for all records that were committed before it.
type read struct {
	fn    func(coordinator.Out, error)
	until time.Time
	end   int64 // the records before it must be applied
}

// NewCore is for a Machine whose kept state is that of a snapshot; the zero
// Snapshot is that of an empty partition. Start begins.
func NewCore(m coordinator.Machine, from Snapshot, w World) (*Core, error) {
	empty := m.Snapshot()
	if from.Offset > 0 {
		if err := m.Restore(from.State); err != nil {
			return nil, fmt.Errorf("restore snapshot at offset %d: %w", from.Offset, err)
		}
	}
	return &Core{
		machine: m, world: w, phase: Loading, empty: empty, applied: from.Offset, lastPublished: len(from.State),
	}, nil
}

// Start begins to read the records after the snapshot.
func (c *Core) Start() { c.maybeScan() }

// Phase is the stage that it has reached.
func (c *Core) Phase() Phase { return c.phase }

// Applied is the offset of the next record to apply.
func (c *Core) Applied() int64 { return c.applied }

// Failed is the reason why it ended by itself, for which there is no remedy here;
// else nil.
func (c *Core) Failed() error {
	if !c.failed {
		return nil
	}
	return c.err
}

// Do gives fn a turn of the Machine, or the error for which there is none.
func (c *Core) Do(fn func(coordinator.Out, error)) {
	if err := c.refuses(); err != nil {
		fn(nil, err)
		return
	}
	c.turn(func(out coordinator.Out) { fn(out, nil) })
}

// Read is Do once all records are applied that are known here to be committed. For an
// answer that only the leader may give, the head is proved first, after the question.
func (c *Core) Read(fn func(coordinator.Out, error)) {
	err := c.refuses()
	end, ok := c.world.Committed()
	if err == nil && !ok {
		err = coordinator.ErrNotCoordinator
	}
	if err != nil {
		fn(nil, err)
		return
	}
	c.need = max(c.need, end)
	c.reads = append(c.reads, read{fn: fn, until: c.world.Now().Add(readPatience), end: end})
	c.serveReads()
	c.maybeScan()
}

func (c *Core) refuses() error {
	switch c.phase {
	case Loading:
		return coordinator.ErrLoading
	case Ended:
		return c.err
	}
	return nil
}

// turn lets the Machine act.
func (c *Core) turn(fn func(coordinator.Out)) {
	t := turn{core: c, now: c.world.Now()}
	fn(&t)
	t.core = nil
}

// TopicsDeleted gives the Machine a turn for topics whose deletion has begun, once
// it leads.
func (c *Core) TopicsDeleted(ids [][16]byte) {
	switch c.phase {
	case Loading:
		c.deleted = append(c.deleted, ids...)
	case Leading:
		c.turn(func(out coordinator.Out) { c.machine.TopicsDeleted(out, ids) })
	}
}

// Burst carries out events that came together, each a call of another method. Then
// it does the work that is due, and sends the appends of all turns. It returns when
// the next Burst is wanted, be it without events; zero if nothing is due.
func (c *Core) Burst(events []func()) (next time.Time) {
	for _, event := range events {
		event()
	}
	c.tick()
	c.flush()
	return c.next()
}

// publish makes a snapshot now and then.
func (c *Core) publish() {
	if c.phase == Ended || c.unpublished < c.lastPublished+publishAfter || !c.current() {
		return
	}
	s := Snapshot{Offset: c.applied, State: c.machine.Snapshot()}
	c.unpublished, c.lastPublished = 0, len(s.State)
	c.world.Publish(s)
}

// next is when a Burst is wanted.
func (c *Core) next() time.Time {
	var at time.Time
	if c.phase == Ended {
		return at
	}
	if c.phase == Leading {
		at = c.machine.Next()
	}
	if c.lacks() && !c.scanning {
		at = earlier(at, c.scanAt)
	}
	if len(c.reads) > 0 {
		at = earlier(at, c.reads[0].until)
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// tick does the work that is due.
func (c *Core) tick() {
	now := c.world.Now()
	if c.phase == Leading {
		if at := c.machine.Next(); !at.IsZero() && !at.After(now) {
			c.turn(c.machine.Tick)
		}
	}
	for c.phase == Leading && len(c.reads) > 0 && !c.reads[0].until.After(now) {
		c.failRead(errSlow)
	}
	c.maybeScan()
}

var errSlow = fmt.Errorf("%w: the committed records could not be read in time", coordinator.ErrUnavailable)

// fail ends it because no coordinator may go on from the content of the partition.
func (c *Core) fail(err error) {
	c.failed = true
	c.End(fmt.Errorf("%w: %w", coordinator.ErrNotCoordinator, err))
}

// End ends it for err, which answers all requests that wait.
func (c *Core) End(err error) {
	if c.phase == Ended {
		return
	}
	led := c.phase == Leading
	c.phase, c.err = Ended, err
	if led {
		c.machine.Resign(err)
	}
	c.abandon(err)
}

// abandon answers all that waits with err.
func (c *Core) abandon(err error) {
	flights := c.flights
	c.flights = nil
	for _, f := range flights {
		c.answer(f, err)
	}
	for len(c.reads) > 0 {
		c.failRead(err)
	}
	c.drop(err)
}
