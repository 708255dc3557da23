// Package metadata owns the state of journal 0: what a cluster is made of.
// Topics with their configs and the journal each partition lives in, nodes and
// their broker ids, data journals, producer-id blocks, the feature level.
//
// It promises that State is a pure function of the journal's entries: one Apply
// for live and replay, which takes an object wholly or not at all, so that equal
// journals give equal hashes on every node. An entry or feature level that this
// binary does not know stops the node, it is never skipped. Controller turns
// requests into entries by the same rules, on a copy that runs ahead of the
// journal by what is not committed yet.
//
// State and Controller never do I/O, never read a clock and never draw a random
// number: whoever commits the entries brings times and ids. Addresses and
// liveness of nodes are not in the state: heartbeats carry them, and nothing
// rests on those.
package metadata
