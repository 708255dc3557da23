// Package coordinator is the contract between the state of a Kafka coordinator and
// what keeps that state: one partition of an internal topic, such as
// __consumer_offsets.
//
// It owns the words both sides share. It promises nothing by itself: a Machine is
// the state, pure and owned by one goroutine; whoever runs it appends its records
// to the partition, applies them once they are committed in the bucket, and puts
// its snapshot into the journal's checkpoint. The package never does I/O.
package coordinator

import (
	"errors"
	"time"
)

// Errors that a request to a coordinator ends with when its Machine was not asked,
// or cannot tell what became of what it wrote.
var (
	// ErrNotCoordinator: this node does not lead the partition.
	ErrNotCoordinator = errors.New("this node is not the coordinator")
	// ErrLoading: the partition has not been read up to a proved head yet.
	ErrLoading = errors.New("the coordinator is loading its state")
	// ErrUnavailable: the bucket did not confirm the records in time. They may be
	// committed later, or not.
	ErrUnavailable = errors.New("the coordinator cannot reach the bucket")
	// ErrTooLarge: the records of one Append are more than a batch takes. They are
	// not written.
	ErrTooLarge = errors.New("too much for one batch of the coordinator's partition")
)

// Record is one record of the partition. A nil Value is a tombstone.
type Record struct {
	Key, Value []byte
}

// Position says where a committed record stands.
type Position struct {
	Offset      int64
	TimestampMs int64 // Unix milliseconds, of the record
}

// Out is what a Machine may do to the world while it has its turn. It is good for
// that turn only.
type Out interface {
	// Now is the time of the turn.
	Now() time.Time
	// Append writes records, in one batch, behind all that was appended before. done
	// is called once, in a later turn of the Machine: with nil once the records are
	// committed in the bucket and applied, else with why that is not known. Those of
	// what is under way when the Machine resigns follow Resign.
	Append(records []Record, done func(out Out, err error))
}

// Machine is the state that the records of one partition add up to, and the
// decisions made on it. All methods are called by one owner, one at a time: a
// call is a turn.
type Machine interface {
	// Apply takes the next committed record, live and on replay: there is no other
	// way in which the kept state changes. An error is a record that this program
	// cannot understand, and ends the leading of the partition.
	Apply(at Position, r Record) error
	// Snapshot encodes the kept state: what Apply built, and nothing else. Equal
	// states have equal bytes.
	Snapshot() []byte
	// Restore replaces the kept state by that of a snapshot.
	Restore(snapshot []byte) error
	// Lead begins the answering of requests: all that is committed is applied.
	Lead(out Out)
	// Resign ends it: whoever waits is answered with err. Kept state stays.
	Resign(err error)
	// Tick does what is due at out.Now().
	Tick(out Out)
	// Next is when Tick is wanted next; zero if nothing is due.
	Next() time.Time
}
