package ingest

import (
	"fmt"
	"time"
)

// maxUnwritten bounds the bytes that wait in memory for the write-ahead log's disk.
const maxUnwritten = 64 << 20

// full is why the write-ahead log takes no more: it has no room on disk, or the
// disk is too slow. nil: it takes more.
func (m *machine) full() error {
	if err := m.disk.Full(); err != nil {
		return err
	}
	if n := m.disk.Unwritten(); n >= maxUnwritten {
		return fmt.Errorf("the disk is slow: %d bytes wait in memory to be written", n)
	}
	return nil
}

// room watches a write-ahead log that has no room. A full log is no trouble by
// itself: that is how a log with a budget slows its clients down to the speed
// of the bucket. A log that stays full is a trouble, until it has stayed free
// for twice as long. So a log that is full again and again is one trouble, not
// one every few seconds.
type room struct {
	patience time.Duration
	report   func(error) // Options.OnFull

	since    time.Time // when it became full, or free; zero: it is free and nothing was reported
	was      bool      // full, at since
	reported bool
}

// end withdraws the report of a log that is not written any more.
func (r *room) end() {
	if r.reported {
		r.report(nil)
	}
}

// look reports a log that stays full, and later that it no longer is. next is when to
// look again; zero: after the next event. waitedLong means that clients that wait for
// the disk may wait without end.
func (r *room) look(full error, clock func() time.Time) (next time.Time, waitedLong bool) {
	if full == nil && !r.reported {
		r.since = time.Time{}
		return time.Time{}, false
	}
	now := clock()
	if r.since.IsZero() || r.was != (full != nil) {
		r.since, r.was = now, full != nil
	}
	patience := r.patience
	if full == nil {
		patience *= 2
	}
	if until := r.since.Add(patience); until.After(now) {
		return until, false
	}
	r.report(full)
	if r.reported = full != nil; !r.reported {
		return time.Time{}, false
	}
	return now.Add(r.patience), true
}
