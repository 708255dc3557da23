package objstore

import "time"

// Clock is a Store with a clock of its own, to compare that of the node with.
type Clock interface {
	// StoreTime returns the time that the store's newest answer to a read named, and how
	// many answers have named one so far; 0: none. The caller notes the number, reads,
	// and looks again: where the number has grown, the time is younger than the note.
	StoreTime() (at time.Time, answers uint64)
}

// Dated is a Store without a clock of its own, such as a folder. Its objects show how old
// the bucket is at least.
type Dated interface {
	// NewestModified returns the newest modification time among the objects that this
	// process has read or listed, and that are older than the process's opening of the
	// store; zero: none. Objects of the process itself would agree with its clock
	// whatever that says.
	NewestModified() time.Time
}
