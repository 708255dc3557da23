// Package journal is the commit protocol: how a totally ordered sequence of
// objects in a bucket gets one leader at a time, what counts as committed, and how
// it is read.
//
// It owns the rules of PROTOCOL.md in this folder. It promises that an object
// which was confirmed to its leader is what every reader finds at its seq, for
// ever; that readers get valid objects in order, without a gap; and that an
// unknown outcome is never taken for a success or a failure. It knows nothing of
// Kafka: what the objects say is the matter of their owners, but for one entry of
// its own, which plans a floor. It never overwrites an object, deletes none but
// checkpoints below the floor that no floor names, and never lets a clock, a message
// or a listing decide.
//
// Core is the pure state machine; Driver and Follower carry out what it says.
// Checkpointer writes checkpoints and moves the floor.
package journal
