// Package verify walks a bucket and reports damage in it.
//
// It owns the judgement of a bucket as a whole: the cluster object, and each
// journal's floors, with the checkpoints that they name. So it does that of the
// objects of journals, and of the merged segments that states name. It takes the objects
// of a journal in the order of seqs, with every record batch. Where some may be
// deleted, it begins at the checkpoint of the last floor but one, as a node
// could, and checks older objects by themselves.
//
// It promises that a clean bucket has no error, whether nodes run at the same
// time or not. Damage gives one finding, at the key where it is, with the
// affected offsets if they can be known. It does not give another one for each
// later object. An object that could not be read is a finding, and never passed
// over. A missing merged segment is one only if a head that was proved after
// the look still names it.
//
// After the first contradiction in a journal, the state that its objects result
// in is not known any more. From there on, or up to the floor if that lies
// above, the walk checks the chain, the checksums and the offsets, but not
// whether entries fit.
//
// It never writes or deletes. Options.Memory limits its memory, apart from the
// part that grows with partitions, producers and listed objects (four bytes
// each).
//
// journal.Chain decides which object may follow which, segment.Decode decides
// whether one is well formed, and the states' own Apply functions whether it
// applies. That is the code that nodes run.
package verify
