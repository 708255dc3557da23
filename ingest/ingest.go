// Package ingest leads data journals, and follows those that it has led: it is the write path.
//
// It owns the partitions' append ends: the offset of the next batch, the producers, the
// batches buffered and under way to the bucket, and the clients that wait for them.
//
// It promises that a batch is acknowledged with acks=all only when it and
// everything appended before it is committed in the bucket. With acks=1 it is
// acknowledged only when its write-ahead record is synced. Order within a
// partition is the order of Append calls. Settle returns when all records
// acknowledged before it are committed. A retry of an idempotent batch gets the
// original's answer, but not before the original is as safe as the retry
// requires.
//
// It never serves reads, never decodes records, and never acknowledges without
// proof from its own disk or the bucket.
//
// core is the pure part of one leadership, without goroutines, clocks or I/O. machine steps
// it for the journal's Owner. life follows the journal between leaderships, on the same
// state. Journal and Leader are the thin driver: a journal.Loop, and a write-ahead log for
// each leadership.
package ingest

import (
	"errors"

	"github.com/varvelog/varve/tiering/batch"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/partlog"
)

// Errors of a batch's Result, besides those of partlog.Producers.Check.
var (
	// ErrNotLeader: this node does not accept records of the partition, not yet or no
	// longer. Nothing was appended, unless the batch was under way when the leadership
	// ended: then its outcome is unknown. Retriable.
	ErrNotLeader = errors.New("this node does not lead the partition")
	// ErrUnavailable: the bucket has not answered for long. If the batch was
	// appended its outcome is unknown and it may still be committed. Retriable.
	ErrUnavailable = errors.New("the bucket does not answer")
	// ErrNoRoom: the write-ahead log has no room, because its disk is full or too slow,
	// or its budget is used up. If the batch was appended its outcome is
	// unknown and it may still be committed. Retriable.
	ErrNoRoom = errors.New("the write-ahead log has no room")
	// ErrClosed: the node is shutting down; nothing was appended. Retriable.
	ErrClosed = errors.New("the node is shutting down")
)

// Acks says how safe a batch must be before its Result is given.
type Acks int16

// Kafka's values of acks.
const (
	AcksNone   Acks = 0  // appended
	AcksLeader Acks = 1  // synced in the local write-ahead log
	AcksAll    Acks = -1 // committed in the bucket
)

// Batch is one record batch for one partition. It was validated
// (batch.Validate); Data belongs to ingest from now on, which patches base offset
// and leader epoch in place.
//
// The caller holds a reference to Memory until it has the Result. Where ingest needs Data
// for longer, it retains Memory itself.
type Batch struct {
	Key    partlog.Key
	Data   []byte
	Header batch.Header
	Memory *pooled.Buffer // holds Data; nil: the garbage collector does
}

// Result answers a Batch.
type Result struct {
	BaseOffset int64 // of the batch, or of the original it is a retry of
	LogStart   int64 // first offset of the partition
	Err        error
}
