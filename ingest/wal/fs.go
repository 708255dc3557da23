package wal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// FS is the disk. Errors are those of package os: errors.Is with fs.ErrExist,
// fs.ErrNotExist and syscall.ENOSPC must work.
type FS interface {
	// OpenFile opens a file with the os.O_ flags given; new files get mode 0600.
	OpenFile(name string, flag int) (File, error)
	// Mkdir makes one directory with mode 0700.
	Mkdir(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)
	// Rename replaces new by old, atomically; durable after SyncDir of both
	// directories.
	Rename(old, new string) error
	// Remove deletes a file or an empty directory; durable after SyncDir.
	Remove(name string) error
	// SyncDir makes the names in a directory durable. It may need to open it.
	// The errors syscall.EMFILE and syscall.ENFILE then mean that it did not
	// even try to sync.
	SyncDir(name string) error
}

// File is an open file. It is used by one goroutine at a time.
type File interface {
	io.ReaderAt
	io.WriterAt
	// WriteVec writes the pieces one after the other from off, all of them or
	// with an error. There are at most 1024.
	WriteVec(pieces [][]byte, off int64) error
	// Preallocate gives a new, empty file size bytes of zeros with disk space
	// for them, so that later writes below size change no metadata.
	Preallocate(size int64) error
	// Sync makes the file's bytes, and the size needed to read them, durable.
	Sync() error
	// Size returns the file's length in bytes.
	Size() (int64, error)
	Close() error
}

// NoDescriptors reports whether an error says that file descriptors are used
// up. Only operations that open a file have this error: they did nothing, and
// can be tried again later. An fsync that was attempted does not have it.
func NoDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// OS is the operating system's file system.
type OS struct{}

// OpenFile implements FS.
func (OS) OpenFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Mkdir implements FS.
func (OS) Mkdir(name string) error { return os.Mkdir(name, 0o700) }

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Rename implements FS.
func (OS) Rename(old, new string) error { return os.Rename(old, new) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// writeZeros fills a new file. Reserving the space alone is not enough, because
// the first write to a reserved extent changes metadata. That makes each commit
// about half as long again as one into blocks that were written before.
func writeZeros(f io.WriterAt, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// makeDirs makes dir and its missing parents, and makes them durable. It syncs
// the parent even if dir exists: the process that made dir may have died before
// it could.
func makeDirs(fsys FS, dir string) error {
	err := fsys.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(fsys, filepath.Dir(dir)); err != nil {
			return err
		}
		err = fsys.Mkdir(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(filepath.Dir(dir))
}
