// Package verify walks a bucket and says what is wrong in it.
//
// It owns the judgement of a bucket as a whole: the cluster object, each
// journal's floors and the checkpoints they name, every object of every journal in
// the order of seqs, below the floor as above it, every record batch. It promises that a clean bucket has no error, with or without
// nodes running beside it; that damage gives one finding at the key where it is,
// with the offsets that it touches where anything tells them, and not a second
// one for each object after it; and that what could not be read is a finding, never
// passed over. After the first contradiction in a journal what its objects add
// up to is not known any more; from there on, or up to the floor if that lies
// above, the chain, the checksums and the offsets are checked, but not whether
// entries fit. It never writes or deletes,
// and bounds its memory by Options.Memory, besides what grows with partitions,
// producers and objects listed (four bytes each).
//
// What may follow what is decided by journal.Chain, what is well formed by
// segment.Decode, and what applies by the states' own Apply functions: the same
// code that nodes run.
package verify
