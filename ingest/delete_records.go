package ingest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Deletion asks for the records of a partition before an offset to be deleted.
type Deletion struct {
	Key    partlog.Key
	Before int64 // the first offset to keep, or AllCommitted
}

// AllCommitted, as the Before of a Deletion, is the end of the committed
// records, with everything that was acknowledged before the Deletion.
const AllCommitted int64 = -1

// Deleted answers a Deletion, once it is committed.
type Deleted struct {
	LogStart int64 // the first offset that is left; -1 with an error
	Err      error
}

// ErrOutOfRange: there is no committed record before the offset of a Deletion.
// Nothing was deleted.
var ErrOutOfRange = errors.New("offset out of range")

// deletion is the command of one call of DeleteRecords.
//
// Invariant: a result that is not known yet has neither an error nor a start.
type deletion struct {
	core     *core
	wants    []Deletion
	results  []Deleted
	proposed bool
	done     chan<- []Deleted // capacity 1
}

// deleteRecords moves the starts of partitions up; done gets the results when that is
// committed. Retries of committed deletions cost no entry.
func (c *core) deleteRecords(wants []Deletion, done chan<- []Deleted) {
	d := &deletion{core: c, wants: slices.Clone(wants), results: slices.Repeat([]Deleted{{LogStart: -1}}, len(wants)), done: done}
	if err := c.refuses(AcksAll); err != nil {
		d.answer(err)
		return
	}
	if !slices.ContainsFunc(wants, c.beyond) {
		d.check()
		return
	}
	c.settle(func(err error) { // acknowledged records count as there
		if err != nil {
			d.answer(err)
			return
		}
		d.check()
	})
}

// beyond reports whether a deletion may be about records that are not committed.
func (c *core) beyond(want Deletion) bool {
	v, _ := c.state.Lookup(want.Key)
	return want.Before == AllCommitted || want.Before > v.End
}

// check starts the command with the deletions that are possible. A leader that was
// deposed may not know the end, so it proves the head before it says that an offset
// is out of range.
func (d *deletion) check() {
	if d.judge() {
		d.core.start(d)
		return
	}
	d.core.journal.Prove(func(err error) {
		switch {
		case err != nil:
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		case !d.core.leading():
			err = ErrNotLeader
		}
		for i := range d.results {
			if r := &d.results[i]; errors.Is(r.Err, ErrOutOfRange) {
				r.Err = err
			}
		}
		d.judge()
		d.core.start(d)
	})
}

// judge refuses the deletions that are not possible. inRange is false if one of them
// is beyond the committed end.
func (d *deletion) judge() (inRange bool) {
	inRange = true
	for i := range d.wants {
		want, r := &d.wants[i], &d.results[i]
		v, _ := d.core.state.Lookup(want.Key)
		if want.Before == AllCommitted {
			want.Before = v.End
		}
		switch {
		case r.Err != nil:
		case !d.core.ends.isOpen(want.Key):
			r.Err = ErrNotLeader
		case want.Before < 0 || want.Before > v.End:
			r.Err = fmt.Errorf("%w: records before offset %d cannot be deleted, the partition has %d to %d", ErrOutOfRange, want.Before, v.Start, v.End)
			inRange = false
		}
	}
	return inRange
}

// propose adds an entry for each start that is not there already.
func (d *deletion) propose(add func(segment.Entry)) {
	if d.proposed {
		return
	}
	d.proposed = true
	for i, want := range d.wants {
		if v, _ := d.core.state.Lookup(want.Key); d.results[i].Err == nil && want.Before > v.Start {
			add(partlog.DeleteRecords{Key: want.Key, Before: want.Before}.Encode())
		}
	}
}

// reached notes the results that are known, and reports whether all are.
func (d *deletion) reached() bool {
	for i, want := range d.wants {
		r := &d.results[i]
		if r.Err != nil || r.LogStart >= 0 {
			continue
		}
		switch v, _ := d.core.state.Lookup(want.Key); {
		case v.Start >= want.Before:
			r.LogStart = v.Start
		case v.Sealed:
			r.Err = ErrNotLeader
		default:
			return false
		}
	}
	return true
}

// answer gives err to the deletions that have no result of their own.
func (d *deletion) answer(err error) {
	for i := range d.results {
		if r := &d.results[i]; r.Err == nil && r.LogStart < 0 {
			r.Err = err
		}
	}
	d.done <- d.results
}
