// Package cache keeps files that tests need and no repository should hold:
// built programs and installed libraries, once for all clones of a user.
//
// It owns varve's folder in the user's cache folder. It promises that an entry
// is absent or whole, and that of two processes that make the same one the
// second waits for the first.
//
// It never deletes an entry: one with other pins has another name, and the user
// may delete the folder at any time.
package cache

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Path returns the path of an entry, whether it exists or not. The name has the
// system it is for and a hash of its pins, which alone decide its content.
func Path(name string, pins ...[]byte) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	hash := sha256.New()
	for _, pin := range pins {
		hash.Write(pin)
	}
	full := fmt.Sprintf("%s-%s-%s-%x", name, runtime.GOOS, runtime.GOARCH, hash.Sum(nil)[:4])
	return filepath.Join(cache, "varve", full), nil
}

// Folder returns the folder at a Path, and makes it first if it is missing.
// make fills an empty folder, which takes its name only when make has
// succeeded.
func Folder(path string, progress io.Writer, make func(dir string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	unlock, err := Lock(path+".lock", progress)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return nil // made by another process while we waited
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), "making-")
	if err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	defer os.RemoveAll(temp)
	if err := make(temp); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// Lock takes an exclusive lock on a file, which ends with the process. The file
// stays: deleting a lock file breaks the lock of the next process in line.
func Lock(path string, progress io.Writer) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	fd := int(file.Fd())
	if syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		fmt.Fprintf(progress, "waiting for another process that makes %s\n", path)
		for err = syscall.EINTR; err == syscall.EINTR; {
			err = syscall.Flock(fd, syscall.LOCK_EX)
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
	return func() { file.Close() }, nil
}
