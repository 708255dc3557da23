package journal

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

var testCluster = segment.ID{1}

const testJournal, testWindow = 7, 4

var errLost = errors.New("reply lost")

// world is a store, a clock and the Cores that use them, all stepped by one
// goroutine: the test chooses the next step, or a seed does.
type world struct {
	t       testing.TB
	objects map[uint64][]byte
	floor   uint64
	nodes   []*node
	ids     byte
	serial  int
	pool    *buffer.Pool // of the objects that nodes propose
	newest  *node        // the newest checkpoint is of where it stands; nil: it cannot be read
}

// node is one Core with its outstanding I/O and its reports to the owner.
type node struct {
	w       *world
	core    *Core
	stays   bool     // it follows on after the end of a leadership
	lost    error    // why the last leadership ended
	losses  int      // leaderships, and ways to one, that ended
	pending []Action // I/O and pauses not yet answered
	log     []segment.Ref
	own     []segment.Ref // of these, own data
	led     bool
	stalled []uint64
	proved  uint64
	failed  uint64
	err     error
}

func newWorld(t testing.TB) *world {
	return &world{t: t, objects: map[uint64][]byte{}, pool: buffer.NewPool(1 << 20)}
}

func (w *world) newID() segment.ID {
	w.serial++
	return segment.ID{2, byte(w.serial >> 16), byte(w.serial >> 8), byte(w.serial)}
}

func (w *world) config(lead bool) Config {
	w.ids++
	return Config{
		Lead: lead, Chain: NewChain(testCluster, testJournal, testWindow),
		Node: segment.ID{3, w.ids}, Incarnation: segment.ID{4, w.ids}, NewID: w.newID, NowMs: func() int64 { return 1 },
		Ends: func() bool { return true },
	}
}

func (w *world) add(cfg Config) *node {
	n := &node{w: w, core: NewCore(cfg)}
	w.nodes = append(w.nodes, n)
	n.take(n.core.Start())
	return n
}

func (n *node) take(actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Apply:
			n.log = append(n.log, a.Object.Ref())
			if a.Own && a.Object.Footer.Header.Kind == segment.KindData {
				n.own = append(n.own, a.Object.Ref())
			}
		case Led:
			n.led = true
		case Deposed:
			n.led, n.lost = false, a.Err
			n.losses++
			n.deposed(a.Err)
		case Stalled:
			n.stalled = append(n.stalled, a.Seq)
		case Proved:
			n.proved = a.Through
		case ProofFailed:
			n.failed = a.Through
		case Ended:
			n.err = a.Err
		case Put, Get, GetFloor, LookBeyond, Wait, Skip:
			n.pending = append(n.pending, a)
		}
	}
}

// deposed ends a node, as its owner may, or has it follow on.
func (n *node) deposed(err error) {
	if n.stays {
		n.step(Poke{})
		return
	}
	n.core.end(err)
	n.take(n.core.take())
}

func (n *node) step(ev Event) { n.take(n.core.Step(ev)) }

// propose sends a data segment and returns its reference.
func (n *node) propose() segment.Ref {
	o, bytes := dataSegmentIn(n.w.pool, n.core.Header(), n.w.newID())
	n.take(n.core.Propose(o, bytes))
	return o.Ref()
}

// dataSegment is a data segment without records.
func dataSegment(h segment.Header, id segment.ID) (*Object, segment.Encoded) {
	return dataSegmentIn(nil, h, id)
}

func dataSegmentIn(pool *buffer.Pool, h segment.Header, id segment.ID) (*Object, segment.Encoded) {
	h.Object = id
	bytes, footer, err := segment.Encode(pool, h, nil, nil)
	if err != nil {
		panic(err)
	}
	return &Object{Footer: footer}, bytes
}

// put is the store's side of a Put: create if absent.
func (w *world) put(seq uint64, data []byte) error {
	if _, ok := w.objects[seq]; ok {
		return objstore.ErrExists
	}
	w.objects[seq] = slices.Clone(data)
	return nil
}

// land is the end of a Put: its bytes arrive, and no transport reads them any more.
func (w *world) land(p Put) error {
	defer p.Bytes.Memory.Release()
	return w.put(p.Seq, p.Bytes.Memory.Bytes())
}

// answer does one pending action against the store, faithfully.
func (n *node) answer(i int) {
	a := n.pending[i]
	n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
	n.step(n.w.carryOut(a))
}

// carryOut does an action against the store and returns its answer.
func (w *world) carryOut(a Action) Event {
	switch a := a.(type) {
	case Put:
		return PutDone{Seq: a.Seq, Token: a.Token, Err: w.land(a)}
	case Get:
		return w.get(a)
	case GetFloor:
		return GotFloor{Token: a.Token, Floor: w.floor}
	case LookBeyond:
		return Beyond{Token: a.Token, Objects: w.beyond(a)}
	case Wait:
		return TimerFired{Token: a.Token}
	case Skip:
		return w.skip(a)
	}
	w.t.Fatalf("cannot carry out %T", a)
	return nil
}

// beyond returns the objects that a listing shows.
func (w *world) beyond(a LookBeyond) []*Object {
	var found []*Object
	for seq := a.Seq + 1; seq < a.Seq+100 && len(found) < a.Max; seq++ {
		if got := w.get(Get{Seq: seq}); got.Object != nil {
			found = append(found, got.Object)
		}
	}
	return found
}

func (w *world) get(a Get) GotObject {
	data, ok := w.objects[a.Seq]
	if !ok {
		return GotObject{Token: a.Token, Absent: true}
	}
	o, err := segment.Decode(data)
	if err != nil {
		w.t.Fatal(err)
	}
	got, err := NewObject(o.Footer, o.Entries)
	if err != nil {
		w.t.Fatal(err)
	}
	return GotObject{Token: a.Token, Object: got}
}

// settle answers everything but stall timers until nothing is pending.
func (n *node) settle() {
	for i := 0; i < len(n.pending); {
		if wait, ok := n.pending[i].(Wait); ok && wait.For == stallTick {
			i++
			continue
		}
		n.answer(i)
		i = 0
	}
}

// find returns the index of the pending Put of seq.
func (n *node) find(seq uint64) int {
	for i, a := range n.pending {
		if p, ok := a.(Put); ok && p.Seq == seq {
			return i
		}
	}
	n.w.t.Fatalf("no put of seq %d among %v", seq, n.pending)
	return -1
}

// lead returns a node that leads.
func (w *world) lead() *node {
	n := w.add(w.config(true))
	n.settle()
	if !n.led || !n.core.Leads() {
		w.t.Fatalf("does not lead: %v", n.err)
	}
	return n
}

// header decodes the object at seq.
func (w *world) header(seq uint64) segment.Header {
	o, err := segment.Decode(w.objects[seq])
	if err != nil {
		w.t.Fatalf("seq %d: %v", seq, err)
	}
	return o.Footer.Header
}

// place writes an object into the store past all Cores.
func (w *world) place(h segment.Header) { w.placeAt(h.Seq, h) }

// placeAt is place at the key of a seq, whatever h says it is.
func (w *world) placeAt(seq uint64, h segment.Header) {
	h.Cluster, h.Journal, h.Seq = cmp.Or(h.Cluster, testCluster), cmp.Or(h.Journal, testJournal), cmp.Or(h.Seq, seq)
	if h.Object.IsZero() {
		h.Object = w.newID()
	}
	if h.Node.IsZero() {
		h.Node, h.Incarnation = segment.ID{9}, segment.ID{9}
	}
	data, _, err := segment.Build(h, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.objects[seq] = data
}

// ---- random schedules

// randomStep lets one thing happen: an answer, lost or late or true, or a
// proposal, a proof, a new contender.
func (w *world) randomStep(r *rand.Rand, late *[]Put) {
	if len(*late) > 0 && r.IntN(10) == 0 {
		i := r.IntN(len(*late))
		p := (*late)[i]
		*late = append((*late)[:i], (*late)[i+1:]...)
		w.t.Logf("a late put lands at seq %d", p.Seq)
		w.land(p) //nolint // no process gets the answer
		return
	}
	i := r.IntN(len(w.nodes))
	n := w.nodes[i]
	switch {
	case n.err == nil && n.core.Room() && r.IntN(3) == 0:
		w.t.Logf("node %d proposes", i)
		n.propose()
	case n.err == nil && r.IntN(20) == 0:
		w.t.Logf("node %d is asked for a proof", i)
		n.step(Prove{})
	case n.err == nil && n.stays && r.IntN(40) == 0:
		w.turn(i, r)
	case n.err == nil && n.core.Leads() && r.IntN(40) == 0:
		w.handOver(i)
	case len(n.pending) == 0:
	default:
		w.randomAnswer(r, n, r.IntN(len(n.pending)), late)
	}
}

// handOver has a node hand the journal over, or take that back. It cannot once it has sent
// the end entry.
func (w *world) handOver(i int) {
	n := w.nodes[i]
	if n.core.ending == nil {
		w.t.Logf("node %d hands over", i)
		n.step(HandOver{End{To: segment.ID{3, byte(i)}}})
		return
	}
	sent := n.core.Ends()
	w.t.Logf("node %d takes the hand-over back, %v", i, !sent)
	if n.step(TakeBack{}); sent == n.core.Room() && len(n.core.slots) == 0 {
		w.t.Fatalf("node %d has sent its end entry: %v, and has room: %v", i, sent, n.core.Room())
	}
}

// turn has a node stand if it follows, and resign if it does not.
func (w *world) turn(i int, r *rand.Rand) {
	n := w.nodes[i]
	if n.core.Stands() {
		w.t.Logf("node %d resigns", i)
		n.step(Resign{})
		return
	}
	w.ids++
	w.t.Logf("node %d stands", i)
	n.step(Stand{Incarnation: segment.ID{4, w.ids}, Patient: r.IntN(2) == 0})
}

func (w *world) randomAnswer(r *rand.Rand, n *node, i int, late *[]Put) {
	p, ok := n.pending[i].(Put)
	fault := r.IntN(10)
	w.t.Logf("node %d gets an answer to %T, fault %d", slices.Index(w.nodes, n), n.pending[i], fault)
	switch {
	case !ok || fault < 5:
		n.answer(i)
	case fault < 7: // stored, reply lost
		n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
		w.land(p)
		n.step(PutDone{Seq: p.Seq, Token: p.Token, Err: errLost})
	default: // lost now, lands some time later
		n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
		*late = append(*late, p)
		n.step(PutDone{Seq: p.Seq, Token: p.Token, Err: errLost})
	}
}

// checkMemory ends all nodes and lets all Puts go: nothing holds an object then.
func (w *world) checkMemory(late []Put) error {
	for _, n := range w.nodes {
		n.core.end(errClosed)
		n.take(n.core.take())
		for _, a := range n.pending {
			if p, ok := a.(Put); ok {
				late = append(late, p)
			}
		}
	}
	for _, p := range late {
		p.Bytes.Memory.Release()
	}
	if left := w.pool.InUse(); left != 0 {
		return fmt.Errorf("%d bytes of objects are still held", left)
	}
	return nil
}

// check compares the objects that every node applied, and acknowledged, with
// those that a fresh reader of the store sees.
func (w *world) check() error {
	reader := w.add(w.config(false))
	reader.settle()
	if reader.err != nil {
		return fmt.Errorf("fresh reader: %w", reader.err)
	}
	truth := map[uint64]segment.ID{}
	for _, ref := range reader.log {
		truth[ref.Seq] = ref.Object
	}
	if err := w.checkEnds(reader.log); err != nil {
		return err
	}
	for i, n := range w.nodes {
		if errors.Is(n.err, ErrBroken) || errors.Is(n.err, ErrUnsettled) || errors.Is(n.err, ErrTwin) {
			return fmt.Errorf("node %d: %w", i, n.err)
		}
		for _, ref := range n.log {
			if truth[ref.Seq] != ref.Object {
				return fmt.Errorf("node %d applied %v, the log has %s there (own: %v)", i, ref, truth[ref.Seq], n.own)
			}
		}
	}
	return nil
}

// checkEnds checks that each end entry is the last object of its leadership, and that
// everything before it was confirmed when it was built.
func (w *world) checkEnds(log []segment.Ref) error {
	var ended uint32
	for _, ref := range log {
		o := w.get(Get{Seq: ref.Seq}).Object
		h := &o.Footer.Header
		switch {
		case h.Epoch == ended:
			return fmt.Errorf("epoch %d has seq %d after its end entry", ended, ref.Seq)
		case o.End != nil && h.Confirmed != ref.Seq-1:
			return fmt.Errorf("seq %d ends a leadership when seq %d was confirmed", ref.Seq, h.Confirmed)
		case o.End != nil:
			ended = h.Epoch
		}
	}
	return nil
}
