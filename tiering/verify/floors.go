package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// keptCheckpoints is how many of the last floors name a checkpoint that must
// exist (tiering/journal/PROTOCOL.md, rule 9).
const keptCheckpoints = 2

// floors is a journal's chain of floor objects, read by key from the first on.
type floors struct {
	all []segment.Floor // that could be read, oldest first
	n   uint64          // of the last existing one
}

// last returns the floors that name a checkpoint that must exist.
func (f *floors) last() []segment.Floor { return f.all[max(0, len(f.all)-keptCheckpoints):] }

// inForce returns the floor in force, 0 if there is none.
func (f *floors) inForce() uint64 {
	if len(f.all) == 0 {
		return 0
	}
	return f.all[len(f.all)-1].Floor
}

// readFloors reads the floors of a journal: by number, and after a gap the
// listed ones.
func (w *walk) readFloors(ctx context.Context) error {
	for n := uint64(1); ; n++ {
		found, err := w.readFloor(ctx, n)
		if err != nil {
			return err
		}
		if found {
			continue
		}
		listed := w.stored.floorFrom(n + 1)
		if listed == 0 {
			break
		}
		if err := w.readFloorBeyond(ctx, n, listed); err != nil {
			return err
		}
		n = listed
	}
	return w.readCheckpoints(ctx)
}

// readFloorBeyond reads a listed floor, though the one with number missing does
// not exist. An object that is not a floor of this journal does not prove that
// a floor is missing.
func (w *walk) readFloorBeyond(ctx context.Context, missing, n uint64) error {
	before, last := len(w.floors.all), w.floors.n
	found, err := w.readFloor(ctx, n)
	switch {
	case err != nil:
		return err
	case len(w.floors.all) > before:
		w.findings.add(finding(Error, CodeFloor, w.journal, segment.FloorKey(w.journal, missing), hintRestore,
			"floor %d is missing, though floor %d exists: nodes use an older floor", missing, n))
	case found:
		w.floors.n = last // no node gets as far
	}
	return nil
}

// readFloor reads the n-th floor; false if there is none.
func (w *walk) readFloor(ctx context.Context, n uint64) (bool, error) {
	key := segment.FloorKey(w.journal, n)
	b, err := w.get(ctx, key)
	if errors.Is(err, objstore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read floor %s: %w", key, err)
	}
	w.floors.n = n
	floor, err := segment.DecodeFloor(b)
	switch {
	case errors.Is(err, segment.ErrUnsupported):
		w.findings.add(finding(Error, CodeUnsupported, w.journal, key, hintUpgrade, "%v", err))
	case err != nil:
		w.findings.add(finding(Error, CodeFloor, w.journal, key, hintRestore, "%v", err))
	case floor.Cluster != w.chain.Cluster || floor.Journal != w.journal || floor.N != n:
		w.findings.add(finding(Error, CodeFloor, w.journal, key, hintRestore,
			"it is floor %d of journal %d of cluster %s", floor.N, floor.Journal, floor.Cluster.Base64()))
	case floor.Floor < w.floors.inForce():
		w.findings.add(finding(Error, CodeFloor, w.journal, key, hintRestore,
			"the floor goes back from seq %d to %d", w.floors.inForce(), floor.Floor))
	default:
		w.verifier.checkpoints[floor.Checkpoint] = true
		w.floors.all = append(w.floors.all, floor)
	}
	return true, nil
}

// readCheckpoints reads the checkpoints that must exist.
func (w *walk) readCheckpoints(ctx context.Context) error {
	for _, floor := range w.floors.last() {
		b, err := w.get(ctx, floor.Checkpoint)
		if errors.Is(err, objstore.ErrNotFound) {
			w.findings.add(finding(Error, CodeFloor, w.journal, floor.Checkpoint, hintRestore,
				"the checkpoint that floor %d names is missing: it covers all records below seq %d", floor.N, floor.Floor))
			continue
		}
		if err != nil {
			return fmt.Errorf("read checkpoint %s: %w", floor.Checkpoint, err)
		}
		c, err := journal.OpenCheckpoint(w.chain, floor.Checkpoint, b)
		switch {
		case errors.Is(err, segment.ErrUnsupported):
			continue // the checkpoint's object has a finding for that
		case sha256.Sum256(b) != floor.Hash:
			err = fmt.Errorf("it is not the checkpoint that floor %d names: its hash differs", floor.N)
		case err == nil && c.Chain.Next != floor.Floor:
			err = fmt.Errorf("floor %d is seq %d, but the checkpoint covers all below seq %d", floor.N, floor.Floor, c.Chain.Next)
		}
		if err != nil {
			w.findings.add(finding(Error, CodeFloor, w.journal, floor.Checkpoint, hintRestore, "%v", err))
			continue
		}
		w.checkpoints[c.Chain.Next] = c
	}
	return nil
}

// checkPlanned compares the floors with the journal, whose entries must plan
// each of them. If entries could not be read, it cannot decide.
func (w *walk) checkPlanned() {
	for _, floor := range w.floors.all {
		if floor.Floor < w.base {
			continue // its plan is not read
		}
		if !w.partitions.gaps && !w.planned[floor.N].Has(floor, w.journal) {
			w.findings.add(finding(Error, CodeFloor, w.journal, segment.FloorKey(w.journal, floor.N), hintReplaced,
				"the journal did not plan floor %d at seq %d", floor.N, floor.Floor))
		}
	}
}

// floorMoved reports whether a floor was set since readFloors.
func (w *walk) floorMoved(ctx context.Context) (bool, error) {
	before := w.floors.n
	found, err := w.readFloor(ctx, before+1)
	return found, err
}
