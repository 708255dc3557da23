package follow

import (
	"errors"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
)

// This simulation lets the real core follow journals that grow, get checkpoints, and whose
// floors move, while attempts are slow, stand still and fail. Its journals hold no
// objects: an attempt is a position.

type shape struct {
	Journals   int           // in the end; some are created on the way
	Chaos      time.Duration // how long things go wrong
	Grow       time.Duration // between two objects of a journal, at most
	Growth     uint64        // objects until an attempt has grown
	Every      uint64        // objects between two checkpoints; 0: none
	Floor      float64       // the chance that a checkpoint moves the floor
	LoadFails  float64
	Freeze     float64 // the chance that an attempt stands still before it looks
	Stays      bool    // in the end an error comes that stays
	StaysEarly bool    // it comes while the first attempts start
}

func drawShape(r *rand.Rand) shape {
	s := shape{
		Journals: 1 + r.Intn(4), Chaos: time.Duration(1+r.Intn(60)) * time.Second, Grow: time.Duration(1+r.Intn(300)) * time.Millisecond,
		Growth: uint64(3 + r.Intn(30)), LoadFails: 0.3 * r.Float64(), Freeze: 0.2 * r.Float64(),
		Stays: r.Float64() < 0.2, StaysEarly: r.Float64() < 0.1,
	}
	if r.Float64() < 0.8 {
		s.Every, s.Floor = uint64(1+r.Intn(20)), r.Float64()
	}
	return s
}

var simulation = sim.Shape[shape]{
	Draw: drawShape, Run: simulate,
	Less: []func(shape) (shape, bool){
		func(s shape) (shape, bool) { can := s.Journals > 1; s.Journals--; return s, can },
		func(s shape) (shape, bool) { can := s.Chaos > time.Second; s.Chaos /= 2; return s, can },
		func(s shape) (shape, bool) { can := s.LoadFails > 0; s.LoadFails = 0; return s, can },
		func(s shape) (shape, bool) { can := s.Freeze > 0; s.Freeze = 0; return s, can },
	},
	Must: []string{
		"journal created during a start", "renewed", "no newer checkpoint", "fell while catching up", "fell while it was shown",
		"fell while its next was under way", "grew while its next was under way", "load failed", "ended by an error that stays", "failed before it was ready",
		"dropped before its end was known",
	},
}

func TestSimulation(t *testing.T) { sim.Run(t, simulation, 2000, 200) }

func TestSimulationReplaysExactly(t *testing.T) {
	if err := sim.Replays(simulation, 10); err != nil {
		t.Fatal(err)
	}
}

var (
	errPasses = errors.New("no route to host")
	errStays  = errors.New("damaged")
)

// bucket holds the journals, and the core that follows them.
type bucket struct {
	*sim.World
	shape    shape
	core     *core
	journals []*log // by id
	live     map[uint64]*reading
	shown    map[uint32]*reading
	quiet    bool
	isReady  bool
	failed   error
	loads    int
	waits    int // pauses and events that will be
	named    int // the journals that were there when journal 0 was shown first
}

// log is one journal.
type log struct {
	id                      uint32
	head, checkpoint, floor uint64 // floor: the lowest seq that is there
	fell                    uint64 // the checkpoint from which the last attempt fell below the floor
	hasFallen               bool
}

// reading is one attempt.
type reading struct {
	id, attempt uint64
	log         *log
	from, at    uint64
	until       uint64 // the head when it began
	caughtUp    bool
	ended       bool
	pausing     bool
}

func simulate(w *sim.World, s shape) {
	b := &bucket{World: w, shape: s, live: map[uint64]*reading{}, shown: map[uint32]*reading{}}
	b.core = newCore(b, func(err error) bool { return errors.Is(err, errStays) })
	b.create()
	b.create()
	for _, l := range b.journals {
		for range b.Rand.Intn(50) {
			b.write(l)
		}
	}
	b.core.start()
	b.After(b.Between(0, s.Chaos), "create", b.createMore)
	b.Run(s.Chaos, nil)
	if b.quiet = true; b.failed == nil {
		b.finish()
	}
}

func (b *bucket) createMore() {
	if len(b.journals) > b.shape.Journals || b.quiet {
		return
	}
	for _, r := range b.live {
		if r.log.id != 0 && !r.caughtUp {
			b.Count("journal created during a start")
			break
		}
	}
	b.create()
	b.After(b.Between(0, b.shape.Chaos/4), "create", b.createMore)
}

func (b *bucket) create() {
	l := &log{id: uint32(len(b.journals)), floor: 1}
	b.journals = append(b.journals, l)
	b.grow(l)
	if zero := b.shown[0]; zero != nil { // which names it some time later
		b.After(b.Between(0, time.Second), "named", b.name)
	}
}

func (b *bucket) name() {
	if b.failed != nil {
		return
	}
	ids := make([]uint32, 0, len(b.journals))
	for _, l := range b.journals[1:] {
		ids = append(ids, l.id)
	}
	b.core.named(ids)
}

func (b *bucket) grow(l *log) {
	b.After(b.Between(0, b.shape.Grow), "grow", func() {
		if !b.quiet {
			b.write(l)
			b.grow(l)
		}
	})
}

func (b *bucket) write(l *log) {
	l.head++
	if b.shape.Every > 0 && l.head%b.shape.Every == 0 {
		l.checkpoint = l.head
		if b.Chance(b.shape.Floor) {
			l.floor = l.head + 1
		}
	}
}

// load implements world.
func (b *bucket) load(id uint32, attempt uint64) {
	for _, r := range b.live {
		if uint32(r.id) == id && !r.caughtUp {
			b.Fail("two attempts of journal %d are under way", id)
		}
	}
	b.loads++
	r := &reading{id: uint64(id), attempt: attempt, log: b.journals[id]}
	b.live[attempt] = r
	b.After(b.Between(0, 300*time.Millisecond), "load", func() {
		checkpoint := r.log.checkpoint
		b.After(b.Between(0, 300*time.Millisecond), "loaded", func() {
			switch {
			case b.failed != nil:
			case !b.quiet && b.shape.StaysEarly && !b.isReady && b.Chance(0.1), !b.quiet && b.shape.Stays && b.isReady && b.Chance(0.05):
				b.core.loaded(id, 0, errStays)
			case !b.quiet && (b.isReady || b.shape.StaysEarly) && b.Chance(b.shape.LoadFails):
				b.Count("load failed")
				b.core.loaded(id, 0, errPasses)
				if !b.isReady && b.failed == nil {
					b.Fail("a start is tried again, which the node's start is to fail with")
				}
			default:
				r.from, r.at = checkpoint, checkpoint
				b.core.loaded(id, checkpoint, nil)
			}
		})
	})
}

// catchUp implements world.
func (b *bucket) catchUp(id uint32, attempt uint64) {
	r := b.live[attempt]
	if r == nil || r.until > 0 {
		b.Fail("attempt %d catches up twice, or after it was dropped", attempt)
		return
	}
	if l := r.log; l.hasFallen && r.from <= l.fell {
		b.Fail("journal %d is followed from seq %d again, which fell below the floor", id, r.from)
	}
	r.until = max(r.log.head, 1)
	b.look(r)
}

// look lets an attempt read on, in the manner of a journal.Core.
func (b *bucket) look(r *reading) {
	wait := b.Between(0, 100*time.Millisecond)
	if !b.quiet && b.Chance(b.shape.Freeze) {
		wait = b.Between(0, 5*time.Second)
	}
	b.After(wait, "look", func() {
		switch l := r.log; {
		case b.failed != nil || b.live[r.attempt] != r || r.ended:
			return
		case r.at < l.head && r.at+1 < l.floor:
			b.fell(r)
			return
		case r.at < l.head:
			b.apply(r, r.at+1+uint64(b.Rand.Int63n(int64(l.head-r.at))))
		}
		if !r.caughtUp && (r.at >= r.until || r.at == r.log.head) && b.failed == nil {
			r.caughtUp = true
			b.core.caughtUp(uint32(r.id))
		}
		b.look(r)
	})
}

func (b *bucket) apply(r *reading, to uint64) {
	for r.at < to && b.live[r.attempt] == r {
		r.at++
		if (r.at-r.from)%b.shape.Growth == 0 {
			b.waits++
			b.After(b.Between(0, 200*time.Millisecond), "grew", func() { b.grew(r) })
		}
	}
}

func (b *bucket) grew(r *reading) {
	b.waits--
	if b.failed != nil {
		return
	}
	if r.caughtUp && b.core.journals[uint32(r.id)].next.id != 0 {
		b.Count("grew while its next was under way")
	}
	b.core.grew(uint32(r.id))
}

func (b *bucket) fell(r *reading) {
	switch {
	case !r.caughtUp:
		b.Count("fell while catching up")
	case b.core.journals[uint32(r.id)].next.id != 0:
		b.Count("fell while its next was under way")
	default:
		b.Count("fell while it was shown")
	}
	r.ended, r.log.fell, r.log.hasFallen = true, r.from, true
	b.After(b.Between(0, 200*time.Millisecond), "ended", func() {
		if b.failed != nil {
			return
		}
		if b.live[r.attempt] != r {
			b.Count("dropped before its end was known")
		}
		b.core.ended(uint32(r.id), r.attempt, fmt.Errorf("seq %d: %w", r.at+1, journal.ErrBelowFloor))
	})
}

// show implements world.
func (b *bucket) show(id uint32, attempt uint64) {
	r, before := b.live[attempt], b.shown[id]
	if r == nil || !r.caughtUp {
		b.Fail("attempt %d is shown, but it has not caught up, or was dropped", attempt)
		return
	}
	if before != nil {
		b.Count("renewed")
		if !before.ended && before.from >= r.from {
			b.Fail("journal %d begins again from the same checkpoint, seq %d", id, r.from)
		}
	}
	b.shown[id] = r
	if id == 0 {
		if b.named == 0 {
			b.named = len(b.journals)
		}
		b.After(0, "named", b.name)
	}
}

// drop implements world.
func (b *bucket) drop(id uint32, attempt uint64) {
	r := b.live[attempt]
	switch {
	case r == nil:
		b.Fail("attempt %d is dropped twice", attempt)
		return
	case b.shown[id] == r:
		b.Fail("readers of journal %d see an attempt that was dropped", id)
	case !r.ended && !r.caughtUp && b.shown[id] != nil && r.until == 0 && b.shown[id].from == r.log.checkpoint:
		b.Count("no newer checkpoint")
	}
	delete(b.live, attempt)
}

// pause implements world.
func (b *bucket) pause(id uint32) {
	b.waits++
	b.After(tryPause, "pause", func() {
		b.waits--
		if b.failed == nil {
			b.core.due(id)
		}
	})
}

// again implements world.
func (b *bucket) again(uint32, error) {}

// ready implements world.
func (b *bucket) ready() {
	if b.isReady {
		b.Fail("ready twice")
	}
	b.isReady = true
	for id := range b.named {
		if b.shown[uint32(id)] == nil {
			b.Fail("ready without journal %d", id)
		}
	}
}

// fail implements world.
func (b *bucket) fail(_ uint32, err error) {
	b.failed = err
	switch {
	case !errors.Is(err, errStays) && (b.isReady || !errors.Is(err, errPasses)):
		b.Fail("the node ends for %w", err)
	case b.isReady:
		b.Count("ended by an error that stays")
	default:
		b.Count("failed before it was ready")
	}
}

// finish: without faults every journal is followed to its end, by one attempt.
func (b *bucket) finish() {
	settled := func() bool {
		if b.failed != nil {
			return true
		}
		for _, l := range b.journals {
			if r := b.shown[l.id]; r == nil || r.ended || r.at != l.head {
				return false
			}
		}
		return b.isReady && b.waits == 0 && len(b.live) == len(b.journals)
	}
	if !b.Run(time.Minute, settled) {
		b.Fail("not all journals are followed to their ends: %d attempts, %d journals, ready %v", len(b.live), len(b.journals), b.isReady)
		return
	}
	loads := b.loads
	b.Run(time.Second, nil)
	if b.loads > loads {
		b.Fail("a journal that does not grow begins again")
	}
}
