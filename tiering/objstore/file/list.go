package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
)

// List implements objstore.Store. It reads one folder at a time, whole.
func (s *Store) List(ctx context.Context, prefix, startAfter string, fn func(objstore.Info) error) error {
	l := lister{ctx: ctx, root: s.root, prefix: prefix, startAfter: startAfter, fn: func(info objstore.Info) error {
		s.ages.saw(info.Modified)
		return fn(info)
	}}
	err := l.walk("")
	if err == nil || l.stopped {
		return err // fn's own, as it is
	}
	return s.explain("list", prefix, err)
}

type lister struct {
	ctx                context.Context
	root               string
	prefix, startAfter string
	fn                 func(objstore.Info) error
	stopped            bool // by fn
}

// walk lists the folder of the keys that start with base, which is empty or
// ends with a slash.
func (l *lister) walk(base string) error {
	entries, err := os.ReadDir(filepath.Join(l.root, filepath.FromSlash(base)))
	if errors.Is(err, fs.ErrNotExist) && base != "" {
		return nil // removed since its parent was read
	}
	if err != nil {
		return err
	}
	// A folder sorts as its keys do, with the slash: "a-b" is before "a/b".
	name := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(name(a), name(b)) })
	for _, entry := range entries {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if base == "" && entry.Name() == tempFolder {
			continue
		}
		if err := l.visit(base+name(entry), entry); err != nil {
			return err
		}
	}
	return nil
}

// visit lists a file, or the folder of a key that ends with a slash.
func (l *lister) visit(key string, entry fs.DirEntry) error {
	if entry.IsDir() {
		below := strings.HasPrefix(key, l.prefix) || strings.HasPrefix(l.prefix, key)
		passed := key <= l.startAfter && !strings.HasPrefix(l.startAfter, key)
		if !below || passed {
			return nil
		}
		return l.walk(key)
	}
	if !strings.HasPrefix(key, l.prefix) || key <= l.startAfter || !entry.Type().IsRegular() {
		return nil
	}
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted since the folder was read
	}
	if err != nil {
		return err
	}
	if err := l.fn(objstore.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}); err != nil {
		l.stopped = true
		return err
	}
	return nil
}
