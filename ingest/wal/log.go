package wal

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// More errors that callers decide on.
var (
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("write-ahead log is closed")
	// ErrFull: the current file is full, and the disk, or the budget given in
	// Options, has no room for another one. It passes when records are released
	// or space becomes free.
	ErrFull = errors.New("no room for write-ahead files")
)

// Log is one incarnation's log, open for appending. Append, Sync, ReadBack and
// Release are for one caller; any goroutine may call the other methods.
//
// Two goroutines run from Open to Close: the writer owns the current file, the
// pool owns all other files.
type Log struct {
	opt Options
	dir string // of this incarnation

	notify     chan struct{} // capacity 1: the owner has a change to look at
	wakeWriter chan struct{} // capacity 1
	wakePool   chan struct{} // capacity 1
	spares     chan spare    // from the pool to the writer
	stopPool   chan struct{}
	writerDone chan struct{}
	poolDone   chan struct{}
	closeOnce  sync.Once
	closeErr   error  // of closing the files; read after closeOnce
	back       cursor // of ReadBack

	mu struct {
		sync.Mutex
		queue    []Record // appended, not yet taken by the writer; LSNs up to next-1
		next     uint64   // LSN that the next record gets
		want     uint64   // highest LSN for which a sync was requested
		synced   uint64   // every record up to here is durable
		released uint64   // every record up to here is in the bucket
		closed   []closedFile
		current  uint64 // number of the current file, or of the next one
		waiting  int64  // bytes in a file of the records that are not written yet
		held     int64  // bytes of their memory
		room     int64  // bytes left in the current file; 0 if there is none
		files    int64  // bytes of all files
		err      error  // the first failure; final
		noSpare  error  // why there is no spare; nil if there is one or one is being made
		unnamed  error  // why the next file cannot be used though it exists, or nil
		closing  bool
	}
}

// closedFile is a full file, synced, in LSN order in Log.mu.closed.
type closedFile struct {
	number uint64
	last   uint64 // LSN of its last record
	size   int64
}

// Open makes the incarnation's folder and first file, durably, and starts the
// log. If there is no room for a file, the log is Full from the start: the
// owner may make room by moving older logs to the bucket. Open does not touch
// these, except that it finishes removals that were interrupted. No other
// process may use the folder.
func Open(opt Options) (*Log, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	if opt.Incarnation.IsZero() {
		return nil, errors.New("open write-ahead log: incarnation id is not set")
	}
	dir, err := makeIncarnationDir(opt)
	if err != nil {
		return nil, fmt.Errorf("open write-ahead log in %s: %w", opt.Dir, err)
	}
	l := &Log{
		opt: opt, dir: dir,
		notify:     make(chan struct{}, 1),
		wakeWriter: make(chan struct{}, 1),
		wakePool:   make(chan struct{}, 1),
		spares:     make(chan spare, maxSpares),
		stopPool:   make(chan struct{}),
		writerDone: make(chan struct{}),
		poolDone:   make(chan struct{}),
	}
	l.mu.next, l.mu.current = 1, 1
	p, w := &pool{log: l}, &writer{log: l, out: newGather(), next: 1}
	first, err := p.create()
	switch {
	case errors.Is(err, ErrFull):
		l.mu.noSpare = err
	case err != nil:
		return nil, fmt.Errorf("open write-ahead log in %s: %w", dir, err)
	default:
		if err := w.use(&first, 1); NoDescriptors(err) {
			l.spares <- first // the writer uses it when that is possible
		} else if err != nil {
			return nil, fmt.Errorf("open write-ahead log in %s: %w", dir, errors.Join(err, first.file.Close()))
		}
	}
	go p.run()
	go w.run()
	return l, nil
}

// makeIncarnationDir makes the folder of a new log, in order after all others.
func makeIncarnationDir(opt Options) (string, error) {
	if err := makeDirs(opt.FS, opt.Dir); err != nil {
		return "", err
	}
	names, err := opt.FS.ReadDir(opt.Dir)
	if err != nil {
		return "", err
	}
	var last uint64
	for _, name := range names {
		if strings.HasSuffix(name, deadSuffix) {
			if err := removeDead(opt.FS, filepath.Join(opt.Dir, name)); err != nil {
				return "", err
			}
			continue
		}
		ordinal, id, ok := parseIncarnationName(name)
		if ok && id == opt.Incarnation {
			return "", fmt.Errorf("incarnation %s already has a log here: open a new one under a new id", id)
		}
		last = max(last, ordinal)
	}
	dir := filepath.Join(opt.Dir, incarnationName(last+1, opt.Incarnation))
	if err := opt.FS.Mkdir(dir); err != nil {
		return "", err
	}
	return dir, opt.FS.SyncDir(opt.Dir)
}

// Append gives the records the next LSNs, which it stores in recs, and hands
// them to the writer. It returns the last LSN. It never waits for the disk. It
// does not copy the batches: they must not change until the records are written, and
// it retains their memory until then. The records are written promptly, but durable
// only after a Sync.
//
// The error is ErrTooLarge, ErrClosed or the one that Err returns; the log then
// holds none of the records.
func (l *Log) Append(recs []Record) (last uint64, err error) {
	var bytes int64
	for i := range recs {
		n := len(recs[i].Batch)
		if n == 0 {
			return 0, errors.New("append to write-ahead log: empty batch")
		}
		if n > l.MaxBatch() {
			return 0, fmt.Errorf("append to write-ahead log: batch of %d bytes, at most %d: %w", n, l.MaxBatch(), ErrTooLarge)
		}
		bytes += int64(recordSize(n))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.err != nil {
		return 0, l.mu.err
	}
	if l.mu.closing {
		return 0, ErrClosed
	}
	for i := range recs {
		recs[i].LSN = l.mu.next
		recs[i].Memory.Retain()
		l.mu.next++
		hold(recs, i)
		l.mu.held += recs[i].held
	}
	l.mu.queue = append(l.mu.queue, recs...)
	l.mu.waiting += bytes
	kick(l.wakeWriter)
	return l.mu.next - 1, nil
}

// hold notes how much memory the i-th record keeps that the one before it does not.
func hold(recs []Record, i int) {
	r := &recs[i]
	switch {
	case r.Memory == nil:
		r.held = int64(len(r.Batch))
	case i > 0 && recs[i-1].Memory == r.Memory:
		r.held = 0
	default:
		r.held = int64(len(r.Memory.Bytes()))
	}
}

// MaxBatch is the length of the longest batch that Append takes.
func (l *Log) MaxBatch() int { return l.opt.maxRecord() - recordHeaderSize }

// Sync requests that every record up to lsn become durable. It returns at once.
// The channel of Synced signals when to look at SyncedLSN.
func (l *Log) Sync(lsn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if want := min(lsn, l.mu.next-1); want > l.mu.want {
		l.mu.want = want
		kick(l.wakeWriter)
	}
}

// Synced returns a channel that gets a value, without blocking, whenever
// SyncedLSN, Err or Full have changed. One value may stand for several changes.
func (l *Log) Synced() <-chan struct{} { return l.notify }

// SyncedLSN returns the LSN up to which every record is durable; 0 for none.
func (l *Log) SyncedLSN() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.synced
}

// Err returns the failure that ended the log, or nil. It is final: nothing more
// will be written or reported synced. The process should end, because the
// effect of a failed sync on the disk cannot be known.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.err
}

// Full returns an error that wraps ErrFull while the current file is full and
// there is no room for another one, else nil. Records appended until then wait
// in memory, so the owner should accept no more until it is nil again.
func (l *Log) Full() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full()
}

// full is Full with the lock held.
func (l *Log) full() error {
	if l.mu.room-l.mu.waiting >= l.opt.reserve() {
		return nil
	}
	return cmp.Or(l.mu.unnamed, l.mu.noSpare)
}

// Release notes that every record up to lsn is in the bucket. Files with only
// such records are reused or removed, in the background.
func (l *Log) Release(lsn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if released := min(lsn, l.mu.next-1); released > l.mu.released {
		l.mu.released = released
		kick(l.wakePool)
		if l.mu.noSpare != nil {
			kick(l.wakeWriter) // it may give its file back
		}
	}
}

// FileBytes returns how much disk the files of the log take, with those made
// ahead.
func (l *Log) FileBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.files
}

// Unwritten returns the bytes of memory that records keep until they are written. There
// may be more in it than their batches.
func (l *Log) Unwritten() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.held
}

// Close writes and syncs all appended records, stops the log and waits for its
// goroutines. The files stay for a later Scan. It returns the error of Err, or
// ErrFull if there was no room for the last records and the bucket lacks some.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.mu.Lock()
		l.mu.closing = true
		l.mu.want = l.mu.next - 1
		l.mu.Unlock()
		kick(l.wakeWriter)
		<-l.writerDone
		close(l.stopPool)
		<-l.poolDone
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.mu.err, l.closeErr)
}

// fail records the first failure. After it, nothing is reported as synced.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.err == nil {
		l.mu.err = fmt.Errorf("write-ahead log %s: %w", l.dir, err)
	}
	kick(l.notify)
	kick(l.wakeWriter)
}

// setNoSpare notes why there is no spare, or with nil that there is one.
func (l *Log) setNoSpare(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := (err == nil) != (l.mu.noSpare == nil)
	l.mu.noSpare = err
	if changed {
		kick(l.notify)
		kick(l.wakeWriter)
	}
}

// takeReleased removes the files that hold only released records from the list
// and returns them, lowest first.
func (l *Log) takeReleased() []closedFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.mu.closed) && l.mu.closed[n].last <= l.mu.released {
		n++
	}
	gone := slices.Clone(l.mu.closed[:n])
	l.mu.closed = slices.Delete(l.mu.closed, 0, n)
	return gone
}

// kick sends to a channel of capacity 1 unless it holds a value already.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
