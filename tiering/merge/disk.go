package merge

import (
	"errors"
	"fmt"
	"io"
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

// Create implements Disk.
func (f Folder) Create(name string) (File, error) {
	file, err := os.OpenFile(filepath.Join(string(f), name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{file}, nil
}

type osFile struct{ *os.File }

// Remove implements File.
func (f osFile) Remove() error { return errors.Join(f.Close(), os.Remove(f.Name())) }
