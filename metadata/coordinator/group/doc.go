// Package group is the state of Kafka's consumer groups: who is a member, which
// generation a group is in, what its leader assigned to whom, and up to where each
// partition was consumed.
//
// It owns the groups of one partition of __consumer_offsets, as a Machine. What it
// keeps follows from the partition's records alone, which have Kafka's own formats,
// so that tools that read that topic understand them: Apply is the only way in which
// kept state changes, live and on replay. Everything else (who waits for a rebalance,
// whose session runs out when) is soft, and ends with the leadership: after a
// take-over each group stands as its last record says, its members go on with their
// generation, and their sessions start anew.
//
// It promises that every request is answered exactly once; that an offset is
// reported as committed only when its record is; that the members of a generation
// learn their assignments only after these are committed; and that nobody waits for
// longer than the time-outs that members brought. It never starts a goroutine, reads
// a clock, takes a lock or does I/O, knows no error code of the protocol, and does
// not look into assignments: who consumes what is the business of the members.
package group
