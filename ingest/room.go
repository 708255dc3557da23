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
// bucket takes. One that stays full is, until it has stayed free for twice as long:
// one that goes in and out is one trouble, not one every few seconds.
type room struct {
	since    time.Time // when it became full, or free; zero: it is free and nothing was reported
	was      bool      // full, at since
	reported bool
	timer    *time.Timer
}

func newRoom() room {
	r := room{timer: time.NewTimer(time.Hour)}
	r.timer.Stop()
	return r
}

// watchRoom reports a write-ahead log that stays full, and that it is so no longer.
func (l *Leader) watchRoom() { l.watchRoomAs(l.full()) }

// watchRoomAs is watchRoom with what full says.
func (l *Leader) watchRoomAs(err error) {
	r := &l.room
	if err == nil && !r.reported {
		r.since = time.Time{}
		return
	}
	now := l.opt.Now()
	if r.since.IsZero() || r.was != (err != nil) {
		r.since, r.was = now, err != nil
	}
	patience := l.opt.FullPatience
	if err == nil {
		patience *= 2
	}
	if wait := patience - now.Sub(r.since); wait > 0 {
		r.timer.Reset(wait)
		return
	}
	l.opt.OnFull(err)
	if r.reported = err != nil; r.reported {
		r.timer.Reset(l.opt.FullPatience)
		l.core.noRoom() // who waits for the disk has no end to wait for
	}
}
