package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// AsideInfo is a log that was set aside.
type AsideInfo struct {
	Path        string
	Time        time.Time // when, by the node's clock
	Incarnation segment.ID
	Reason      string
	Missing     int64        // noted number of records that the journal does not have; -1: not known
	Exported    time.Time    // when its records were exported; zero: they were not
	Log         *Incarnation // the readable part; nil if Err is set, or it was not read
	Err         error        // why its records are not known
}

// Aside lists the logs that were set aside in a journal's folder, oldest first,
// and reads them. Dir, Journal, Cluster and Node of opt name the journal.
func Aside(opt Options) ([]AsideInfo, error) {
	found, err := AsideFolders(opt)
	for i := range found {
		found[i].ReadLog(opt)
	}
	return found, err
}

// AsideFolders is Aside without reading the logs, so it is quick.
func AsideFolders(opt Options) ([]AsideInfo, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(opt.Dir, asideDir)
	names, err := opt.FS.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list write-ahead logs set aside: %w", err)
	}
	var found []AsideInfo
	for _, name := range names {
		at, id, ok := parseAsideName(name)
		if !ok {
			continue
		}
		info := AsideInfo{Path: filepath.Join(dir, name), Time: at, Incarnation: id}
		if err := info.readNotes(opt.FS); err != nil {
			return nil, err
		}
		found = append(found, info)
	}
	return found, nil
}

// ReadLog reads and checks the log, and sets Log or Err.
func (info *AsideInfo) ReadLog(opt Options) {
	if opt, info.Err = opt.withDefaults(); info.Err != nil {
		return
	}
	opt.Incarnation = info.Incarnation
	inc := &Incarnation{ID: info.Incarnation, opt: opt, dir: info.Path}
	if info.Err = inc.scan(); info.Err == nil {
		info.Log = inc
	}
}

// readNotes reads the small files next to the log. A note that cannot be read
// counts as none: the log is then counted and exported again.
func (info *AsideInfo) readNotes(fsys FS) (err error) {
	if info.Reason, err = readNote(fsys, filepath.Join(info.Path, reasonFile)); err != nil {
		return err
	}
	missing, err := readNote(fsys, filepath.Join(info.Path, missingFile))
	if err != nil {
		return err
	}
	if info.Missing, err = strconv.ParseInt(missing, 10, 64); err != nil || info.Missing < 0 {
		info.Missing = -1
	}
	exported, err := readNote(fsys, filepath.Join(info.Path, exportFile))
	if err != nil {
		return err
	}
	if at, err := time.Parse(timeLayout, exported); err == nil {
		info.Exported = at
	}
	return nil
}

// readNote reads at most a window of a small file. A missing file counts as
// empty.
func readNote(fsys FS, path string) (string, error) {
	w, err := openWindow(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer w.file.Close() // opened for reading: nothing can be lost
	b, err := w.bytes(0, int(min(w.size, readAhead)))
	return strings.TrimSpace(string(b)), err
}

// NoteMissing notes how many records of a log set aside the journal does not have.
func NoteMissing(opt Options, info AsideInfo, records int64) error {
	return note(opt, info, missingFile, strconv.FormatInt(records, 10))
}

// NoteExported notes that the records of a log set aside were exported. They
// count as missing no more.
func NoteExported(opt Options, info AsideInfo) error {
	opt, err := opt.withDefaults()
	if err != nil {
		return err
	}
	return note(opt, info, exportFile, opt.Now().UTC().Format(timeLayout))
}

func note(opt Options, info AsideInfo, name, text string) error {
	opt, err := opt.withDefaults()
	if err != nil {
		return err
	}
	if err := writeFile(opt.FS, filepath.Join(info.Path, name), text+"\n"); err != nil {
		return fmt.Errorf("note %s of write-ahead log %s: %w", name, info.Incarnation, err)
	}
	return opt.FS.SyncDir(info.Path)
}

// RemoveAside deletes a log set aside for good, in one step for every reader of
// the list. It also finishes deletions that were interrupted.
func RemoveAside(opt Options, info AsideInfo) error {
	opt, err := opt.withDefaults()
	if err != nil {
		return err
	}
	dir := filepath.Dir(info.Path)
	if err := opt.FS.Rename(info.Path, info.Path+deadSuffix); err != nil {
		return fmt.Errorf("delete write-ahead log: %w", err)
	}
	if err := opt.FS.SyncDir(dir); err != nil {
		return fmt.Errorf("delete write-ahead log: %w", err)
	}
	names, err := opt.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("delete write-ahead log: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, deadSuffix) {
			if err := removeDead(opt.FS, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func parseAsideName(name string) (at time.Time, id segment.ID, ok bool) {
	stamp, rest, _ := strings.Cut(name, "-")
	at, err := time.Parse(timeLayout, stamp)
	if err != nil {
		return at, id, false
	}
	id, ok = parseID(rest)
	return at, id, ok
}
