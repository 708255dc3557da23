package file

import (
	"fmt"
	"os"
	"syscall"
)

// disk changes the folder, one step at a time, each durable or not yet. Reading needs no
// such care and goes to the file system directly.
type disk interface {
	mkdir(path string) error              // not durable before the parent is synced
	create(path string) (diskFile, error) // a new file; fails with ErrExist
	link(path, newPath string) error      // fails with ErrExist; not durable before the folder is synced
	unlink(path string) error             // a file; not durable before the folder is synced
	syncFolder(path string) error         // the names in it
}

// diskFile is a new file, whose bytes are not durable before Sync.
type diskFile interface {
	Write(data []byte) (int, error)
	Sync() error
	Close() error
}

type osDisk struct{}

func (osDisk) mkdir(path string) error { return os.Mkdir(path, 0o777) }

// create makes the file read-only, because an object never changes again.
func (osDisk) create(path string) (diskFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	return osFile{f}, err
}

type osFile struct{ *os.File }

func (osDisk) link(path, newPath string) error { return os.Link(path, newPath) }

// unlink is not os.Remove, which removes empty folders as well.
func (osDisk) unlink(path string) error { return syscall.Unlink(path) }

func (osDisk) syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return fmt.Errorf("sync folder: %w", err)
	}
	return d.Close()
}
