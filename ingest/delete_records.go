package ingest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/partlog"
)

// Deletion asks for the records of a partition before an offset to be deleted.
type Deletion struct {
	Key    partlog.Key
	Before int64 // the first offset to keep, or AllCommitted
}

// AllCommitted, as the Before of a Deletion, is the end of what is committed, with
// everything that was acknowledged before the Deletion.
const AllCommitted int64 = -1

// Deleted answers a Deletion, once it is committed.
type Deleted struct {
	LogStart int64 // the first offset that is left; -1 with an error
	Err      error
}

// ErrOutOfRange: there is no committed record before the offset of a Deletion.
// Nothing was deleted.
var ErrOutOfRange = errors.New("offset out of range")

// deletion is one call of DeleteRecords.
//
// Invariant: a result that is not known yet has neither an error nor a start.
type deletion struct {
	wants   []Deletion
	results []Deleted
	done    chan<- []Deleted // capacity 1
}

// deleteRecords lets the starts of partitions move up, by entries; done is told
// when they are committed. Retries of what is committed cost no entry.
func (c *core) deleteRecords(wants []Deletion, done chan<- []Deleted) {
	d := &deletion{wants: slices.Clone(wants), results: slices.Repeat([]Deleted{{LogStart: -1}}, len(wants)), done: done}
	if err := c.refuses(AcksAll); err != nil {
		d.fail(err)
		return
	}
	if !slices.ContainsFunc(wants, c.beyond) {
		c.moveStarts(d)
		return
	}
	c.settle(func(err error) { // what was acknowledged before counts as there
		if err != nil {
			d.fail(err)
			return
		}
		c.moveStarts(d)
	})
}

// beyond reports whether a deletion may be about records that are not committed.
func (c *core) beyond(want Deletion) bool {
	v, _ := c.state.Lookup(want.Key)
	return want.Before == AllCommitted || want.Before > v.End
}

// moveStarts asks for the entries of a call, and has it answered.
func (c *core) moveStarts(d *deletion) {
	doubt := false
	for i := range d.wants {
		d.results[i].Err = c.moveStart(&d.wants[i])
		doubt = doubt || errors.Is(d.results[i].Err, ErrOutOfRange)
	}
	if !doubt {
		c.awaitDeletion(d)
		return
	}
	c.journal.Prove(func(err error) { // a leader that was deposed may not know the end
		for i := range d.wants {
			r := &d.results[i]
			switch {
			case !errors.Is(r.Err, ErrOutOfRange):
			case err != nil:
				r.Err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			case !c.leading():
				r.Err = ErrNotLeader
			default:
				r.Err = c.moveStart(&d.wants[i])
			}
		}
		c.awaitDeletion(d)
	})
}

// moveStart asks for an entry that moves a partition's start, unless it is there
// already.
func (c *core) moveStart(want *Deletion) error {
	v, _ := c.state.Lookup(want.Key)
	if want.Before == AllCommitted {
		want.Before = v.End
	}
	switch {
	case c.parts[want.Key] == nil:
		return ErrNotLeader
	case want.Before < 0 || want.Before > v.End:
		return fmt.Errorf("%w: records before offset %d cannot be deleted, the partition has %d to %d", ErrOutOfRange, want.Before, v.Start, v.End)
	case want.Before > v.Start:
		c.buffer.addEntry(partlog.DeleteRecords{Key: want.Key, Before: want.Before}.Encode(), c.now())
	}
	return nil
}

func (c *core) awaitDeletion(d *deletion) {
	if c.failed != nil {
		d.fail(c.failed)
		return
	}
	c.deletions = append(c.deletions, d)
	c.passDeletions()
}

// passDeletions answers those whose entries are committed.
func (c *core) passDeletions() {
	c.deletions = slices.DeleteFunc(c.deletions, func(d *deletion) bool {
		for i, want := range d.wants {
			r := &d.results[i]
			if r.Err != nil || r.LogStart >= 0 {
				continue
			}
			switch v, _ := c.state.Lookup(want.Key); {
			case v.Start >= want.Before:
				r.LogStart = v.Start
			case v.Sealed:
				r.Err = ErrNotLeader
			default:
				return false
			}
		}
		d.done <- d.results
		return true
	})
}

// fail answers with err what has no answer of its own.
func (d *deletion) fail(err error) {
	for i := range d.results {
		if r := &d.results[i]; r.Err == nil && r.LogStart < 0 {
			r.Err = err
		}
	}
	d.done <- d.results
}
