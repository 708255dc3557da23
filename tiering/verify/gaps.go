package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/varvelog/varve/tiering/segment"
)

// This file is about the end of a journal, and about gaps that look like it:
// seqs without an object.

// beyond looks for objects after the listed ones; false at the head.
func (w *walk) beyond(ctx context.Context) (more bool, err error) {
	if more, err := w.direct(ctx); more || err != nil {
		return more, err
	}
	// A listing that begins before the key is read again shows no object that
	// was stored after this one was resolved.
	inv := newInventory()
	if err := w.verifier.list(ctx, inv, segment.JournalPrefix(w.journal), segment.JournalKey(w.journal, w.chain.Next)); err != nil {
		return false, err
	}
	if more, err := w.direct(ctx); more || err != nil {
		return more, err
	}
	w.stored = inv.journal(w.journal)
	if w.stored.count > 0 {
		return true, nil
	}
	for w.chain.Next <= w.confirmed {
		w.miss(fmt.Sprintf("seq %d was confirmed", w.confirmed))
		if more, err := w.direct(ctx); more || err != nil {
			return more, err
		}
	}
	return false, nil
}

// direct takes the object at Next, which may or may not exist; false if it does
// not.
func (w *walk) direct(ctx context.Context) (bool, error) {
	o := w.read(ctx, w.chain.Next)
	switch {
	case o.absent:
		return false, nil
	case o.err != nil:
		return false, fmt.Errorf("read %s: %w", o.key(), o.err)
	}
	return true, w.take(ctx, o)
}

// listed walks the listed objects. ended reports that the journal ends before
// the last of them.
func (w *walk) listed(ctx context.Context) (ended bool, err error) {
	plan := w.readAhead(ctx, w.stored.from(w.chain.Next))
	defer plan.close()
	for {
		o, err := plan.next(ctx)
		if o == nil || err != nil {
			return false, err
		}
		if o.seq < w.chain.Next {
			continue
		}
		if ended, err := w.upTo(ctx, o); ended || err != nil {
			return ended, err
		}
		if o.absent {
			if o = w.read(ctx, o.seq); o.absent { // removed since it was listed
				continue
			}
		}
		if err := w.take(ctx, o); err != nil {
			return false, err
		}
	}
}

// upTo goes on to o, which was listed, over seqs that were not. It reads each
// of those by a request that begins after the listing.
func (w *walk) upTo(ctx context.Context, o *object) (ended bool, err error) {
	for own := false; w.chain.Next < o.seq; {
		taken, err := w.direct(ctx)
		if err != nil {
			return false, err
		}
		if taken {
			continue
		}
		if own = own || w.ownFrom(ctx, o); !own {
			w.junk(ctx, o)
			return true, ctx.Err()
		}
		proof, err := w.proof(ctx, o)
		if err != nil {
			return false, err
		}
		if proof == "" {
			w.inFlight(o)
			return true, nil
		}
		if w.deleted(w.chain.Next) {
			return false, errDeleted
		}
		w.miss(proof)
	}
	return false, nil
}

// errDeleted: objects that were listed were deleted since, and may be.
var errDeleted = errors.New("objects were deleted during the walk")

// deleted reports whether a missing object may be deleted since it was listed.
func (w *walk) deleted(seq uint64) bool {
	last := w.floors.last()
	return w.journal != 0 && w.base == 0 && len(last) == keptCheckpoints && seq < last[0].Floor && w.all.has(seq, seq+1)
}

// maxJunk is how many objects after a gap are checked for one of this journal.
const maxJunk = 16

// isOwn reports whether the object belongs at its place.
func (w *walk) isOwn(o *object) bool {
	h := o.header
	return h != nil && h.Cluster == w.chain.Cluster && h.Journal == w.journal && h.Seq == o.seq
}

// ownFrom reports whether o, or one of the objects listed after it, is an
// object of this journal. If none is, nothing proves that the seqs before o
// ever existed.
func (w *walk) ownFrom(ctx context.Context, o *object) bool {
	own := w.isOwn(o)
	for seq := range w.firstFrom(o.seq + 1) {
		if own || ctx.Err() != nil {
			break
		}
		own = w.isOwn(w.read(ctx, seq))
	}
	return own
}

// adviseLast sets the advice for an object that is not of this journal, or
// cannot be read. It is that of a node: no later object proves that varve wrote
// this one.
func (w *walk) adviseLast(ctx context.Context, o *object) {
	if w.isOwn(o) || len(o.findings) == 0 || o.findings[0].Code == CodeUnsupported || w.ownFrom(ctx, o) {
		return
	}
	o.findings[len(o.findings)-1].Hint = hintLast
}

// firstFrom yields the first listed seqs from seq on, maxJunk at most.
func (w *walk) firstFrom(seq uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		n := 0
		for at := range w.stored.from(seq) {
			if n == maxJunk || !yield(at) {
				return
			}
			n++
		}
	}
}

// junk reports the objects from o on, none of which is one of this journal.
func (w *walk) junk(ctx context.Context, o *object) {
	for seq := range w.firstFrom(o.seq) {
		at := o
		if seq != o.seq {
			at = w.read(ctx, seq)
		}
		detail := "it is damaged, or was never varve's"
		switch {
		case at.absent:
			continue
		case at.err != nil:
			detail = at.err.Error()
		case at.header != nil:
			detail = fmt.Sprintf("it says that it is seq %d of journal %d of cluster %s", at.header.Seq, at.header.Journal, at.header.Cluster.Base64())
		}
		w.findings.add(finding(Error, CodeMisplaced, w.journal, at.key(), hintJunk,
			"beyond the head, seq %d, and no object of this journal: %s; no node leads the journal while it is there", w.chain.Next-1, detail))
	}
}

// proof returns why there must be an object at Next, if there is none but later
// ones exist; "" if it may just be under way.
func (w *walk) proof(ctx context.Context, o *object) (string, error) {
	if last := w.stored.last(); last >= w.chain.Next+w.chain.Window {
		return fmt.Sprintf("seq %d exists, which is never sent before this one is stored", last), nil
	}
	confirmed := w.confirmed
	for seq := range w.stored.from(o.seq) { // fewer than the window
		at := o
		if seq != o.seq {
			at = w.read(ctx, seq)
		}
		if at.header != nil && at.header.Cluster == w.chain.Cluster && at.header.Journal == w.journal {
			confirmed = max(confirmed, at.header.Confirmed)
		}
	}
	if confirmed >= w.chain.Next {
		return fmt.Sprintf("seq %d was confirmed", confirmed), nil
	}
	return "", ctx.Err()
}

// inFlight reports the objects from o on, beyond the head.
func (w *walk) inFlight(o *object) {
	for seq := range w.stored.from(o.seq) {
		w.findings.add(finding(Info, CodeBeyond, w.journal, segment.JournalKey(w.journal, seq), "",
			"beyond the head: seq %d was not stored yet; the object is valid once that seq is stored, and void if another leader takes its place", w.chain.Next))
	}
}

// miss notes that the object at Next is missing. Missing ones in a row are one
// finding.
func (w *walk) miss(proof string) {
	next := w.chain.Next
	if w.missing == nil {
		w.missing = finding(Error, CodeMissing, w.journal, segment.JournalKey(w.journal, next), hintRestore,
			"missing, but %s: nodes stop reading the journal here", proof)
		w.findings.add(w.missing)
	} else {
		w.missing.What = fmt.Sprintf("missing, and all up to seq %d, but later objects exist: nodes stop reading the journal here", next)
	}
	w.hole(next, w.missing)
}

// hole passes over an object about which only f is known.
func (w *walk) hole(seq uint64, f *Finding) {
	if n := len(w.partitions.holes); n == 0 || w.partitions.holes[n-1].finding != f {
		w.partitions.lost(seq, f)
	} else {
		w.partitions.holes[n-1].seq = seq
	}
	w.chain.Next = seq + 1
	w.loose = true
}
