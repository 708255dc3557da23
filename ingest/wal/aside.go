package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SetAside moves the log, together with the reason, to the folder aside, where
// it stays until an operator deletes it. It returns the new folder. After a
// crash the log is either there, or Scan finds it again.
func (inc *Incarnation) SetAside(reason string) (string, error) {
	to := filepath.Join(inc.opt.Dir, asideDir, inc.opt.Now().UTC().Format(timeLayout)+"-"+inc.ID.String())
	if err := inc.setAside(reason, to); err != nil {
		return "", fmt.Errorf("set write-ahead log %s aside: %w", inc.dir, err)
	}
	return to, nil
}

func (inc *Incarnation) setAside(reason, to string) error {
	fsys := inc.opt.FS
	if err := removeSpares(fsys, inc.dir); err != nil {
		return err
	}
	if err := writeFile(fsys, filepath.Join(inc.dir, reasonFile), reason+"\n"); err != nil {
		return err
	}
	if err := fsys.SyncDir(inc.dir); err != nil {
		return err
	}
	if err := makeDirs(fsys, filepath.Dir(to)); err != nil {
		return err
	}
	if err := fsys.Rename(inc.dir, to); err != nil {
		return err
	}
	return errors.Join(fsys.SyncDir(filepath.Dir(to)), fsys.SyncDir(inc.opt.Dir))
}

// removeSpares deletes the files of a log's folder that have no records.
func removeSpares(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, spareSuffix) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a small file durably, and replaces one that an earlier
// attempt may have left.
func writeFile(fsys FS, path, text string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Remove deletes the log for good, when its records are in the bucket or in a
// later log. It is one step for Scan: after a crash the log exists or not.
func (inc *Incarnation) Remove() error {
	dead := inc.dir + deadSuffix
	if err := inc.opt.FS.Rename(inc.dir, dead); err != nil {
		return fmt.Errorf("remove write-ahead log: %w", err)
	}
	if err := inc.opt.FS.SyncDir(inc.opt.Dir); err != nil {
		return fmt.Errorf("remove write-ahead log: %w", err)
	}
	return removeDead(inc.opt.FS, dead)
}

// removeDead deletes a folder that Remove has renamed, and its files.
func removeDead(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove write-ahead log: %w", err)
	}
	for _, name := range names {
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove write-ahead log: %w", err)
		}
	}
	if err := fsys.Remove(dir); err != nil {
		return fmt.Errorf("remove write-ahead log: %w", err)
	}
	return nil
}
