package offline

import (
	"context"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Kind is the use of an object, as its key shows it.
type Kind string

// The kinds, in the order in which they are shown.
const (
	KindJournal    Kind = "journal"    // objects of journals: records, fences, fillers
	KindShared     Kind = "shared"     // merged segments of many partitions
	KindOwn        Kind = "own"        // merged segments of one partition
	KindIndex      Kind = "index"      // index objects and their copies
	KindCheckpoint Kind = "checkpoint" // checkpoints and floors
	KindOther      Kind = "other"      // the cluster object, names of topics, holds, objects that are not varve's
)

// Kinds are all of them.
var Kinds = []Kind{KindJournal, KindShared, KindOwn, KindIndex, KindCheckpoint, KindOther}

// KindOf is the kind of the object at a key.
func KindOf(key string) Kind {
	if name, ok := segment.ParseMergedKey(key); ok {
		if name.Own() {
			return KindOwn
		}
		return KindShared
	}
	journal, ok := segment.JournalOf(key)
	if !ok {
		return KindOther
	}
	if _, ok := segment.ParseJournalKey(journal, key); ok {
		return KindJournal
	}
	if _, ok := segment.ParseIndexKey(journal, key); ok {
		return KindIndex
	}
	_, checkpoint := segment.ParseCheckpointKey(journal, key)
	if _, floor := segment.ParseFloorKey(journal, key); floor || checkpoint {
		return KindCheckpoint
	}
	return KindOther
}

// Stored is a number of objects.
type Stored struct{ Objects, Bytes int64 }

// Stored lists the bucket. onListed is called with the number of objects so far.
func (b *Bucket) Stored(ctx context.Context, onListed func(int64)) (map[Kind]Stored, error) {
	all := map[Kind]Stored{}
	var listed int64
	err := b.store.List(ctx, "", "", func(i objstore.Info) error {
		k := KindOf(i.Key)
		s := all[k]
		all[k] = Stored{s.Objects + 1, s.Bytes + i.Size}
		listed++
		onListed(listed)
		return nil
	})
	return all, err
}

// Policy returns the settings of the bucket. Those that it does not show are in Unread.
func (b *Bucket) Policy(ctx context.Context) (objstore.Policy, error) {
	return objstore.ReadPolicy(ctx, b.store)
}

// Garbage counts the objects that journals have released and that are not deleted yet, and
// the merged segments that no extent names any more and that are not released yet.
func (b *Bucket) Garbage() (waiting, replaced int64) {
	for _, id := range b.Topics.Journals() {
		state := b.State(id)
		if state == nil {
			continue
		}
		for _, g := range state.Garbage() {
			switch {
			case g.Deleted:
			case g.Name == (segment.Name{}):
				waiting += int64(g.Seqs.Last - g.Seqs.First + 1)
			default:
				waiting++
			}
		}
		replaced += int64(len(state.Unreleased()))
	}
	return waiting, replaced
}
