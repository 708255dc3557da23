package ingest

import (
	"fmt"
	"time"
)

// maxUnwritten bounds what waits in memory for the write-ahead log's disk.
const maxUnwritten = 64 << 20

// full says why the write-ahead log takes no more: it has no room on disk, or the
// disk is too slow. nil: it does.
func (l *Leader) full() error {
	if err := l.wal.Full(); err != nil {
		return err
	}
	if n := l.wal.Unwritten(); n >= maxUnwritten {
		return fmt.Errorf("the disk is slow: %d bytes wait in memory to be written", n)
	}
	return nil
}

// room is since when the write-ahead log has taken nothing. A full log is no news
// by itself: that is how a log with a budget slows its clients down to what the
// bucket takes. One that stays full is.
type room struct {
	since    time.Time // zero: it takes records
	reported bool
	timer    *time.Timer
}

func newRoom() room {
	r := room{timer: time.NewTimer(time.Hour)}
	r.timer.Stop()
	return r
}

// watchRoom reports a write-ahead log that stays full, and that it is so no longer.
// The records of those who wait for its disk have no end to wait for then.
func (l *Leader) watchRoom() {
	r, err := &l.room, l.full()
	if err == nil {
		if r.reported {
			l.opt.OnFull(nil)
		}
		r.since, r.reported = time.Time{}, false
		return
	}
	now := l.opt.Now()
	if r.since.IsZero() {
		r.since = now
	}
	if wait := l.opt.FullPatience - now.Sub(r.since); wait > 0 {
		r.timer.Reset(wait)
		return
	}
	r.reported = true
	r.timer.Reset(l.opt.FullPatience)
	l.opt.OnFull(err)
	l.core.noRoom()
}
