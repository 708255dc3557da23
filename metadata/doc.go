// Package metadata owns the state of journal 0, which describes a cluster. It has the
// topics with their configs and the journal of each partition, producer-id blocks, and the
// feature level. It has the nodes with their broker ids, runs and states, and the data
// journals with the nodes that are to lead them.
//
// It promises that State is a pure function of the journal's entries. There is
// one Apply for live and replay, which takes an object wholly or not at all, so
// equal journals give equal states on every node. An entry or feature level
// that this binary does not know stops the node; it is never skipped.
// Controller turns requests into entries by the same rules, on a copy that is
// ahead of the journal by the uncommitted entries.
//
// The state says which partitions a data journal has to follow (Placed), and the
// controller waits for the reports of the journals (Reconciled). It never asks a
// journal to do anything.
//
// State and Controller never do I/O, never read a clock and never draw a random
// number: the caller that commits the entries passes in times and ids.
// Which node really leads a journal is not in the state: the journal itself decides,
// and an assignment is a hint.
package metadata
