package health

import (
	"log/slog"
	"slices"
	"time"
)

// Kind is the subject matter of a trouble.
type Kind string

// The kinds. The table below defines how each is reported.
const (
	Bucket       Kind = "bucket"      // the store fails; subject: journal, or the side of it
	Disk         Kind = "disk"        // the data disk or its budget is used up; subject: journal
	SetAside     Kind = "set-aside"   // logs set aside hold records that the journal does not have; subject: journal
	Witness      Kind = "witness"     // the witness file cannot be written
	Damage       Kind = "damage"      // an object cannot be read; subject: object
	Tiering      Kind = "tiering"     // a step of merging or deleting fails; subject: journal and step
	Mismatch     Kind = "mismatch"    // merged records differ from their sources, and were not used; subject: journal
	Topics       Kind = "topics"      // topics are not all opened or deleted yet
	Checkpoints  Kind = "checkpoints" // a leader cannot limit how much a start reads; subject: journal and step
	Clock        Kind = "clock"       // the clocks of the node and the store are apart
	Coordinators Kind = "coordinator" // groups are not served; subject: partition
	Membership   Kind = "membership"  // the node's part in a cluster of several nodes; subject: cause
)

// about defines how a kind is reported.
type about struct {
	kind  Kind
	level slog.Level    // of the line in the log when it begins
	grace time.Duration // how long such a trouble lasts before it makes the node not ready
	over  string        // the line in the log when it ends
}

// table has a row for every kind: metrics exist for each from the start.
var table = []about{
	{Bucket, slog.LevelWarn, 30 * time.Second, "the bucket answers again"},
	{Checkpoints, slog.LevelError, 0, "checkpoints are written, floors move and old objects are removed again"},
	{Clock, slog.LevelError, 0, "the clocks of the node and the store agree again"},
	{Coordinators, slog.LevelError, 0, "the coordinator serves its groups again"},
	{Damage, slog.LevelWarn, 0, "the damaged object can be read again, or is not needed any more"},
	{Disk, slog.LevelError, 0, "the write-ahead log has room again"},
	{Membership, slog.LevelWarn, 0, "the node takes its part in the cluster again"},
	{Mismatch, slog.LevelError, 0, "the records whose merged copy differed are merged right, or deleted"},
	{SetAside, slog.LevelWarn, 0, "the records set aside are in the journal, exported or deleted"},
	{Tiering, slog.LevelError, 0, "the step of tiering works again"},
	{Topics, slog.LevelWarn, 0, "topics are all opened and deleted again"},
	{Witness, slog.LevelWarn, 0, "the witness file is written again"},
}

// Kinds returns all kinds, sorted.
func Kinds() []Kind {
	kinds := make([]Kind, len(table))
	for i, a := range table {
		kinds[i] = a.kind
	}
	slices.Sort(kinds)
	return kinds
}

// of returns a kind's row.
func of(kind Kind) about {
	for _, a := range table {
		if a.kind == kind {
			return a
		}
	}
	panic("health: kind " + string(kind) + " is not in the table")
}
