package segment

import "fmt"

// ClusterKey is the key of the cluster object. All keys are relative to the
// store's prefix.
const ClusterKey = "cluster"

// JournalKey is the key of the journal object at a seq. Seqs have 20 digits, so
// that keys sort as seqs do.
func JournalKey(journal uint32, seq uint64) string {
	return fmt.Sprintf("journals/%d/%020d", journal, seq)
}

// FloorKey is the key of a journal's n-th floor object.
func FloorKey(journal uint32, n uint64) string {
	return fmt.Sprintf("journals/%d/floors/%020d", journal, n)
}
