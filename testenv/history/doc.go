// Package history checks the observations of a log's clients against the log's
// promises.
//
// Clients report every operation to a History: values sent and their outcomes,
// records read with their offsets, and listed offsets. Each value is sent once
// and differs from all others, so the order and the number of its occurrences
// prove something. The checks are those of Jepsen's Kafka workload that apply
// without transactions (https://github.com/jepsen-io/redpanda,
// jepsen.redpanda.workload.queue), and some of our own; Kind lists them.
//
// It promises that an outcome that the client does not know counts neither
// against the log nor for it. Such a value may be in the log or not, before or
// after the client gave up. It needs some 40 bytes of memory for a record, so
// that tens of millions can be checked.
//
// It knows no client, no network and no clock: the caller passes in the time.
package history
