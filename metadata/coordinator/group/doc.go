// Package group is the state of Kafka's consumer groups: a group's members and
// its generation, the assignments by its leader, and the offset to which each
// partition was consumed.
//
// It owns the groups of one partition of __consumer_offsets, as a Machine. Kept
// state follows from the partition's records alone: Apply is the only way in
// which it changes, live and on replay. The records have Kafka's own formats,
// so that tools that read that topic understand them. Everything else, such as
// waiting members and session timers, is soft and ends with the leadership.
// After a take-over each group is as its last record describes it, its members
// go on with their generation, and their sessions start again.
//
// It promises that every request is answered exactly once, and that an offset
// is reported as committed only when its record is. The members of a generation
// learn their assignments only after these are committed. No request waits for
// longer than the time-outs that members asked for.
//
// It never starts a goroutine, reads a clock, takes a lock or does I/O, and
// knows no error code of the protocol. It does not look into assignments: only
// the members understand them.
package group
