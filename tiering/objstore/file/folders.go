package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// folders makes the folders of keys, and remembers which are known to exist and
// to be synced, with all those above them up to the root.
type folders struct {
	disk disk
	root string
	mu   struct {
		sync.RWMutex
		known map[string]bool
	}
}

func newFolders(disk disk, root string) *folders {
	f := &folders{disk: disk, root: root}
	f.mu.known = map[string]bool{}
	return f
}

// ensure makes folder and those above it, but never the root, durable.
func (f *folders) ensure(folder string) error {
	if f.isKnown(folder) {
		return nil
	}
	if folder != f.root {
		parent := filepath.Dir(folder)
		if err := f.ensure(parent); err != nil {
			return err
		}
		switch err := f.disk.mkdir(folder); {
		case errors.Is(err, fs.ErrExist):
			// Perhaps a file: then the next step fails with ENOTDIR.
		case errors.Is(err, fs.ErrNotExist):
			f.forget() // the parent is gone
			return err
		case err != nil:
			return err
		}
		if err := f.disk.syncFolder(parent); err != nil {
			return err
		}
	}
	return f.sync(folder)
}

// settle syncs an existing folder and those above it if this process has not
// yet done so: an earlier one may have died before it did.
func (f *folders) settle(folder string) error {
	if f.isKnown(folder) {
		return nil
	}
	if folder != f.root {
		if err := f.settle(filepath.Dir(folder)); err != nil {
			return err
		}
	}
	return f.sync(folder)
}

func (f *folders) sync(folder string) error {
	if err := f.disk.syncFolder(folder); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.known[folder] = true
	return nil
}

func (f *folders) isKnown(folder string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.mu.known[folder]
}

// forget is called when a folder turned out to be gone, so that the next Create
// looks again.
func (f *folders) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.mu.known)
}

// makeFolder makes folder and all missing ones above it, durably. One that is
// there may have been made by a process that died before it synced the parent.
func makeFolder(disk disk, folder string) error {
	parent := filepath.Dir(folder)
	switch info, err := os.Stat(folder); {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a folder", folder)
	case err == nil:
		if err := disk.syncFolder(parent); !unwritable(err) {
			return err
		}
		return nil // not ours to sync, and not made by us
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := makeFolder(disk, parent); err != nil {
		return err
	}
	if err := disk.mkdir(folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return disk.syncFolder(parent)
}

// pending are the keys that have a name, or are about to get one, in a folder
// that is not yet synced.
type pending struct {
	mu struct {
		sync.Mutex
		creators map[string]int // per key
	}
}

func newPending() *pending {
	p := &pending{}
	p.mu.creators = map[string]int{}
	return p
}

func (p *pending) add(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.creators[key]++
}

func (p *pending) remove(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.creators[key]--; p.mu.creators[key] == 0 {
		delete(p.mu.creators, key)
	}
}

func (p *pending) has(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.creators[key] > 0
}
