package ingest

import "time"

// policy says when the buffer is flushed.
type policy struct {
	interval   time.Duration // a record that no client waits for waits this long at most
	linger     time.Duration // and others this long, if the journal is idle
	flushBytes int           // or until this much is buffered
	maxMemory  int           // unflushed bytes above which batches are left to the write-ahead log
}

// cheapBytes make a flush that needs nothing from the budget of PUTs: a gigabyte takes
// 16,000 of them at most.
const cheapBytes = 64 << 10

// dueShare: while objects are under way, clients that wait get a flush when the buffer has
// at least this part of the bytes under way.
const dueShare = 8

// waiting are the clients that wait for the commit of records in the buffer.
type waiting struct {
	first, last time.Time // when the first and the last of their requests came
	until       uint64    // LSN up to which they wait; 0: nothing
	owed        int       // clients that were just answered, and have sent nothing since
	complete    bool      // all of these have sent again
}

// await notes a request whose client waits for the commit of everything up to an LSN.
func (w *waiting) await(until uint64, now time.Time) {
	w.until = max(w.until, until)
	if w.first.IsZero() {
		w.first = now
	}
	w.last = now
	if w.owed > 0 {
		w.owed--
		w.complete = w.owed == 0
	}
}

// answered notes that clients were answered, and may send again.
func (w *waiting) answered(clients int) {
	if clients > 0 {
		w.owed += clients
		w.complete = false
	}
}

// flushed notes a flush, after which the buffer begins at an LSN. Clients that have not
// come back until then are not expected any more.
func (w *waiting) flushed(first uint64) {
	w.owed, w.complete = 0, false
	if w.until < first {
		w.first = time.Time{}
	}
}

// due is when the buffer is to be flushed; zero if it is empty. It is due at once when it
// is full. If clients wait for it, earlyDue says when. Otherwise its oldest record waits
// until an interval has passed since the last flush. So a busy journal makes one object an
// interval, and a journal that was idle flushes after a short linger.
func (f *flusher) due() time.Time {
	if f.buffer.empty() {
		return time.Time{}
	}
	if f.buffer.spilled > 0 {
		return f.spillDue()
	}
	oldest := f.buffer.oldest()
	if f.buffer.bytes >= f.flushBytes {
		return oldest
	}
	at := f.lastFlush.Add(f.interval)
	if soonest := oldest.Add(f.linger); at.Before(soonest) {
		at = soonest
	}
	if latest := oldest.Add(f.interval); at.After(latest) {
		at = latest
	}
	if early, ok := f.earlyDue(); ok && early.Before(at) {
		at = early
	}
	if len(f.buffer.entries) > 0 { // a client waits for a topic, and there are few of these
		if soon := f.buffer.entries[0].at.Add(f.linger); at.After(soon) {
			at = soon
		}
	}
	return at
}

// earlyDue is when a flush is due for the clients that wait, if any do. A flush of few
// bytes also waits for the budget of PUTs.
func (f *flusher) earlyDue() (at time.Time, ok bool) {
	if at, ok = f.awaitedDue(); !ok {
		return at, false
	}
	if f.buffer.bytes < cheapBytes {
		if paid := f.puts.next(f.now()); at.Before(paid) {
			at = paid
		}
	}
	return at, true
}

func (f *flusher) awaitedDue() (at time.Time, ok bool) {
	busy := len(f.inFlight) > 0
	w := &f.waiting
	switch {
	case f.answers.settlement.awaited() && !busy:
		return f.buffer.oldest(), true
	case w.first.IsZero():
		return at, false
	case busy && int64(f.buffer.bytes)*dueShare < f.underWay():
		return at, false
	case w.complete:
		return w.last, true
	case busy:
		return w.last.Add(f.linger), true
	}
	return w.first.Add(f.linger), true
}

// spillDue is now if the front is in memory or can be read back. Otherwise the event
// that the write-ahead log is synced comes first.
func (f *flusher) spillDue() time.Time {
	switch {
	case len(f.buffer.batches) > 0:
		return f.now()
	case !f.answers.isSynced(f.buffer.first):
		return time.Time{}
	case f.readAgain.After(f.now()):
		return f.readAgain
	}
	return f.now()
}
