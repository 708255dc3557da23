package journal

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// Config says where a Core begins, and its identity. A leader needs all fields but
// Witness; a follower needs no identity.
type Config struct {
	Lead        bool    // stand from the start on; else only follow
	Chain       Chain   // where to begin: NewChain, or a checkpoint's
	History     History // the same
	Witness     segment.Ref
	Node        segment.ID
	Incarnation segment.ID        // of the leadership, if Lead is set
	NewID       func() segment.ID // for fences and fillers
	NowMs       func() int64      // for their BuiltMs
	Ends        func() bool       // all readers of the journal know end entries; nil: they may not
	Skips       bool              // below the floor it skips to a newer checkpoint; else it ends
}

const (
	resendFirst = 50 * time.Millisecond // delay before an unresolved PUT is sent again, doubling
	resendMost  = 2 * time.Second
	stallTick   = 10 * time.Second // how often unresolved seqs are looked at
	stallTicks  = 3                // an unresolved seq looked at this often fails its waiters
	maxLosses   = 8                // fence races lost in a row before a pause
	losePause   = time.Second
	maxAhead    = 32 // objects fetched ahead while catching up
)

type phase uint8

const (
	reading  phase = iota + 1 // applying the objects that are there, up to the first gap
	fencing                   // own fence sent, outcome open
	checking                  // own fence stored; the floor is read again
	settling                  // fillers under way
	leading
	behind // the floor has passed it, and it waits for a checkpoint to read on from
	ended
)

type pauseKind uint8 // the read that follows a pause

const (
	pauseRead pauseKind = iota + 1
	pauseFloor
	pauseSkip
)

// Core is one reader of one journal, which leads it at times: the rules of PROTOCOL.md as
// a pure state machine. It does no I/O, reads no clock and starts no goroutine: Step takes
// an event and returns the actions to do, in order. It is owned by one goroutine.
//
// It follows until it stands: then it fences at the end of the log and leads. After the
// end of a leadership it follows again, from where it is, and may stand again. Only the
// chain and the history live on.
//
// It decides which object holds which seq and when an object counts. The contents of
// objects are the owner's matter. The owner gets them by Apply actions in seq order,
// whether they were read or are the Core's own.
type Core struct {
	cfg     Config
	chain   Chain
	history History
	phase   phase
	out     []Action
	token   uint64 // last one handed out; names I/O so that late answers are known

	stands      bool       // it leads, or is on the way to it
	incarnation segment.ID // of that leadership
	patient     bool       // it gives up at a fence that it reads on the way
	ending      *End       // the leadership is to end with it; nothing is proposed
	endSent     bool       // and it cannot be taken back

	// reading
	readToken  uint64 // the Get or floor read under way, 0 if none
	readGen    uint64 // proofs asked for before that Get began
	read       int    // objects read so far, for fetching ahead
	readErrors int    // failed reads in a row, for the pause
	paused     pauseKind
	pending    *Object
	gap        bool  // Next was found absent though something must be there
	verdict    error // ends the Core, if the floor is not above Next
	atEnd      bool  // Next was found absent, and is the end if the floor is not above it
	losses     int

	// slots are the Core's own objects whose place is not settled for its
	// readers yet: slots[i] has seq chain.Next+i. Never more than the window.
	slots  []slot
	damage damage

	stall uint64 // the timer of the next stall tick, 0 while nothing is under way

	// proofs of the head
	asked, proved uint64 // proofs asked for, and answered
	proveToken    uint64 // the Get of a leader's proof, 0 if none
	proveGen      uint64
	proveSeq      uint64 // confirming this seq, sent after proveGen was asked, proves too
}

type slotState uint8

const (
	slotSending  slotState = iota + 1 // PUT under way
	slotChecking                      // outcome unknown, reading the key back
	slotWaiting                       // still unknown, pausing before the same PUT
	slotStored                        // our object is there
	slotTaken                         // an older epoch's object is there (settling only)
)

type slot struct {
	object  *Object         // ours
	bytes   segment.Encoded // the only bytes ever sent for this seq
	state   slotState
	token   uint64 // of the attempt, read-back or pause under way
	first   uint64 // token of the first attempt
	tries   int
	ticks   int // stall ticks seen
	foreign *Object
	damaged int // read-backs in a row that gave a damaged object
}

// NewCore returns a Core that wants Start.
func NewCore(cfg Config) *Core {
	return &Core{
		cfg: cfg, chain: cfg.Chain, history: cfg.History.clone(), phase: reading,
		stands: cfg.Lead, incarnation: cfg.Incarnation,
	}
}

// Start begins: with the floor, below which there may be nothing to read.
func (c *Core) Start() []Action {
	c.readFloor()
	return c.take()
}

// Chain holds the facts established so far.
func (c *Core) Chain() Chain { return c.chain }

// History is that of the objects applied so far. It is good until the next Step.
func (c *Core) History() *History { return &c.history }

// Checkpoint is the chain and history at this moment. Everything that Step gave
// to apply must have been applied for it to fit the owner's state.
func (c *Core) Checkpoint() (Chain, History) { return c.chain, c.history.clone() }

// Leads reports whether Propose may be called, now or once there is room.
func (c *Core) Leads() bool { return c.phase == leading }

// Stands reports whether it leads, or is on the way to it.
func (c *Core) Stands() bool { return c.stands && c.phase != ended }

func (c *Core) pulse() Pulse {
	return Pulse{Next: c.chain.Next, Epoch: c.chain.Epoch, Leader: c.chain.Leader, Busy: len(c.slots) > 0 || c.stands && c.phase != leading && c.phase != ended}
}

// Room reports whether one more object may be sent: never a seq at or beyond
// the lowest unresolved one plus the window (PROTOCOL.md, rule 2).
func (c *Core) Room() bool {
	return c.phase == leading && c.ending == nil && uint64(len(c.slots)) < c.chain.Window
}

// Header is the header of the next data segment, but for its object id, time
// and write-ahead range. It is good until the next Step or Propose.
func (c *Core) Header() segment.Header {
	h := c.ownHeader(segment.KindData, c.chain.Next+uint64(len(c.slots)), c.chain.Epoch)
	h.Prev = c.chain.Tail
	if n := len(c.slots); n > 0 {
		last := c.slots[n-1].object.Footer.Header
		h.Prev = segment.Ref{Seq: last.Seq, Object: last.Object}
	}
	h.Confirmed = c.chain.Next - 1
	return h
}

func (c *Core) ownHeader(kind segment.Kind, seq uint64, epoch uint32) segment.Header {
	return segment.Header{
		Kind: kind, Cluster: c.chain.Cluster, Journal: c.chain.Journal, Seq: seq, Epoch: epoch,
		Node: c.cfg.Node, Incarnation: c.incarnation,
	}
}

// Propose sends a data segment built from Header. Neither o nor its bytes may change any
// more. The reference to the bytes is the Core's from now on: it keeps one until the seq is
// resolved or the leadership is over. Room must hold.
func (c *Core) Propose(o *Object, bytes segment.Encoded) []Action {
	if !c.Room() {
		panic("journal: proposed without room")
	}
	want, h := c.Header(), &o.Footer.Header
	if h.Seq != want.Seq || h.Epoch != want.Epoch || h.Prev != want.Prev || h.Confirmed != want.Confirmed {
		panic(fmt.Sprintf("journal: proposed %+v, want %+v", *h, want))
	}
	c.addSlot(o, bytes)
	return c.take()
}

// Step takes one event and returns what to do about it.
func (c *Core) Step(ev Event) []Action {
	if c.phase == ended {
		if _, ok := ev.(Prove); ok {
			c.asked++
			c.failProofs(ErrEnded)
		}
		return c.take()
	}
	switch ev := ev.(type) {
	case PutDone:
		c.putDone(ev)
	case GotObject:
		c.gotObject(ev)
	case GotFloor:
		c.gotFloor(ev)
	case Beyond:
		c.gotBeyond(ev)
	case TimerFired:
		c.timerFired(ev.Token)
	case Skipped:
		c.skipped(ev)
	case Poke:
		c.poke()
	case Stand:
		c.stand(ev)
	case Resign:
		if c.stands {
			c.depose(ev.Err)
		}
	case HandOver:
		c.handOver(ev.End)
	case TakeBack:
		c.takeBack()
	case Prove:
		c.asked++
		c.startProof()
	}
	return c.take()
}

func (c *Core) take() []Action {
	out := c.out
	c.out = nil
	return out
}

func (c *Core) do(a Action) { c.out = append(c.out, a) }

func (c *Core) nextToken() uint64 {
	c.token++
	return c.token
}

// stand has it fence at the end of the log, and lead.
func (c *Core) stand(how Stand) {
	if c.stands {
		panic("journal: stands twice")
	}
	c.stands, c.incarnation, c.patient = true, how.Incarnation, how.Patient
	if c.token > 0 { // else Start is going to read
		c.poke()
	}
}

// depose ends the leadership, or the way to it. Requests under way are forgotten, their
// outcomes unknown. The objects whose seqs are not resolved are read like those of others.
func (c *Core) depose(err error) {
	c.stands, c.ending, c.endSent = false, nil, false
	c.dropSlots(len(c.slots))
	c.proveToken = 0
	if c.phase != behind {
		c.forgetReading()
	}
	c.failProofs(fmt.Errorf("%w: %w", ErrEnded, cmp.Or(err, errResigned)))
	c.do(Deposed{Err: err})
}

var errResigned = errors.New("the leadership was given up")

// end stops everything. Requests under way are forgotten, their outcomes unknown.
func (c *Core) end(err error) {
	if c.phase == ended {
		return
	}
	c.phase = ended
	c.dropSlots(len(c.slots))
	c.failProofs(fmt.Errorf("%w: %w", ErrEnded, err))
	c.do(Ended{Err: err})
}

func (c *Core) gotObject(ev GotObject) {
	switch {
	case ev.Token == c.readToken:
		c.readToken = 0
		c.gotRead(ev)
	case ev.Token == c.proveToken:
		c.proveToken = 0
		c.gotProof(ev)
	default:
		if s := c.slotByToken(ev.Token); s != nil {
			c.gotReadBack(s, ev)
		}
	}
}

func (c *Core) timerFired(token uint64) {
	if token == c.readToken {
		c.resume()
		return
	}
	if s := c.slotByToken(token); s != nil {
		c.send(s)
		return
	}
	switch token {
	case c.stall:
		c.stallTicked()
	case c.damage.pause:
		c.damage.pause = 0
	}
}

// backoff doubles from first to most.
func backoff(tries int, first, most time.Duration) time.Duration {
	d := first
	for ; tries > 0 && d < most; tries-- {
		d *= 2
	}
	return min(d, most)
}
