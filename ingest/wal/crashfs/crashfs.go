// Package crashfs is a disk in memory for tests of crashes. It implements
// wal.FS, separates synced bytes from those only written, and makes images of
// the disk as a power failure could leave it.
//
// It promises to be at least as hard as a journaling file system on a disk with
// 512-byte sectors:
//   - of the writes since a file's last Sync, each sector keeps any number of
//     the first ones;
//   - of the names changed since a directory's last SyncDir, any subset
//     survives, a rename whole or not at all;
//   - the writes before a failed Sync are never made durable by a later one.
//
// It never invents bytes that were not written.
package crashfs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/varvelog/varve/ingest/wal"
)

// Sector is the unit that is written whole or not at all, in bytes.
const Sector = 512

// Op is an operation that is about to run.
type Op struct {
	Kind string // open, mkdir, readdir, rename, remove, syncdir, read, write, preallocate, sync, size, close
	Path string // of a rename: the old path
}

// FS is the disk. All methods may be called concurrently.
type FS struct {
	before func(Op) error
	*disk
}

// disk is the state that several FS may share.
type disk struct {
	mu      sync.Mutex // guards all below, and all nodes
	root    *node
	pending []change // names changed and not synced, in order
	handles int
}

// node is a file or a directory.
type node struct {
	names   map[string]*node // of a directory, now; nil for a file
	durable map[string]*node // of a directory, as of its last sync
	data    []byte           // of a file, now
	synced  []byte           // of a file: the durable bytes
	writes  []write          // since then, in order
}

type write struct {
	off  int64
	data []byte
}

// change is one change of names: away from (dir, name), to (dir, name), or both
// for a rename.
type change struct {
	node     *node
	from, to place
}

type place struct {
	dir  *node // nil: nowhere
	name string
}

func newDir() *node {
	return &node{names: map[string]*node{}, durable: map[string]*node{}}
}

// New returns an empty disk with the folder "/". It calls before ahead of every
// operation, outside of all locks. If before returns an error, the operation
// returns it and has no effect. Nil means that nothing ever fails.
func New(before func(Op) error) *FS {
	f := &FS{before: before, disk: &disk{root: newDir()}}
	if before == nil {
		f.before = func(Op) error { return nil }
	}
	return f
}

// With returns the same disk with another function before every operation.
func (f *FS) With(before func(Op) error) *FS {
	return &FS{before: before, disk: f.disk}
}

// Handles returns the number of open files.
func (f *FS) Handles() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.handles
}

// do runs an operation under the lock.
func (f *FS) do(kind, path string, op func() error) error {
	if err := f.before(Op{kind, path}); err != nil {
		return &fs.PathError{Op: kind, Path: path, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := op(); err != nil {
		return &fs.PathError{Op: kind, Path: path, Err: err}
	}
	return nil
}

// find returns the node at a path.
func (f *FS) find(path string) (*node, error) {
	at := f.root
	for name := range strings.SplitSeq(strings.Trim(filepath.Clean(path), "/"), "/") {
		if name == "" {
			continue
		}
		if at.names == nil {
			return nil, syscall.ENOTDIR
		}
		next, ok := at.names[name]
		if !ok {
			return nil, syscall.ENOENT
		}
		at = next
	}
	return at, nil
}

// place returns the directory and name of a path, and the node there or nil.
func (f *FS) place(path string) (place, *node, error) {
	dir, err := f.find(filepath.Dir(path))
	if err != nil {
		return place{}, nil, err
	}
	if dir.names == nil {
		return place{}, nil, syscall.ENOTDIR
	}
	name := filepath.Base(path)
	return place{dir, name}, dir.names[name], nil
}

// change makes a change of names and remembers it as not durable.
func (f *FS) change(c change) {
	c.apply(func(n *node) map[string]*node { return n.names })
	f.pending = append(f.pending, c)
}

// apply makes the change in the names that side selects, if it is possible
// there.
func (c change) apply(side func(*node) map[string]*node) {
	if c.from.dir != nil {
		if side(c.from.dir)[c.from.name] != c.node {
			return
		}
		delete(side(c.from.dir), c.from.name)
	}
	if c.to.dir != nil {
		side(c.to.dir)[c.to.name] = c.node
	}
}

// OpenFile implements wal.FS.
func (f *FS) OpenFile(name string, flag int) (wal.File, error) {
	h := &handle{fs: f, path: name, writable: flag&os.O_RDWR != 0}
	err := f.do("open", name, func() error {
		at, n, err := f.place(name)
		switch {
		case err != nil:
			return err
		case n == nil && flag&os.O_CREATE == 0:
			return syscall.ENOENT
		case n != nil && flag&os.O_EXCL != 0:
			return syscall.EEXIST
		case n != nil && n.names != nil:
			return syscall.EISDIR
		case n == nil:
			n = &node{}
			f.change(change{node: n, to: at})
		}
		h.node = n
		f.handles++
		return nil
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Mkdir implements wal.FS.
func (f *FS) Mkdir(name string) error {
	return f.do("mkdir", name, func() error {
		at, n, err := f.place(name)
		if err != nil {
			return err
		}
		if n != nil {
			return syscall.EEXIST
		}
		f.change(change{node: newDir(), to: at})
		return nil
	})
}

// ReadDir implements wal.FS.
func (f *FS) ReadDir(name string) (names []string, err error) {
	err = f.do("readdir", name, func() error {
		n, err := f.find(name)
		if err != nil {
			return err
		}
		if n.names == nil {
			return syscall.ENOTDIR
		}
		names = slices.Sorted(maps.Keys(n.names))
		return nil
	})
	return names, err
}

// Rename implements wal.FS. It refuses to replace a folder.
func (f *FS) Rename(old, new string) error {
	return f.do("rename", old, func() error {
		from, n, err := f.place(old)
		if err != nil {
			return err
		}
		if n == nil {
			return syscall.ENOENT
		}
		to, there, err := f.place(new)
		if err != nil {
			return err
		}
		if there != nil && there.names != nil {
			return syscall.EEXIST
		}
		f.change(change{node: n, from: from, to: to})
		return nil
	})
}

// Remove implements wal.FS.
func (f *FS) Remove(name string) error {
	return f.do("remove", name, func() error {
		at, n, err := f.place(name)
		if err != nil {
			return err
		}
		if n == nil {
			return syscall.ENOENT
		}
		if len(n.names) > 0 {
			return syscall.ENOTEMPTY
		}
		f.change(change{node: n, from: at})
		return nil
	})
}

// SyncDir implements wal.FS.
func (f *FS) SyncDir(name string) error {
	return f.do("syncdir", name, func() error {
		dir, err := f.find(name)
		if err != nil {
			return err
		}
		f.pending = slices.DeleteFunc(f.pending, func(c change) bool {
			if c.from.dir != dir && c.to.dir != dir {
				return false
			}
			c.apply(func(n *node) map[string]*node { return n.durable })
			return true
		})
		return nil
	})
}
