package ingest

// answers are the clients that wait until appended batches are safe, by LSNs of this
// leadership's write-ahead log.
//
// Invariant: a waiter's LSN is above the one that it waits for, and at most appended.
type answers struct {
	appended  uint64 // of the last batch appended
	synced    uint64 // everything up to it is synced
	committed uint64 // everything up to it is in the bucket

	onSync     waiters // acks=1
	onCommit   waiters // acks=all
	settlement settlement
}

// wasAppended counts batches, and returns the LSN of the last.
func (a *answers) wasAppended(batches int) uint64 {
	a.appended += uint64(batches)
	return a.appended
}

// await answers once everything up to the waiter's LSN is as safe as acks asks.
// needsSync reports that nothing will be, unless the write-ahead log is synced.
func (a *answers) await(acks Acks, w waiter) (needsSync bool) {
	if acks != AcksAll {
		a.settlement.promise(w.until, a.committed)
	}
	switch {
	case acks == AcksLeader && w.until > a.safeLocally():
		a.onSync.add(w)
		return true
	case acks == AcksAll && w.until > a.committed:
		a.onCommit.add(w)
		return false
	}
	w.done(w.results)
	return false
}

// isSynced reports whether the write-ahead log is durable up to lsn.
func (a *answers) isSynced(lsn uint64) bool { return lsn <= a.synced }

func (a *answers) safeLocally() uint64 { return max(a.synced, a.committed) }

// wasSynced: the write-ahead log is durable up to lsn.
func (a *answers) wasSynced(lsn uint64) {
	a.synced = max(a.synced, lsn)
	a.onSync.release(a.safeLocally())
}

// wasCommitted: the bucket has everything up to lsn. It returns how many clients waited
// for that and were answered. Callers of settle are answered by releaseSettled, after the
// event.
func (a *answers) wasCommitted(lsn uint64) (answered int) {
	a.committed = lsn
	answered = a.onCommit.release(lsn)
	a.onSync.release(a.safeLocally())
	a.settlement.promise(0, lsn)
	return answered
}

// settled reports whether everything that clients may take for stored is committed.
func (a *answers) settled() bool { return a.settlement.promised <= a.committed }

// unsettled is the opposite, for any goroutine.
func (a *answers) unsettled() bool { return a.settlement.open.Load() }

// releaseSettled answers the callers of settle whose batches are committed.
func (a *answers) releaseSettled() { a.settlement.release(a.committed) }

// stall answers the clients that wait for the bucket.
func (a *answers) stall(err error) {
	a.onCommit.fail(err)
	a.settlement.fail(err)
}

// noRoom answers the clients that wait for the disk.
func (a *answers) noRoom(err error) { a.onSync.fail(err) }

// fail answers every client. The outcome of its batches is unknown.
func (a *answers) fail(err error) {
	a.settlement.fail(err)
	a.onSync.fail(err)
	a.onCommit.fail(err)
}
