package merge

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Disk is the folder in which a job gathers records. Nothing in it has to survive the
// process.
type Disk interface {
	// Empty makes the folder if it is not there, and removes all that is in it.
	Empty() error
	// Create makes a new file, which takes the place of one of the same name.
	Create(name string) (File, error)
}

// File is a file that is written from its beginning to its end, and then read.
type File interface {
	io.Writer
	io.ReaderAt
	// Remove closes the file and removes it.
	Remove() error
}

// Folder is a Disk at a path.
type Folder string

// Empty implements Disk.
func (f Folder) Empty() error {
	if err := os.RemoveAll(string(f)); err != nil {
		return fmt.Errorf("empty the folder for merging: %w", err)
	}
	return os.MkdirAll(string(f), 0o700)
}

// Create implements Disk. It makes a folder that was removed again.
func (f Folder) Create(name string) (File, error) {
	path := filepath.Join(string(f), name)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(string(f), 0o700); err == nil {
			file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	return osFile{file}, nil
}

type osFile struct{ *os.File }

// Remove implements File.
func (f osFile) Remove() error {
	err := os.Remove(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(f.Close(), err)
}

// marked is a Disk each of whose errors is ErrDisk, wherever a job meets it: buffers write
// in the middle of other work.
type marked struct{ Disk }

func (d marked) Create(name string) (File, error) {
	f, err := d.Disk.Create(name)
	if err != nil {
		return nil, onDisk(err)
	}
	return markedFile{f}, nil
}

type markedFile struct{ File }

func (f markedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, onDisk(err)
}

func (f markedFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	return n, onDisk(err)
}

func onDisk(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDisk, err)
}
