package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

const (
	// tempFolder holds objects that have no name yet. It lies in the root, so links from
	// it stay in one file system.
	tempFolder = ".tmp"

	// tempAge is how old a temporary file must be to be removed at Open. The
	// creator of a younger one may be alive, in another process.
	tempAge = time.Hour

	// pieceSize is how much of a source is in memory.
	pieceSize = 1 << 20
)

// temps are the files that wait for their name.
type temps struct {
	disk    disk
	folder  string
	folders *folders
}

// write returns the name of a new temporary file with durable data.
func (t temps) write(ctx context.Context, body objstore.Body) (string, error) {
	if err := t.folders.ensure(t.folder); err != nil {
		return "", err
	}
	name := filepath.Join(t.folder, fmt.Sprintf("%016x", rand.Uint64()))
	f, err := t.disk.create(name)
	if err != nil {
		t.folders.forget() // perhaps the folder is gone
		return "", err
	}
	if err := fill(ctx, f, body); err != nil {
		t.remove(name)
		return "", err
	}
	return name, nil
}

// fill writes, syncs and closes a new file.
func fill(ctx context.Context, f diskFile, body objstore.Body) error {
	if err := write(ctx, f, body); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return fmt.Errorf("sync data: %w", err)
	}
	return f.Close()
}

// write writes the bytes of a body: those in memory at once, and those of a source piece
// by piece. A source may be shorter or other than its owner believes: no store after this
// one would notice.
func write(ctx context.Context, f diskFile, body objstore.Body) error {
	if body.Source == nil {
		_, err := f.Write(body.Bytes)
		return err
	}
	piece, from := make([]byte, pieceSize), body.Checked()
	for {
		n, err := io.ReadFull(from, piece)
		if ended := err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !ended {
			return err
		}
		if _, err := f.Write(piece[:n]); err != nil {
			return err
		}
		if n < len(piece) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// remove is best effort: a later Open removes a file that it leaves.
func (t temps) remove(name string) { t.disk.unlink(name) }

// clean removes temporary files that no process can be writing any more. It leaves a
// folder alone that may only be read.
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
		err = t.disk.unlink(filepath.Join(t.folder, entry.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !unwritable(err) {
			return err
		}
	}
	return nil
}
