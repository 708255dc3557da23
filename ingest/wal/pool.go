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

// spare is a file of the right size, with nothing in it that counts.
type spare struct {
	file File
	path string
}

// pool makes files ahead of the writer and takes released ones back, in its own
// goroutine. Only it touches files other than the one being written.
type pool struct {
	log   *Log
	files int // of this log: full ones, spares, and the one being written
	made  int // spares named so far
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
		if p.log.Full() != nil {
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
		if len(p.log.spares) < maxSpares {
			s, err := p.reuse(name)
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
		p.files--
	}
	return nil
}

// reuse makes a spare of a released file. Its old name is durably gone before
// the writer gets to overwrite it.
func (p *pool) reuse(name string) (spare, error) {
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
	return spare{f, path}, nil
}

// refill makes a file if there is no spare. Having no room for it is a state,
// not a failure.
func (p *pool) refill() error {
	if len(p.log.spares) > 0 {
		p.log.setFull(nil)
		return nil
	}
	opt := p.log.opt
	if need := int64(p.files+1) * opt.SegmentBytes; opt.MaxBytes > 0 && need > opt.MaxBytes {
		p.log.setFull(fmt.Errorf("%w: %d files of %d bytes would pass the disk budget of %d", ErrFull, p.files+1, opt.SegmentBytes, opt.MaxBytes))
		return nil
	}
	s, err := p.create()
	if errors.Is(err, ErrFull) {
		p.log.setFull(err)
		return nil
	}
	if err != nil {
		return err
	}
	p.files++
	p.log.spares <- s
	p.log.setFull(nil)
	return nil
}

// create makes a new file with disk space behind it. ErrFull says that there is
// none.
func (p *pool) create() (spare, error) {
	path := p.sparePath()
	fsys := p.log.opt.FS
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return spare{}, fmt.Errorf("make write-ahead file: %w", err)
	}
	err = f.Preallocate(p.log.opt.SegmentBytes)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		err = fmt.Errorf("reserve %d bytes for a write-ahead file: %w", p.log.opt.SegmentBytes, err)
		return spare{}, errors.Join(err, f.Close(), fsys.Remove(path))
	}
	return spare{f, path}, nil
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
