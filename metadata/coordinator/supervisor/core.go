package supervisor

import (
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Tenure is the part of a partition's life that one coordinator serves. It ends with
// the leadership of the journal, and with the open entry of the partition: another
// leadership and another open entry have another leader epoch, or another journal.
type Tenure struct {
	Key     partlog.Key
	Journal uint32
	Epoch   int32 // Kafka's leader epoch of the partition
}

// View is all that a Core decides on: the newest metadata, and the journals that this
// node leads.
type View struct {
	Topic      segment.ID  // of the internal topic; zero if it does not exist
	Partitions []Partition // of the internal topic, by number
	Deleting   [][16]byte  // topics whose deletion has begun and is not finished
	Snapshots  []Snapshot  // kept for coordinators, in the journals led here
}

// Partition is a partition of the internal topic.
type Partition struct {
	Journal uint32
	Led     bool  // this node leads the journal
	Open    bool  // the journal takes records of the partition
	Epoch   int32 // leader epoch, while it is open
}

// Snapshot is a snapshot that the checkpoints of a journal carry.
type Snapshot struct {
	Journal uint32
	Key     partlog.Key
	Gone    bool // its topic does not exist
}

// Todo lists the work that follows a look, in the order of its fields.
type Todo struct {
	Stop   []Tenure
	Forget []Snapshot
	Start  []Tenure
	Report []Report
	Again  bool // a partition is not open yet: look again, even if the metadata does not change
}

// Report says which deletions a coordinator is to learn of.
type Report struct {
	To     Tenure
	Topics [][16]byte
}

// Core decides which coordinators run here. It is pure, and has one owner.
//
// Invariant: after a look a coordinator runs for each open partition of the topic
// whose journal is led here, unless it could not be started. No other one runs.
type Core struct {
	running map[int32]Tenure  // by partition
	deleted map[[16]byte]bool // deletions that all running coordinators know of
	closed  bool
}

// NewCore returns a Core without coordinators.
func NewCore() *Core { return &Core{running: map[int32]Tenure{}} }

// Look compares the coordinators that run with those that should.
func (c *Core) Look(v View) (todo Todo) {
	if c.closed {
		return todo
	}
	wanted, again := v.wanted()
	todo.Again = again
	todo.Stop = c.take(func(partition int32, t Tenure) bool { return wanted[partition] != t })
	for _, s := range v.Snapshots {
		if s.Gone {
			todo.Forget = append(todo.Forget, s)
		}
	}
	todo.Report = c.reports(v.Deleting)
	for _, partition := range slices.Sorted(maps.Keys(wanted)) {
		t := wanted[partition]
		if c.running[partition] == t {
			continue
		}
		c.running[partition] = t
		todo.Start = append(todo.Start, t)
		if len(v.Deleting) > 0 {
			todo.Report = append(todo.Report, Report{t, v.Deleting})
		}
	}
	return todo
}

// wanted is the coordinators that should run, by partition.
func (v *View) wanted() (wanted map[int32]Tenure, again bool) {
	wanted = map[int32]Tenure{}
	if v.Topic.IsZero() {
		return wanted, false
	}
	for i, p := range v.Partitions {
		switch {
		case !p.Led:
		case !p.Open:
			again = true
		default:
			wanted[int32(i)] = Tenure{partlog.Key{Topic: v.Topic, Index: int32(i)}, p.Journal, p.Epoch}
		}
	}
	return wanted, again
}

// take removes coordinators that run, and returns them in the order of partitions.
func (c *Core) take(which func(partition int32, t Tenure) bool) (taken []Tenure) {
	for _, partition := range slices.Sorted(maps.Keys(c.running)) {
		if t := c.running[partition]; which(partition, t) {
			delete(c.running, partition)
			taken = append(taken, t)
		}
	}
	return taken
}

// reports has all that run learn of the deletions that are new.
func (c *Core) reports(deleting [][16]byte) (reports []Report) {
	all, fresh := map[[16]byte]bool{}, [][16]byte(nil)
	for _, id := range deleting {
		if all[id] = true; !c.deleted[id] {
			fresh = append(fresh, id)
		}
	}
	c.deleted = all
	if len(fresh) == 0 {
		return nil
	}
	for _, partition := range slices.Sorted(maps.Keys(c.running)) {
		reports = append(reports, Report{c.running[partition], fresh})
	}
	return reports
}

// Failed reports that a coordinator could not be started. The next look wants it again.
func (c *Core) Failed(t Tenure) {
	if c.running[t.Key.Index] == t {
		delete(c.running, t.Key.Index)
	}
}

// Close returns the coordinators to be stopped. Later looks start none.
func (c *Core) Close() []Tenure {
	c.closed = true
	return c.take(func(int32, Tenure) bool { return true })
}
