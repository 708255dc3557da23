// Package journal is the commit protocol. It decides how a totally ordered
// sequence of objects in a bucket gets one leader at a time, which objects
// count as committed, and how it is read.
//
// It owns the rules of PROTOCOL.md in this folder. It promises that every reader finds
// an object that was confirmed to its leader at its seq, forever. Readers get valid
// objects in order, without a gap. An unknown outcome is never taken for a success or a
// failure. It knows nothing of Kafka: the contents of objects are the matter of their
// Machines, but for one entry of its own, which plans a floor. It never overwrites an
// object, and deletes none but checkpoints below the floor that no floor names. It never
// lets a clock, a message or a listing decide.
//
// Core is the pure state machine of the protocol, and Driver steps it. Owner follows or
// leads a journal for a Machine, and Checkpointer writes its checkpoints and moves its
// floor. Life is a Machine that follows, takes over, leads, and follows again. All of these
// have no goroutine. Loop is an Owner on a goroutine, against a
// bucket; Follower is a Loop that only reads.
package journal
