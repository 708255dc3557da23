package file

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	// tempFolder holds objects that have no name yet. It lies in the root, and
	// so in the same file system as what is linked from it.
	tempFolder = ".tmp"

	// tempAge is how old a temporary file must be to be removed at Open. The
	// creator of a younger one may be alive, in another process.
	tempAge = time.Hour
)

// temps are the files that wait for their name.
type temps struct {
	folder  string
	folders *folders
}

// write returns the name of a new temporary file with synced data.
func (t temps) write(data []byte) (name string, err error) {
	if err := t.folders.ensure(t.folder); err != nil {
		return "", err
	}
	// Read-only, because an object never changes again.
	name = filepath.Join(t.folder, fmt.Sprintf("%016x", rand.Uint64()))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		t.folders.forget()
		return "", err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(name)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("sync data: %w", err)
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return name, nil
}

// clean removes temporary files that nobody can be writing any more. A folder
// that may only be read is left alone.
func (t temps) clean() error {
	entries, err := os.ReadDir(t.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if time.Since(info.ModTime()) < tempAge {
			continue
		}
		err = os.Remove(filepath.Join(t.folder, entry.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !unwritable(err) {
			return err
		}
	}
	return nil
}
