package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// maxSpares is how many files are kept ready. One is made ahead; a second is
	// kept when it comes from a released file, so that a log in steady state
	// writes into files it already has and makes no new ones.
	maxSpares = 2
	// fullRetry is how often room is looked for when there was none: others may
	// free space without telling us.
	fullRetry = time.Second
)

// spare is a file with nothing in it that counts.
type spare struct {
	file File
	path string
	size int64
}

// pool makes files ahead of the writer and takes released ones back, in its own
// goroutine. Only it touches files other than the one being written.
type pool struct {
	log   *Log
	bytes int64     // of this log's files: full ones, spares, and the one being written
	made  int       // spares named so far
	grown time.Time // when a short file was last tried to be replaced
}

func (p *pool) run() {
	defer close(p.log.poolDone)
	for {
		err := p.recycle()
		if err == nil {
			err = p.refill()
		}
		if err != nil {
			p.log.fail(err)
			<-p.log.stopPool
			p.log.closeErr = p.drop()
			return
		}
		var retry <-chan time.Time
		if p.log.spareless() != nil {
			retry = time.After(fullRetry)
		}
		select {
		case <-p.log.wakePool:
		case <-retry:
		case <-p.log.stopPool:
			p.log.closeErr = p.drop()
			return
		}
	}
}

// recycle takes the released files: some become spares, the rest goes. They go
// in order, each durably before the next, so that the files of a log are
// always without a gap.
func (p *pool) recycle() error {
	for _, f := range p.log.takeReleased() {
		name := filepath.Join(p.log.dir, walName(f.number))
		if f.size < p.log.opt.SegmentBytes {
			if err := p.replace(f); err != nil {
				return err
			}
		}
		if keep := len(p.log.spares); keep == 0 || keep < maxSpares && f.size == p.log.opt.SegmentBytes {
			s, err := p.reuse(name, f.size)
			if err != nil {
				return err
			}
			p.log.spares <- s // has room: only this goroutine sends
			continue
		}
		if err := p.log.opt.FS.Remove(name); err != nil {
			return fmt.Errorf("remove released file: %w", err)
		}
		if err := p.log.opt.FS.SyncDir(p.log.dir); err != nil {
			return fmt.Errorf("sync folder after removal: %w", err)
		}
		p.addBytes(-f.size)
	}
	return nil
}

// replace makes a file of full size in the place of one that was made short while
// there was no room, if there is room by now.
func (p *pool) replace(f closedFile) error {
	opt := p.log.opt
	now := opt.Now()
	if len(p.log.spares) > 0 || now.Sub(p.grown) < fullRetry || opt.MaxBytes > 0 && p.bytes+opt.SegmentBytes > opt.MaxBytes {
		return nil
	}
	p.grown = now
	s, err := p.makeFile(opt.SegmentBytes)
	if errors.Is(err, ErrFull) {
		return nil
	}
	if err == nil {
		p.log.spares <- s
	}
	return err
}

// reuse makes a spare of a released file. Its old name is durably gone before
// the writer gets to overwrite it.
func (p *pool) reuse(name string, size int64) (spare, error) {
	path := p.sparePath()
	if err := p.log.opt.FS.Rename(name, path); err != nil {
		return spare{}, fmt.Errorf("reuse released file: %w", err)
	}
	if err := p.log.opt.FS.SyncDir(p.log.dir); err != nil {
		return spare{}, fmt.Errorf("sync folder for reuse: %w", err)
	}
	f, err := p.log.opt.FS.OpenFile(path, os.O_RDWR)
	if err != nil {
		return spare{}, fmt.Errorf("reuse released file: %w", err)
	}
	return spare{f, path, size}, nil
}

// refill makes a file if there is no spare. Having no room for it is a state,
// not a failure.
func (p *pool) refill() error {
	if len(p.log.spares) > 0 {
		p.log.setNoSpare(nil)
		return nil
	}
	s, err := p.create()
	if errors.Is(err, ErrFull) {
		p.log.setNoSpare(err)
		return nil
	}
	if err != nil {
		return err
	}
	p.log.spares <- s
	p.log.setNoSpare(nil)
	return nil
}

// create makes a new file with disk space behind it, a shorter one where there is
// little. ErrFull says that there is not even room for that.
func (p *pool) create() (spare, error) {
	opt := p.log.opt
	size := opt.SegmentBytes
	if opt.MaxBytes > 0 {
		if size = min(size, (opt.MaxBytes-p.bytes)/sectorSize*sectorSize); size < opt.LeastBytes {
			return spare{}, fmt.Errorf("%w: the files take %d bytes and may take %d", ErrFull, p.bytes, opt.MaxBytes)
		}
	}
	for {
		s, err := p.makeFile(size)
		if !errors.Is(err, ErrFull) || size == opt.LeastBytes {
			return s, err
		}
		size = max(size/2/sectorSize*sectorSize, opt.LeastBytes)
	}
}

// makeFile makes a new file of a size.
func (p *pool) makeFile(size int64) (spare, error) {
	path := p.sparePath()
	fsys := p.log.opt.FS
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return spare{}, fmt.Errorf("make write-ahead file: %w", asFull(err))
	}
	if err = f.Preallocate(size); err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = fmt.Errorf("reserve %d bytes for a write-ahead file: %w", size, asFull(err))
		return spare{}, errors.Join(err, f.Close(), fsys.Remove(path))
	}
	p.addBytes(size)
	return spare{f, path, size}, nil
}

// asFull adds ErrFull to an error that passes when there is room: for bytes, for
// names, or in the table of open files.
func asFull(err error) error {
	for _, passing := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, passing) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// addBytes counts what the files take.
func (p *pool) addBytes(n int64) {
	p.bytes += n
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.mu.files = p.bytes
}

// spareless is why there is no spare; nil if there is one, or it is on its way.
func (l *Log) spareless() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.noSpare
}

func (p *pool) sparePath() string {
	p.made++
	return filepath.Join(p.log.dir, fmt.Sprintf("%012d%s", p.made, spareSuffix))
}

// drop removes the spares when the log is closed.
func (p *pool) drop() error {
	var errs []error
	for len(p.log.spares) > 0 {
		s := <-p.log.spares
		errs = append(errs, s.file.Close(), p.log.opt.FS.Remove(s.path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove spare write-ahead files: %w", err)
	}
	return nil
}
