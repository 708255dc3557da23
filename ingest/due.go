package ingest

import "time"

// policy says when the buffer is flushed.
type policy struct {
	interval   time.Duration // a record waits this long at most
	linger     time.Duration // and this long if the journal was idle for an interval
	flushBytes int           // or until this much is buffered
	earlyBytes int           // or until producers that send nothing more wait for this much
	maxMemory  int           // unflushed bytes above which batches are left to the write-ahead log
}

// waiting is the part of the buffer whose producers wait for its commit.
type waiting struct {
	bytes int
	last  time.Time // when the last of it came
}

// due is when the buffer is to be flushed; zero if it is empty. It is due at once
// when it is full, or when a client that asks where the log ends waits for it.
// Otherwise its oldest record waits until an interval has passed since the last flush.
// So a busy journal makes one object an interval, and a journal that was idle flushes
// after a short linger.
func (f *flusher) due() time.Time {
	if f.buffer.empty() {
		return time.Time{}
	}
	if f.buffer.spilled > 0 {
		return f.spillDue()
	}
	oldest := f.buffer.oldest()
	if f.buffer.bytes >= f.flushBytes || f.settleDue() {
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

// settleDue reports whether a flush is due for callers of settle. One object at a time
// is sent for them, whatever their number: they cause no more PUTs than the store
// takes one after the other.
func (f *flusher) settleDue() bool {
	return f.answers.settlement.awaited() && len(f.inFlight) == 0
}

// earlyDue is when a flush need not wait for the interval, because nothing is gained
// by it. A producer has a few requests under way, a Java producer five with 16 KiB for
// each partition, and sends more only when those are answered. With all windows full
// the interval would pass without another byte. A producer's throughput would be its
// window over the interval: 80 KiB four times a second.
//
// No message says that the windows are full, but it can be seen. The producers
// wait. No batch has come from them for as long as a flush lingers. No object
// is under way whose commit would let them go on. So objects grow with the
// load, as in any group commit: records that come during a PUT share the next.
//
// The price is more than one PUT an interval. The bytes limit their number: an early
// flush has earlyBytes at least, so a gigabyte costs at most 1 GB / earlyBytes of them.
// Producers that write less than that at a time share one flush an interval as before.
func (f *flusher) earlyDue() (time.Time, bool) {
	if f.waiting.bytes < f.earlyBytes || len(f.inFlight) > 0 {
		return time.Time{}, false
	}
	return f.waiting.last.Add(f.linger), true
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
