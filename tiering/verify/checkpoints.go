package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/rebuild"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	hintHint      = "nodes start without it, and read more of the journal then"
	hintIndex     = "nodes rebuild it from the journal when they need it, which takes long; a node with the ingest role writes it again when it starts"
	hintProducers = "a start reads the whole journal in its place, which takes long; a node with the ingest role that starts writes others"
	hintUnnamed   = "no checkpoint from which a node would start names it"
)

// isBlob reports whether a key of a journal is that of a checkpoint or an index
// page.
func isBlob(id uint32, key string) bool {
	if _, ok := segment.ParseCheckpointKey(id, key); ok {
		return true
	}
	_, ok := segment.ParseIndexKey(id, key)
	return ok
}

// readBlobs reads the checkpoints and index objects that were listed, several at once.
func (w *walk) readBlobs(ctx context.Context) error {
	blobs := make([]blobRead, len(w.stored.blobs))
	work, working := errgroup.WithContext(ctx)
	work.SetLimit(blobGets)
	for i, key := range w.stored.blobs {
		work.Go(func() error {
			b, err := w.get(working, key)
			if err != nil && !errors.Is(err, objstore.ErrNotFound) {
				return fmt.Errorf("read %s: %w", key, err)
			}
			w.verifier.doneObjects.Add(1)
			w.verifier.doneBytes.Add(int64(len(b)))
			blobs[i] = blobRead{size: int64(len(b)), gone: err != nil}
			if err == nil {
				blobs[i].err = w.checkBlob(key, b)
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	for i, key := range w.stored.blobs {
		w.report.Bytes += blobs[i].size
		if !blobs[i].gone { // else it was removed since: newer ones replace it
			w.blob(key, blobs[i].err)
		}
	}
	return nil
}

// blobGets is how many checkpoints and index objects are read at once.
const blobGets = 4

// blobRead is a checkpoint or an index object that was read.
type blobRead struct {
	size int64
	gone bool
	err  error // the fault in it
}

// errMisplaced is an object of another journal or cluster.
var errMisplaced = errors.New("it is misplaced")

// checkBlob returns the fault of a checkpoint or an index object.
func (w *walk) checkBlob(key string, b []byte) error {
	var blob segment.Blob
	var err error
	if at, ok := segment.ParseCheckpointKey(w.journal, key); ok {
		if blob, err = segment.DecodeBlob(segment.KindCheckpoint, b); err == nil && blob.Seq != at.Seq {
			err = fmt.Errorf("%w: it is the checkpoint of seq %d", segment.ErrCorrupt, blob.Seq)
		}
	} else {
		name, _ := segment.ParseIndexKey(w.journal, key)
		if blob, err = segment.DecodeBlob(segment.KindIndex, b); err == nil && blob.Object != name.Object {
			err = fmt.Errorf("%w: it is index object %s", segment.ErrCorrupt, blob.Object)
		}
		if err == nil {
			err = rebuild.Check(b, w.pages[name.Object])
		}
		if err == nil {
			err = checkProducers(b, w.producers[name.Object])
		}
	}
	if err == nil && (blob.Cluster != w.chain.Cluster || blob.Journal != w.journal) {
		err = fmt.Errorf("%w: it belongs to journal %d of cluster %s", errMisplaced, blob.Journal, blob.Cluster.Base64())
	}
	return err
}

// blob takes a checkpoint or an index object with its fault, if it has one.
func (w *walk) blob(key string, err error) {
	if name, ok := segment.ParseIndexKey(w.journal, key); ok {
		w.noteIndex(name, err)
		return
	}
	severity, hint := Warning, hintHint
	if w.floorNames(key) {
		severity, hint = Error, hintRestore
	}
	if err != nil {
		w.findings.add(blobFinding(severity, w.journal, key, hint, err))
	}
}

func blobFinding(severity Severity, journal uint32, key, hint string, err error) *Finding {
	code := CodeCorrupt
	switch {
	case errors.Is(err, errMisplaced):
		code = CodeMisplaced
	case errors.Is(err, segment.ErrUnsupported):
		severity, code, hint = Error, CodeUnsupported, hintUpgrade
	case errors.Is(err, objstore.ErrNotFound):
		code = CodeMissing
	}
	return finding(severity, code, journal, key, hint, "%v", err)
}

func (w *walk) floorNames(key string) bool {
	return slices.ContainsFunc(w.floors.last(), func(f segment.Floor) bool { return f.Checkpoint == key })
}

// loadCheckpoint loads the checkpoint from which nodes would start, to compare
// it with the state that the objects up to there result in. A damaged or
// missing checkpoint object is found elsewhere.
func (w *walk) loadCheckpoint(ctx context.Context) error {
	var newest *journal.Checkpoint
	unfit := false // for a node to start
	err := w.verifier.try(ctx, func(ctx context.Context) (err error) {
		newest, err = journal.LoadCheckpoint(ctx, w.verifier.store, w.chain, restore.Names)
		if lost.Unreadable(err) || errors.Is(err, journal.ErrBroken) {
			unfit = true
			return nil
		}
		return err
	})
	if unfit {
		w.spare, err = w.newestCheckpoint(ctx)
	}
	if newest != nil {
		newest.Chain.Spared = 0 // the objects do not say how a start found it
		w.checkpoints[newest.Chain.Next] = newest
	}
	return err
}

// newestCheckpoint returns the newest checkpoint that can be read, for a journal at which no
// node can start: the walk begins there if the objects before it are deleted.
func (w *walk) newestCheckpoint(ctx context.Context) (*journal.Checkpoint, error) {
	for _, key := range slices.Backward(w.stored.blobs) {
		if _, ok := segment.ParseCheckpointKey(w.journal, key); !ok {
			continue
		}
		b, err := w.get(ctx, key)
		if errors.Is(err, objstore.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		if c, err := journal.OpenCheckpoint(w.chain, key, b); err == nil {
			return c, nil
		}
	}
	return nil, nil
}

// compareCheckpoint compares a checkpoint with the walk, which has just taken
// the last object that the checkpoint covers. After damage the walk does not
// know the journal's state. It then goes on from a checkpoint that the floor
// names, as nodes do.
func (w *walk) compareCheckpoint(ctx context.Context, c *journal.Checkpoint) {
	if w.findings.counts[Error] > w.before {
		if w.loose || w.apply == nil {
			w.resume(ctx, c)
		}
		return
	}
	key := segment.CheckpointKey(w.journal, c.Chain.Last)
	const hint = "nodes that start from it have a wrong state of the journal: keep the bucket as it is, and report it"
	if c.Chain != w.chain {
		w.findings.add(finding(Error, CodeState, w.journal, key, hint,
			"the checkpoint's journal position %+v differs from that of the objects, %+v", c.Chain, w.chain))
		return
	}
	if err := w.sameState(ctx, c.State); err != nil {
		w.findings.add(finding(Error, CodeState, w.journal, key, hint, "%v", err))
	}
	if check := w.verifier.opt.CheckAttached; check != nil && w.journal != 0 {
		if err := check(c.Attached); err != nil {
			w.findings.add(finding(Error, CodeState, w.journal, key, "no node can lead the journal from it: keep the bucket as it is, and report it",
				"the checkpoint's attachment for coordinators: %v", err))
		}
	}
}

func (w *walk) sameState(ctx context.Context, stored []byte) error {
	if w.state == nil {
		return w.verifier.opt.Metadata.Is(stored)
	}
	state, err := partlog.Decode(w.journal, stored, w.readProducers(ctx))
	if _, _, named := partlog.DecodeNames(w.journal, stored); named == nil && lost.Is(err) {
		return nil // an index object has a finding for that
	}
	if err == nil && state.Hash() != w.state.Hash() {
		err = errors.New("the checkpoint's partitions differ from those that the objects result in")
	}
	if err == nil {
		err = w.comparePages(ctx, state)
	}
	return err
}

// resume goes on from a checkpoint.
func (w *walk) resume(ctx context.Context, c *journal.Checkpoint) {
	if c.Chain.Next != w.floors.inForce() {
		return
	}
	w.chain, w.loose, w.plans = c.Chain, false, c.History.Planned()
	if w.journal == 0 {
		return
	}
	if state, err := partlog.Decode(w.journal, c.State, w.readProducers(ctx)); err == nil {
		w.state, w.apply = state, state.Apply
	}
}
