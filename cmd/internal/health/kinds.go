package health

import (
	"log/slog"
	"slices"
	"time"
)

// Kind is what a trouble is about.
type Kind string

// The kinds there are. The table below says how each is reported.
const (
	Bucket       Kind = "bucket"      // the store fails; subject: journal, or what was asked for
	Disk         Kind = "disk"        // the data disk or its budget is used up; subject: journal
	SetAside     Kind = "set-aside"   // records lie in aside that the journal does not have; subject: journal
	Witness      Kind = "witness"     // the witness file cannot be written
	Damage       Kind = "damage"      // something stored cannot be read; subject: object
	Topics       Kind = "topics"      // topics are not all opened or deleted yet
	Checkpoints  Kind = "checkpoints" // a leader cannot bound what a start reads; subject: journal and step
	Coordinators Kind = "coordinator" // groups are not served; subject: partition
)

// about is how a kind is reported.
type about struct {
	kind  Kind
	level slog.Level    // of the line in the log when it begins
	grace time.Duration // how long a trouble that makes a node not ready may last before it does
	over  string        // the line in the log when it ends
}

// table has a row for every kind: metrics exist for each from the start.
var table = []about{
	{Bucket, slog.LevelWarn, 30 * time.Second, "the bucket answers again"},
	{Checkpoints, slog.LevelError, 0, "checkpoints are written, floors move and what is old is removed again"},
	{Coordinators, slog.LevelError, 0, "the coordinator serves its groups again"},
	{Damage, slog.LevelWarn, 0, "the damaged object can be read again, or is not asked for any more"},
	{Disk, slog.LevelError, 0, "the write-ahead log has room again"},
	{SetAside, slog.LevelWarn, 0, "what was set aside is in the journal, exported or deleted"},
	{Topics, slog.LevelWarn, 0, "topics are all opened and deleted again"},
	{Witness, slog.LevelWarn, 0, "the witness file is written again"},
}

// Kinds are all kinds, sorted.
func Kinds() []Kind {
	kinds := make([]Kind, len(table))
	for i, a := range table {
		kinds[i] = a.kind
	}
	slices.Sort(kinds)
	return kinds
}

// of is a kind's row.
func of(kind Kind) about {
	for _, a := range table {
		if a.kind == kind {
			return a
		}
	}
	panic("health: kind " + string(kind) + " is not in the table")
}
