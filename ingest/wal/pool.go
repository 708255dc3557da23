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
	// maxSpares is how many files are kept ready. One is made ahead. A second
	// is kept if it comes from a released file, so that a log in steady state
	// writes into existing files and makes no new ones.
	maxSpares = 2
	// fullRetry is the pause between two checks for room: other programs may
	// free space, and the log gets no notice of it.
	fullRetry = time.Second
)

// spare is a file whose content does not count.
type spare struct {
	file File
	path string
	size int64
}

// pool makes files ahead of the writer and takes released ones back, in its own
// goroutine. Only the pool touches files other than the current one.
type pool struct {
	log   *Log
	bytes int64     // of this log's files: full ones, spares, and the current one
	made  int       // spares named so far
	grown time.Time // time of the last attempt to replace a short file

	released []closedFile // to be taken back, lowest first
	begun    bool         // the first of them has lost its name
	reused   string       // its present name; empty if it was removed
}

func (p *pool) run() {
	defer close(p.log.poolDone)
	for {
		stuck := p.recycle()
		err := stuck
		if NoDescriptors(stuck) {
			err = nil
		}
		if err == nil {
			err = p.refill(stuck)
		}
		if err != nil {
			p.log.fail(err)
			<-p.log.stopPool
			p.log.closeErr = p.drop()
			return
		}
		var retry <-chan time.Time
		if stuck != nil || p.log.spareless() != nil {
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

// recycle takes the released files: some become spares, the rest are removed.
// It takes them in order, each durably before the next, so that there is never
// a gap in the files of a log.
func (p *pool) recycle() error {
	p.released = append(p.released, p.log.takeReleased()...)
	for len(p.released) > 0 {
		if err := p.takeBack(p.released[0]); err != nil {
			return err
		}
		p.released, p.begun = p.released[1:], false
	}
	return nil
}

// takeBack makes a spare of a released file, or removes it. After an error that
// passes, the next call goes on from there.
func (p *pool) takeBack(f closedFile) error {
	if err := p.unname(f); err != nil {
		return err
	}
	// The old name is durably gone before the writer may overwrite the file.
	if err := p.log.opt.FS.SyncDir(p.log.dir); err != nil {
		return fmt.Errorf("sync folder for %s, which is not needed any more: %w", walName(f.number), err)
	}
	if p.reused == "" {
		p.addBytes(-f.size)
		return nil
	}
	file, err := p.log.opt.FS.OpenFile(p.reused, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("reuse released file: %w", err)
	}
	p.log.spares <- spare{file, p.reused, f.size} // does not block: only this goroutine sends
	return nil
}

// unname removes the name of a released file, once.
func (p *pool) unname(f closedFile) error {
	if p.begun {
		return nil
	}
	name := filepath.Join(p.log.dir, walName(f.number))
	if f.size < p.log.opt.SegmentBytes {
		if err := p.replace(f); err != nil {
			return err
		}
	}
	p.reused = ""
	if keep := len(p.log.spares); keep == 0 || keep < maxSpares && f.size == p.log.opt.SegmentBytes {
		p.reused = p.sparePath()
		if err := p.log.opt.FS.Rename(name, p.reused); err != nil {
			return fmt.Errorf("reuse released file: %w", err)
		}
	} else if err := p.log.opt.FS.Remove(name); err != nil {
		return fmt.Errorf("remove released file: %w", err)
	}
	p.begun = true
	return nil
}

// replace makes a file of full size in place of one that was made short for
// lack of room, if there is room now.
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

// refill makes a file if there is no spare. Having no room for it is a state,
// not a failure. stuck is why a released file was not taken back, or nil.
func (p *pool) refill(stuck error) error {
	if len(p.log.spares) > 0 {
		p.log.setNoSpare(nil)
		return nil
	}
	s, err := p.create()
	if errors.Is(err, ErrFull) {
		if stuck != nil {
			err = fmt.Errorf("%w; %w", err, stuck)
		}
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

// create makes a new file with disk space for it, a shorter one if there is
// little. ErrFull means that there is not even room for that.
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

// asFull adds ErrFull to an error that passes when there is room for bytes, for
// names, or in the table of open files.
func asFull(err error) error {
	if NoDescriptors(err) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// addBytes counts the size of the files.
func (p *pool) addBytes(n int64) {
	p.bytes += n
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.mu.files = p.bytes
}

// spareless returns why there is no spare; nil if there is one, or one is being
// made.
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
	if p.begun && p.reused != "" {
		errs = append(errs, p.log.opt.FS.Remove(p.reused))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove spare write-ahead files: %w", err)
	}
	return nil
}
