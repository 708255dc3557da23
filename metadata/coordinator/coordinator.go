// Package coordinator is the contract between the state of a Kafka coordinator
// and the host that keeps this state in one partition of an internal topic,
// such as __consumer_offsets.
//
// It owns the terms that both sides share. A Machine is the state: it is pure,
// and one goroutine owns it. The host gives it turns and appends its records to
// the partition. It applies them once they are committed in the bucket, and
// puts the Machine's snapshot into the journal's checkpoint. Package shard is
// the host, package group a machine. This package promises nothing by itself,
// and never does I/O.
package coordinator

import (
	"errors"
	"time"
)

// Errors of a request whose Machine was not asked, or whose records have an unknown
// outcome.
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

// Topics answers questions about the topics of the cluster, from the newest metadata
// that this node knows.
type Topics interface {
	// TopicGone reports whether a topic does not exist, by its id or, if that is zero,
	// by its name. A topic that is being deleted is gone. A topic that was just created
	// may not be known here yet, and is reported as gone as well.
	TopicGone(name string, id [16]byte) bool
}

// Out is a Machine's access to the world in a turn. It is valid for that turn only.
//
// Questions are answered at once. Requests are carried out later, and answered by
// done in a later turn: once, in any case, and after Resign if the leadership ended
// before. Append is the only request today. Others may follow, such as records for
// other partitions, or the proof that this node still leads. Such a request needs
// three methods. One is here, with a done of the same kind. shard.World has one that
// carries the request out, shard.Core one that takes the answer and gives the turn.
type Out interface {
	// Now is the time of the turn.
	Now() time.Time
	Topics
	// Append writes records, in one batch, after all earlier ones. done gets nil once
	// the records are committed in the bucket and applied, otherwise the reason why
	// that is not known.
	Append(records []Record, done func(out Out, err error))
}

// Machine is the state that the records of one partition result in, with the
// decisions made on it. All methods are called by one owner, one at a time: a
// call is a turn.
type Machine interface {
	// Apply takes the next committed record, live and on replay: there is no other
	// way in which the kept state changes. An error means that this program cannot
	// understand the record, and ends the leadership of the partition.
	Apply(at Position, r Record) error
	// Snapshot encodes the kept state: all that Apply built, and nothing else. Equal
	// states have equal bytes.
	Snapshot() []byte
	// Restore replaces the kept state by that of a snapshot.
	Restore(snapshot []byte) error
	// Lead begins the answering of requests: all committed records are applied.
	Lead(out Out)
	// Resign ends it: all requests that wait are answered with err. Kept state stays.
	Resign(err error)
	// Tick does the work that is due at out.Now().
	Tick(out Out)
	// Next returns the time of the next Tick; zero if nothing is due.
	Next() time.Time
	// TopicsDeleted reports topics, by id, whose deletion has begun. It is called
	// while the Machine leads, at least once for each deletion that begins then or is
	// under way when Lead is called. Older deletions are not reported: ask TopicGone.
	TopicsDeleted(out Out, ids [][16]byte)
}
