package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// writer lays out records and writes them, in its own goroutine. Only the
// writer touches the current file.
type writer struct {
	log    *Log
	file   File     // nil: there is none, for example if the last one is full and there is no next one
	seed   uint32   // header CRC of file
	number uint64   // of file, or of the last file
	size   int64    // of file
	pos    int64    // place of the next write
	out    gather   // laid out, not yet written
	recs   []Record // last taken from the queue; kept for its capacity
	next   uint64   // LSN of the next record
	synced uint64   // every record up to here is durable
	marked bool     // there is a mark at pos
}

// run is the writer's goroutine. One turn writes everything queued, then syncs
// once if a sync was requested. That is the group commit: while the disk is
// busy the queue grows.
func (w *writer) run() {
	defer close(w.log.writerDone)
	if err := w.loop(); err != nil && !errors.Is(err, errNotNeeded) {
		w.log.fail(err)
	}
	release(w.recs)
	release(w.log.take(nil).recs) // none is written any more
	if w.file == nil {
		return
	}
	if err := w.file.Close(); err != nil {
		w.log.fail(fmt.Errorf("close %s: %w", walName(w.number), err))
	}
}

func (w *writer) loop() error {
	for {
		t := w.log.take(w.recs[:0])
		w.recs = t.recs
		switch {
		case t.failed:
			return nil // the pool's failure, recorded already
		case len(t.recs) > 0 || t.want > w.synced:
			if err := w.turn(t.recs, t.want); err != nil {
				return err
			}
			release(t.recs)
		case t.closing:
			return w.end()
		case t.giveBack && w.file != nil:
			if err := w.giveBack(); err != nil {
				return err
			}
		default:
			if err := w.mark(); err != nil {
				return err
			}
			<-w.log.wakeWriter
		}
	}
}

// release gives the batches of records back, which the log does not read any more.
func release(recs []Record) {
	for i := range recs {
		recs[i].Memory.Release()
	}
	clear(recs)
}

// task is the work that waits for the writer.
type task struct {
	recs    []Record
	want    uint64 // LSN to sync to
	closing bool   // no more work will follow
	failed  bool

	giveBack bool // the current file is full and the bucket has all of it: it may become the next one
}

// take hands the queue to the writer and puts an empty one in its place.
func (l *Log) take(empty []Record) task {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := task{recs: l.mu.queue, want: l.mu.want, closing: l.mu.closing, failed: l.mu.err != nil}
	t.giveBack = l.full() != nil && l.mu.released == l.mu.next-1
	l.mu.queue = empty
	return t
}

// turn writes the records and syncs if some LSN up to want is not durable.
// Between the two it reads want again: the owner may have requested a sync of
// the records it just appended.
func (w *writer) turn(recs []Record, want uint64) error {
	for i := range recs {
		if err := w.put(&recs[i]); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.log.wrote(recs, w.size-w.pos)
	if want <= w.synced && w.log.wanted() <= w.synced {
		return nil
	}
	return w.sync()
}

// wrote notes that recs are in a file, which has room bytes left.
func (l *Log) wrote(recs []Record, room int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range recs {
		l.mu.waiting -= int64(recordSize(len(recs[i].Batch)))
		l.mu.held -= recs[i].held
	}
	l.setRoom(room)
}

// began notes that a file is current, with room bytes left, or that none is.
func (l *Log) began(room int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setRoom(room)
}

// setRoom notes how many bytes the current file has left. The caller holds the
// lock.
func (l *Log) setRoom(room int64) {
	l.mu.room = room
	if l.mu.noSpare != nil {
		kick(l.notify) // Full may have changed
	}
}

func (l *Log) wanted() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.want
}

// put lays out one record. If it does not fit into the write, put writes the
// records before it first.
func (w *writer) put(r *Record) error {
	size := recordSize(len(r.Batch))
	if w.file == nil || w.pos+int64(w.out.size+size) > w.size {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	if !w.out.fits(len(r.Batch)) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.out.add(w.seed, r, w.synced)
	w.next = r.LSN + 1
	return nil
}

// flush writes the records that are laid out.
func (w *writer) flush() error {
	pieces, size := w.out.take()
	if size == 0 {
		return nil
	}
	w.marked = false
	if err := w.file.WriteVec(pieces, w.pos); err != nil {
		return fmt.Errorf("write %s: %w", walName(w.number), err)
	}
	w.out.reset()
	w.pos += int64(size)
	return nil
}

// sync makes everything written durable and reports it.
func (w *writer) sync() error {
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", walName(w.number), err)
	}
	w.synced = w.next - 1
	w.log.report(w.synced)
	return nil
}

// report publishes the durable LSN, unless the log has failed.
func (l *Log) report(synced uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.err == nil {
		l.mu.synced = synced
		kick(l.notify)
	}
}

// mark writes a mark after the last record, if all records are durable and
// there is room. It is not synced: it protects the last records against
// everything but the loss of the whole machine.
func (w *writer) mark() error {
	if w.file == nil || w.marked || w.synced != w.next-1 || w.pos+markSize > w.size {
		return nil
	}
	var buf [markSize]byte
	if _, err := w.file.WriteAt(appendMark(buf[:0], w.seed, w.next), w.pos); err != nil {
		return fmt.Errorf("write %s: %w", walName(w.number), err)
	}
	w.marked = true
	return nil
}

// end leaves a durable mark.
func (w *writer) end() error {
	if w.file == nil {
		return nil
	}
	if err := w.mark(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", walName(w.number), err)
	}
	return nil
}

// rotate goes on to the next file. It syncs the full file before the next one
// exists under its name, so only the last file can have a torn tail.
func (w *writer) rotate() error {
	if err := w.finish(); err != nil {
		return err
	}
	s, err := w.waitSpare()
	if err != nil {
		return err
	}
	full, done := w.file, closedFile{number: w.number, last: w.next - 1, size: w.size}
	if err := w.useWhenSynced(&s, w.number+1); err != nil {
		return errors.Join(err, s.file.Close())
	}
	if full == nil {
		return nil
	}
	w.log.addClosed(done)
	return w.close(full, done.number)
}

// finish makes all records of the current file durable.
func (w *writer) finish() error {
	if err := w.flush(); err != nil || w.synced == w.next-1 {
		return err
	}
	return w.sync()
}

// giveBack closes the current file before there is a next one. The pool takes
// it back when all its records are released: if there is room for one file
// only, that one is the next.
func (w *writer) giveBack() error {
	if err := w.finish(); err != nil {
		return err
	}
	full := w.file
	w.file = nil
	if err := w.close(full, w.number); err != nil {
		return err
	}
	w.log.addClosed(closedFile{number: w.number, last: w.next - 1, size: w.size})
	w.log.began(0)
	return nil
}

func (w *writer) close(f File, number uint64) error {
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", walName(number), err)
	}
	return nil
}

// useWhenSynced is use, but waits while the folder cannot be synced because
// file descriptors are used up.
func (w *writer) useWhenSynced(s *spare, number uint64) error {
	for {
		err := w.use(s, number)
		if !NoDescriptors(err) {
			w.log.setUnnamed(nil)
			return err
		}
		w.log.setUnnamed(fmt.Errorf("%w: %w", ErrFull, err))
		if err := w.waitUnnamed(err); err != nil {
			return err
		}
	}
}

// waitUnnamed waits until the next file may be tried again. It returns an error
// if the log ends before.
func (w *writer) waitUnnamed(why error) error {
	retry := time.After(fullRetry)
	for {
		l := w.log
		l.mu.Lock()
		err, closing, released := l.mu.err, l.mu.closing, l.mu.released == l.mu.next-1
		l.mu.Unlock()
		switch {
		case err != nil:
			return err
		case closing && released:
			return errNotNeeded
		case closing:
			return why
		}
		select {
		case <-retry:
			return nil
		case <-l.wakeWriter:
		}
	}
}

// setUnnamed notes why the next file cannot be used though it exists, or with
// nil that it can.
func (l *Log) setUnnamed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if changed := (err == nil) != (l.mu.unnamed == nil); changed {
		kick(l.notify)
	}
	l.mu.unnamed = err
	if err != nil {
		l.mu.room = 0 // there is none before the file has its name
	}
}

// use makes a spare the file with this number: header first, then the name, so
// that a file of that name always has a good header. It may be called again if
// the folder could not be opened for syncing.
func (w *writer) use(s *spare, number uint64) error {
	h, seed := w.log.opt.header(number, w.next).encode()
	if _, err := s.file.WriteAt(h, 0); err != nil {
		return fmt.Errorf("write header of %s: %w", walName(number), err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync header of %s: %w", walName(number), err)
	}
	named := filepath.Join(w.log.dir, walName(number))
	if err := w.log.opt.FS.Rename(s.path, named); err != nil {
		return fmt.Errorf("name %s: %w", walName(number), err)
	}
	s.path = named
	if err := w.log.opt.FS.SyncDir(w.log.dir); err != nil {
		return fmt.Errorf("sync folder for %s: %w", walName(number), err)
	}
	w.file, w.seed, w.number, w.size = s.file, seed, number, s.size
	w.pos, w.marked = headerSize, false
	w.log.began(w.size - w.pos)
	return nil
}

// errNotNeeded: the log is closed, and the bucket has the records for which
// there is no room.
var errNotNeeded = errors.New("every record is released")

// waitSpare waits for the next file. While there is no room for one, it gives
// the current file back and waits until there is room, or until the log is
// closed. It looks before it waits: the last notice of a release may have come
// before the records that do not fit.
func (w *writer) waitSpare() (spare, error) {
	l := w.log
	for {
		select {
		case s := <-l.spares:
			return w.takeSpare(s), nil
		default:
		}
		if err := w.withoutSpare(); err != nil {
			return spare{}, err
		}
		select {
		case s := <-l.spares:
			return w.takeSpare(s), nil
		case <-l.wakeWriter:
		}
	}
}

// takeSpare notes the room of a spare before the pool finds that there is no other: the
// log is not full.
func (w *writer) takeSpare(s spare) spare {
	w.log.began(s.size - headerSize)
	kick(w.log.wakePool)
	return s
}

// withoutSpare gives the current file back if there is no room for another. It
// returns an error if no file will come.
func (w *writer) withoutSpare() error {
	l := w.log
	l.mu.Lock()
	err, noSpare, closing, released := l.mu.err, l.mu.noSpare, l.mu.closing, l.mu.released == l.mu.next-1
	l.mu.Unlock()
	switch {
	case err != nil:
		return err
	case closing && noSpare != nil && released:
		return errNotNeeded
	case closing && noSpare != nil:
		return noSpare
	case noSpare != nil && w.file != nil:
		return w.giveBack()
	}
	return nil
}

func (l *Log) addClosed(f closedFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = append(l.mu.closed, f)
	l.mu.current = f.number + 1
	kick(l.wakePool)
}
