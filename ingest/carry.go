package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// carryAfter is how long entries wait for an object that is written anyway. Then they get
// one of their own, so an idle journal writes at most one for them in this time.
const carryAfter = 10 * time.Minute

// maxCarried bounds the bytes of the entries of one call of Carry: they go with a whole
// flush in one object.
const maxCarried = segment.MaxObjectSize / 8

// errCarryTooLarge: the entries of a Carry do not fit into one object. None was taken.
var errCarryTooLarge = errors.New("entries to carry are too large for one object")

// carriage is the command of one call of Carry. It rides.
//
// Invariant: seq is 0 until the entries are in an object, whose seq it is then. If there
// was nothing to commit any more, it is that of an object that is applied.
type carriage struct {
	core    *core
	entries []segment.Entry
	wanted  func(segment.Entry) bool // when an object takes them; nil: all
	at      time.Time                // of the call
	seq     uint64
	done    chan<- error // capacity 1
}

// Carry commits entries of tiering, in order and in one object. It waits until an object
// is written anyway, so that tidying does not wake an idle journal, or until CarryAfter has
// passed (tiering/journal/PROTOCOL.md, rule 26). nil means that the object is applied. An
// error that is journal.ErrEnded means that the leadership is over, or is about to end.
// Deletions of records in partitions that are sealed by then are left out.
// After it, or after that of ctx, the entries may be committed or not.
func (l *Leader) Carry(ctx context.Context, entries []segment.Entry) error {
	return l.CarryWanted(ctx, entries, nil)
}

// CarryWanted is Carry of the entries that are still wanted when an object takes them: that
// may be long after the call. wanted must be quick, and ask the journal nothing. nil also
// means that none was wanted.
func (l *Leader) CarryWanted(ctx context.Context, entries []segment.Entry, wanted func(segment.Entry) bool) error {
	done := make(chan error, 1)
	result, err := ask(ctx, l, func() { l.core.carryWanted(entries, wanted, done) }, done)
	if err == nil {
		err = result
	}
	if errors.Is(err, ErrNotLeader) || errors.Is(err, ErrClosed) {
		return fmt.Errorf("%w: %w", journal.ErrEnded, err)
	}
	return err
}

// carry begins a carriage; done gets its outcome.
func (c *core) carry(entries []segment.Entry, done chan<- error) { c.carryWanted(entries, nil, done) }

func (c *core) carryWanted(entries []segment.Entry, wanted func(segment.Entry) bool, done chan<- error) {
	size := 0
	for _, e := range entries {
		size += len(e.Payload)
	}
	if size > maxCarried || len(entries) > segment.MaxEntries/8 {
		done <- errCarryTooLarge
		return
	}
	if err := c.over(); err != nil { // entries may wait, also for a hand-over that is taken back
		done <- err
		return
	}
	c.commands.ride(&carriage{core: c, entries: slices.Clone(entries), wanted: wanted, at: c.now(), done: done})
}

// propose implements command. The object that is built now takes the entries.
func (x *carriage) propose(add func(segment.Entry)) {
	if x.seq != 0 {
		return
	}
	entries := slices.DeleteFunc(x.entries, func(e segment.Entry) bool {
		return x.tooLate(e) || x.wanted != nil && !x.wanted(e)
	})
	if len(entries) == 0 {
		x.seq = x.core.state.Head()
		x.answer(nil)
		return
	}
	x.seq = x.core.journal.Header().Seq
	for _, e := range entries {
		add(e)
	}
}

// tooLate reports whether an entry deletes records of a partition that takes none any more:
// its seal may go in front. It would contradict the state then.
func (x *carriage) tooLate(e segment.Entry) bool {
	if e.Kind != partlog.EntryDeleteRecords {
		return false
	}
	d, err := partlog.DecodeDeleteRecords(e.Payload)
	return err == nil && !x.core.ends.isOpen(d.Key)
}

// reached implements command. No other leader's entries count: the leadership ends before
// the state has an object of another one at this seq.
func (x *carriage) reached() bool { return x.seq != 0 && x.core.state.Head() >= x.seq }

// answer implements command.
func (x *carriage) answer(err error) { x.done <- err }

// carryDue is when the riders get an object of their own; zero: never. While something else
// is to be written they ride on that. Nothing is written for them alone when the leadership
// closes.
func (c *core) carryDue() time.Time {
	if c.empties() || !c.flusher.buffer.empty() {
		return time.Time{}
	}
	for _, r := range c.commands.riders { // in the order of their calls
		if x, ok := r.(*carriage); ok {
			return x.at.Add(c.carryAfter)
		}
	}
	return time.Time{}
}

// mustCarry reports whether carriages have waited for long enough while nothing else is
// to be written.
func (c *core) mustCarry() bool {
	at := c.carryDue()
	return !at.IsZero() && !at.After(c.now()) && c.journal.Room()
}
