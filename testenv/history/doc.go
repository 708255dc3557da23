// Package history checks what clients of a log saw against what a log promises.
//
// Clients tell a History of every operation: that a value is sent and what
// came of it, what was read at which offset, which offsets were listed. Each
// value is sent once and can be told from all others, so the order and the
// number of its occurrences prove something. The checks are those of Jepsen's
// Kafka workload that apply without transactions
// (https://github.com/jepsen-io/redpanda, jepsen.redpanda.workload.queue), and
// some of our own; Kind lists them.
//
// It promises that an outcome the client does not know is never held against
// the log, and never for it: such a value may be there or not, before or after
// the client gave up. It needs some 40 bytes of memory for a record, so that
// tens of millions can be checked.
//
// It knows no client, no network and no clock: it is given the time.
package history
