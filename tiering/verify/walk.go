package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// walk goes through one journal. It has one owner.
type walk struct {
	verifier *Verifier
	journal  uint32
	stored   *stored
	all      *stored                                      // the listing with which the walk began
	apply    func(*segment.Footer, []segment.Entry) error // nil once the state is not known any more
	state    *partlog.State                               // of a data journal: the state that apply changes
	removed  *restore.Removed                             // index pages that its state names

	findings  findings
	report    Journal
	floors    floors
	chain     journal.Chain
	confirmed uint64 // highest `confirmed` of the objects read, in voids too
	// loose: the part before chain.Next could not be read, so the walk accepts
	// the next object's claim about its predecessor.
	loose      bool
	partitions *partitions
	unread     int      // objects in a row that the store did not return
	missing    *Finding // of the objects right before chain.Next

	// checkpoints are compared when the walk reaches them: those that the last
	// floors name, and the one from which a node would start, by their Next.
	checkpoints map[uint64]*journal.Checkpoint
	spare       *journal.Checkpoint                    // the newest one, if no node can start
	pages       map[segment.ID][]*partlog.Page         // that they name, by index object
	producers   map[segment.ID][]*partlog.ProducerPage // the same of producers
	index       map[segment.IndexName]*indexObject     // read so far, without copies in the name
	base        uint64                                 // where the walk began, 0: at the first object
	early       uint64                                 // a seq that is deleted though the floors do not allow it, 0: none
	refs        []uint64                               // seqs below base that extents name, ascending
	plans       journal.FloorPlans
	planned     map[uint64]journal.FloorPlans // all found, by number
	before      int                           // errors found before the walk
}

// maxUnread is how many objects in a row may be unreadable before the walk
// considers the store broken.
const maxUnread = 3

// run walks the journal to its head, from its first object on or from a checkpoint below
// which objects may be deleted. Objects below the floor are checked as well.
func (w *walk) run(ctx context.Context) error {
	if err := w.readFloors(ctx); err != nil {
		return err
	}
	if err := w.loadCheckpoint(ctx); err != nil {
		return err
	}
	w.namePages()
	if err := w.readBlobs(ctx); err != nil {
		return err
	}
	if err := w.missPages(ctx); err != nil {
		return err
	}
	if err := w.judgeIndex(ctx); err != nil {
		return err
	}
	if w.verifier.opt.Indexes && w.journal != 0 {
		return nil
	}
	w.begin(ctx)
	w.report.Journal, w.report.Floor = w.journal, w.floors.inForce()
	w.before = w.findings.counts[Error]
	for _, step := range []func(context.Context) error{w.objects, w.older, w.segments, w.leftovers} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	w.findings.deleted(w.partitions.starts)
	w.report.Head, w.report.Epoch = w.chain.Next-1, w.chain.Epoch
	if w.report.Floor > 1 && w.chain.Next <= w.report.Floor {
		w.findings.add(finding(Error, CodeFloor, w.journal, segment.FloorKey(w.journal, w.floors.n), hintRestore,
			"the floor is seq %d, but there is no object from there on", w.report.Floor))
	}
	w.checkPlanned()
	return w.checkMoved(ctx)
}

// checkMoved reads the floor again, after all objects. An object that the floor
// has passed since then may have been a late write to the key of a deleted
// object (tiering/journal/PROTOCOL.md, rule 8). So if it looked wrong, that
// proves nothing.
func (w *walk) checkMoved(ctx context.Context) error {
	before, n := w.floors.inForce(), w.floors.n
	for moved := true; moved; {
		var err error
		if moved, err = w.floorMoved(ctx); err != nil {
			return err
		}
	}
	w.checkLostFloor(n)
	if w.floors.inForce() == before {
		return nil
	}
	if w.base > 0 {
		before = min(before, w.base) // objects from there on may be deleted by now
	}
	from, to := segment.JournalKey(w.journal, before), segment.JournalKey(w.journal, w.floors.inForce())
	doubtful := func(f *Finding) bool { return f.Severity == Error && from <= f.Key && f.Key < to }
	if n := w.findings.remove(doubtful); n > 0 {
		w.findings.add(finding(Warning, CodeFloor, w.journal, segment.FloorKey(w.journal, w.floors.n), "verify this journal again",
			"the floor moved from seq %d to %d while the journal was read: %d objects between looked wrong, which proves nothing", before, w.floors.inForce(), n))
	}
	return nil
}

// objects walks to the head: the listed objects, then later ones.
func (w *walk) objects(ctx context.Context) error {
	for {
		if ended, err := w.listed(ctx); ended || err != nil {
			return err
		}
		if more, err := w.beyond(ctx); !more || err != nil {
			return err
		}
	}
}

// take takes the object at Next.
func (w *walk) take(ctx context.Context, o *object) error {
	w.missing = nil
	w.verifier.doneObjects.Add(1)
	w.verifier.doneBytes.Add(o.size)
	w.report.Bytes += o.size
	if o.err != nil {
		return w.notRead(o)
	}
	w.unread = 0
	if w.loose && o.header != nil {
		w.lookForFence(ctx, o.header)
	}
	w.judge(o)
	w.adviseLast(ctx, o)
	w.findings.add(o.findings...)
	if c := w.checkpoints[w.chain.Next]; c != nil {
		w.compareCheckpoint(ctx, c)
	}
	return nil
}

// lookForFence finds out whether a fence is among the unreadable objects before
// h, which is void then: the objects that settle a fence name it.
func (w *walk) lookForFence(ctx context.Context, h *segment.Header) {
	for seq := h.Seq + 1; seq < h.Seq+w.chain.Window; seq++ {
		later := w.read(ctx, seq).header
		if later == nil || later.Cluster != w.chain.Cluster || later.Journal != w.journal || later.Seq != seq {
			continue
		}
		if later.Kind != segment.KindFence && later.Epoch > h.Epoch && later.Epoch > w.chain.Epoch && later.Prev.Seq < h.Seq {
			adopt(&w.chain, later)
			w.chain.Fence = later.Prev
			return
		}
	}
}

// notRead handles an object that the store did not return.
func (w *walk) notRead(o *object) error {
	if w.unread++; w.unread == maxUnread || errors.Is(o.err, context.Canceled) {
		return fmt.Errorf("read %s: %w", o.key(), o.err)
	}
	f := o.find(Error, CodeUnread, whole, "the object is not known; check the store, then verify again", "%v", o.err)
	w.findings.add(f)
	w.hole(o.seq, f)
	return nil
}

// judge decides the role of the object in its journal.
func (w *walk) judge(o *object) {
	h := o.header
	switch {
	case h == nil:
		w.hole(o.seq, o.findings[0])
		return
	case h.Cluster != w.chain.Cluster, h.Journal != w.journal, h.Seq != w.chain.Next:
		_, err := w.chain.Check(h)
		w.hole(o.seq, o.find(Error, CodeMisplaced, whole,
			fmt.Sprintf("restore the right object; this one belongs at %s of its cluster", segment.JournalKey(h.Journal, h.Seq)), "%v", err))
		return
	}
	verdict, err := w.chain.Check(h)
	if err != nil {
		if !w.loose {
			o.find(Error, CodeChain, 0, hintReplaced, "%v", err)
		}
		adopt(&w.chain, h)
		verdict = journal.Valid
	}
	w.chain.Advance(h, verdict)
	w.confirmed = max(w.confirmed, h.Confirmed)
	if verdict == journal.Void {
		w.void(o)
		return
	}
	w.count(o)
	w.contents(o)
	w.plan(o)
	w.loose = false
}

// plan follows the journal's plans of floors.
func (w *walk) plan(o *object) {
	if o.floor == nil {
		return
	}
	if err := w.plans.Note(*o.floor, o.header); err != nil {
		if !w.partitions.gaps {
			o.find(Error, CodeFloor, int64(o.footer.Entries.Position), hintStored, "%v; nodes stop reading the journal here", err)
		}
		w.plans = journal.FloorPlans{*o.floor}
	}
	w.planned[o.floor.N] = append(w.planned[o.floor.N], *o.floor)
}

// void handles an object whose content does not count. Damage to it is harmless
// as long as readers can see that it is void.
func (w *walk) void(o *object) {
	w.report.Voids++
	if !o.intact {
		return
	}
	for _, f := range o.findings {
		f.Severity, f.Affects = Warning, nil
		f.Hint = "the object is void: its records were never acknowledged, and no consumer reads them"
	}
}

func (w *walk) count(o *object) {
	switch o.header.Kind {
	case segment.KindFence:
		w.report.Fences++
	case segment.KindFiller:
		w.report.Fillers++
	default:
		w.report.Data++
	}
	if o.footer != nil {
		for i := range o.footer.Partitions {
			w.report.Records += int64(o.footer.Partitions[i].Records)
		}
	}
}

// contents compares a valid object with the state of the journal.
func (w *walk) contents(o *object) {
	if o.footer == nil {
		if o.header.Kind == segment.KindData {
			w.partitions.lost(o.seq, o.findings[0])
		}
		return
	}
	if !o.intact {
		w.partitions.gaps = true
	}
	before, excused := len(o.findings), false
	if w.journal != 0 {
		excused = w.partitions.take(o)
		w.report.Partitions = len(w.partitions.byKey)
	}
	if !o.intact {
		w.apply = nil
	}
	if w.apply == nil {
		return
	}
	err := w.apply(o.footer, o.entries)
	if err == nil {
		return
	}
	w.apply = nil
	if excused || w.partitions.gaps || len(o.findings) > before {
		return
	}
	code, hint := CodeState, hintStored
	if errors.Is(err, segment.ErrUnsupported) {
		code, hint = CodeUnsupported, hintUpgrade
	}
	o.find(Error, code, int64(o.footer.Entries.Position), hint, "%v; nodes stop reading the journal here", err)
}

// adopt sets c as if h were right about its predecessors.
func adopt(c *journal.Chain, h *segment.Header) {
	switch h.Kind {
	case segment.KindFence:
		c.Epoch, c.Last = h.Epoch-1, h.Prev
	case segment.KindFiller:
		c.Epoch, c.Fence, c.Tail = h.Epoch, h.Prev, h.Prev
	default:
		if h.Epoch != c.Epoch || h.Seq < c.Fence.Seq+c.Window {
			c.Fence = segment.Ref{} // unknown, but settled
		}
		c.Epoch, c.Tail = h.Epoch, h.Prev
	}
}
