// Package file is a bucket in a local folder: an object is a file, its key the
// path below the folder.
//
// It owns that folder. It promises that Create is atomic between any number of
// processes, and durable: when it returns nil, the bytes, the name, and every folder
// above it have been synced. An object that a reader gets is durable too, as far as this
// process can know. If another process is creating it at this very moment, a reader may
// see it one sync too early. The package never replaces a file, never follows a key out
// of the folder, and never removes the folders that deleted objects leave empty.
//
// It needs a file system whose link(2) fails when the name exists, and fsync of files
// and folders. A key cannot also be the parent of other keys, and keys that differ only
// in case need a file system that keeps them apart.
//
// System calls on a disk that hangs cannot be given up. The context is checked between
// them.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Store is a bucket in a folder. All methods may be called concurrently.
type Store struct {
	disk    disk
	root    string
	folders *folders
	pending *pending
	temps   temps
	ages    ages
}

// Open opens the bucket in the folder root, which must exist. It removes the temporary
// files of creators that died long ago.
func Open(root string) (*Store, error) { return openOn(osDisk{}, root) }

func openOn(disk disk, root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", root, err)
	}
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open folder %s: %w: create it first", root, objstore.ErrNoBucket)
	case err != nil:
		return nil, fmt.Errorf("open folder %s: %w", root, classify(err))
	case !info.IsDir():
		return nil, fmt.Errorf("open folder %s: not a folder", root)
	}
	s := &Store{disk: disk, root: root, folders: newFolders(disk, root), pending: newPending()}
	s.ages.opened = time.Now()
	s.temps = temps{disk: disk, folder: filepath.Join(root, tempFolder), folders: s.folders}
	if err := s.temps.clean(); err != nil {
		return nil, fmt.Errorf("open folder %s: %w", root, classify(err))
	}
	return s, nil
}

// EnsureFolder creates root and the folders above it, durably, if they are
// missing.
func EnsureFolder(root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return fmt.Errorf("create folder %s: %w", root, err)
	}
	if err := makeFolder(osDisk{}, root); err != nil {
		return fmt.Errorf("create folder %s: %w", root, classify(err))
	}
	return nil
}

// Create implements objstore.Store. The order makes it safe. The bytes are synced before
// they get their name, so the name never stands for a part of them. The folder that
// holds the name is synced before success.
func (s *Store) Create(ctx context.Context, key string, body objstore.Body) error {
	defer body.Done() // a write that was given up is over: the kernel has copied the bytes
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := objstore.CheckCreate(key, body); err != nil {
		return err
	}
	if err := s.create(ctx, key, path, body); err != nil {
		return s.explain("create", key, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context, key, path string, body objstore.Body) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if err := s.folders.ensure(folder); err != nil {
		return err
	}
	// Losing to a file that is there already costs no sync of the data.
	if _, err := os.Lstat(path); err == nil {
		return s.lost(path)
	}
	temp, err := s.temps.write(ctx, body)
	if err != nil {
		return err
	}
	defer s.temps.remove(temp) // its second name, or all of it
	if err := ctx.Err(); err != nil {
		return err
	}

	s.pending.add(key)
	defer s.pending.remove(key)
	if err := s.disk.link(temp, path); errors.Is(err, fs.ErrExist) {
		return s.lost(path)
	} else if err != nil {
		s.folders.forget()
		return err
	}
	if err := s.disk.syncFolder(folder); err != nil {
		s.folders.forget() // so that a reader who finds the object tries again
		return err
	}
	return nil
}

// lost is the end of a Create that found the name taken. The caller will read the object
// and may take it for its own. So it must be as durable as a success, also when its
// creator failed to sync the folder.
func (s *Store) lost(path string) error {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return errIsParent
	}
	if err := s.disk.syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	return objstore.ErrExists
}

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	data, _, err := s.read(ctx, key, func(size int64) (int64, []byte, error) {
		if err := objstore.CheckSize(key, size); err != nil {
			return 0, nil, err
		}
		return 0, make([]byte, size), nil
	})
	return data, err
}

// GetRange implements objstore.Store.
func (s *Store) GetRange(ctx context.Context, key string, offset int64, dst []byte) error {
	length := int64(len(dst))
	if err := objstore.CheckRange(key, offset, length); err != nil {
		return err
	}
	_, _, err := s.read(ctx, key, func(size int64) (int64, []byte, error) {
		if offset+length > size {
			return 0, nil, fmt.Errorf("%d bytes from offset %d of %d: %w", length, offset, size, objstore.ErrRange)
		}
		return offset, dst, nil
	})
	return err
}

// GetTail implements objstore.Store.
func (s *Store) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if err := objstore.CheckRange(key, 0, n); err != nil {
		return nil, 0, err
	}
	return s.read(ctx, key, func(size int64) (int64, []byte, error) {
		n := min(n, size)
		return size - n, make([]byte, n), nil
	})
}

// picker returns the offset of the bytes to read and the memory for them, given the
// object's size.
type picker func(size int64) (offset int64, dst []byte, err error)

// read returns the bytes that part picks, and the object's size.
func (s *Store) read(ctx context.Context, key string, part picker) ([]byte, int64, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, 0, err
	}
	data, size, err := s.readFile(ctx, key, path, part)
	if err != nil {
		return nil, 0, s.explain("get", key, err)
	}
	return data, size, nil
}

func (s *Store) readFile(ctx context.Context, key, path string, part picker) ([]byte, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, s.absent(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.IsDir() {
		return nil, 0, objstore.ErrNotFound
	}
	if err := s.settle(key, filepath.Dir(path)); err != nil {
		return nil, 0, err
	}
	s.ages.saw(info.ModTime())
	offset, dst, err := part(info.Size())
	if err != nil {
		return nil, 0, err
	}
	if n, err := f.ReadAt(dst, offset); err == io.EOF && n < len(dst) {
		return nil, 0, fmt.Errorf("read %d of %d bytes: %w", n, len(dst), objstore.ErrRange)
	} else if err != nil && err != io.EOF {
		return nil, 0, err
	}
	return dst, info.Size(), nil
}

// settle makes the name of an object durable before a reader gets the object. Between
// naming it and syncing the folder, an earlier process may have died, or a Create of
// this process may be under way.
func (s *Store) settle(key, folder string) error {
	if s.pending.has(key) {
		return s.disk.syncFolder(folder)
	}
	return s.folders.settle(folder)
}

// absent separates a missing object from a missing bucket.
func (s *Store) absent(err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	if _, statErr := os.Stat(s.root); statErr != nil {
		return statErr
	}
	return objstore.ErrNotFound
}

// Delete implements objstore.Store. Like a Create it is durable when it returns.
func (s *Store) Delete(ctx context.Context, key string) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return s.explain("delete", key, err)
	}
	err = s.disk.unlink(path)
	switch {
	case err == nil:
		err = s.disk.syncFolder(filepath.Dir(path))
	case errors.Is(err, syscall.EISDIR), isFolder(path):
		err = nil
	default:
		if err = s.absent(err); errors.Is(err, objstore.ErrNotFound) {
			err = nil
		}
	}
	if err != nil {
		return s.explain("delete", key, err)
	}
	return nil
}

// String implements objstore.Store.
func (s *Store) String() string { return "file://" + s.root }

// path returns the file of a key.
func (s *Store) path(key string) (string, error) {
	if err := objstore.CheckKey(key); err != nil {
		return "", err
	}
	if first, _, _ := strings.Cut(key, "/"); first == tempFolder {
		return "", fmt.Errorf("invalid object key %q: %q is the store's own", key, tempFolder)
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

func isFolder(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}
