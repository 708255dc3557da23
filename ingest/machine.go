package ingest

import (
	"time"

	"github.com/varvelog/varve/tiering/journal"
)

// disk is a write-ahead log with a word on its state; *wal.Log has it.
type disk interface {
	writeAhead
	// SyncedLSN is the LSN up to which everything is durable.
	SyncedLSN() uint64
	// Err is why the log takes nothing more, ever.
	Err() error
	// Full is why the log has no room now.
	Full() error
	// Unwritten is the number of bytes that wait in memory for the disk.
	Unwritten() int64
}

// machine is the journal.Machine of one leadership of a data journal: core, on a disk that
// may be slow, full or broken.
type machine struct {
	*core
	disk   disk
	signal <-chan struct{} // of changes of the disk
	room   room
	resign func(error) // gives the leadership up

	handOver func(journal.End) error // hands the journal over, once nothing is left to flush
	takeBack func() bool             // reports whether the leadership goes on
	ending   bool                    // handOver was called

	behind     uint64    // LSN up to which batches were accepted before the hand-over
	takesUntil time.Time // requests are taken until then at most; zero: behind is not committed

	// onAccepting is called once, when requests are accepted, and onEnded once at the end.
	// Both may be nil.
	onAccepting func()
	onEnded     func(error)
}

// newMachine is the machine of a leadership under an Owner.
func newMachine(opt Options, d disk, o *journal.Owner) *machine {
	return &machine{core: newCore(opt, d, o), disk: d, room: room{patience: opt.FullPatience, report: opt.OnFull}}
}

// Apply implements journal.Machine.
func (m *machine) Apply(o *journal.Object, own bool) error { return m.apply(o, own) }

// Led implements journal.Machine.
func (m *machine) Led(epoch uint32) { m.lead(epoch) }

// Deposed implements journal.Machine. A life calls Ended in its place.
func (m *machine) Deposed(err error) error { return err }

// giveUp ends the leadership for a reason, unless it is over.
func (m *machine) giveUp(reason error) {
	if m.failed == nil {
		m.resign(reason)
	}
}

// AtHead implements journal.Machine. A leader reads on to the end by itself.
func (m *machine) AtHead() {}

// Stalled implements journal.Machine.
func (m *machine) Stalled(uint64) { m.stall() }

// Ready implements journal.Machine.
func (m *machine) Ready() bool { return m.accepting }

// Progress implements journal.Machine.
func (m *machine) Progress() (next time.Time, err error) {
	if err := m.disk.Err(); err != nil {
		return time.Time{}, err
	}
	if m.failed != nil { // by a request; it would accept nothing, and lead on
		return time.Time{}, m.failed
	}
	if lsn := m.disk.SyncedLSN(); lsn > m.answers.synced {
		m.wasSynced(lsn)
	}
	roomAt, waitedLong := m.room.look(m.full(), m.now)
	if waitedLong {
		m.noRoom()
	}
	m.stopHandingOver()
	was := m.accepting
	if err := m.progress(); err != nil {
		return time.Time{}, err
	}
	if m.accepting && !was && m.onAccepting != nil {
		m.onAccepting()
	}
	m.endHandingOver()
	if m.finished() && !m.ending {
		m.resign(nil)
	}
	return earlier(roomAt, m.wakeAt()), nil
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// PlanCheckpoint implements journal.Machine.
func (m *machine) PlanCheckpoint(chain journal.Chain, history journal.History) journal.CheckpointJob {
	return m.planCheckpoint(chain, history)
}

// Checkpointed implements journal.Machine.
func (m *machine) Checkpointed(res journal.CheckpointResult) (hurry bool) { return m.checkpointed(res) }

// Ended implements journal.Machine.
func (m *machine) Ended(err error) {
	m.fail(err)
	m.room.end()
	if m.onEnded != nil {
		m.onEnded(err)
	}
}
