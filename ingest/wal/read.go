package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Read calls fn for the records from LSN from to LastLSN, in order. fn may keep
// the batch. It returns the first error of fn or of reading. In a damaged log
// it returns the *DamageError after the last good record.
func (inc *Incarnation) Read(from uint64, fn func(Record) error) error {
	if from > inc.LastLSN {
		return inc.damage()
	}
	if from < inc.FirstLSN {
		return fmt.Errorf("read write-ahead log %s: there is no record %d, the first is %d", inc.dir, from, inc.FirstLSN)
	}
	fresh := *inc // Damage is found again, at the same place
	err := fresh.readFiles(func(r Record, _ int64) error {
		if r.LSN < from || r.LSN > inc.LastLSN {
			return nil
		}
		r.Batch = slices.Clone(r.Batch)
		return fn(r)
	})
	if err != nil {
		return err
	}
	return fresh.damage()
}

// damage returns Damage as an error.
func (inc *Incarnation) damage() error {
	if inc.Damage == nil {
		return nil
	}
	return inc.Damage
}

// readHeaders reads the headers of the files up to the first bad one. Files got
// their names after their headers were durable, so a bad one is damage even at
// the end.
func (inc *Incarnation) readHeaders(numbers []uint64) error {
	for i, number := range numbers {
		path := filepath.Join(inc.dir, walName(number))
		if i > 0 && number != numbers[i-1]+1 {
			inc.Damage = &DamageError{File: filepath.Join(inc.dir, walName(numbers[i-1]+1)), Reason: "file is missing"}
			return nil
		}
		f, err := inc.readHeader(path, number)
		if errors.Is(err, errBadHeader) {
			inc.Damage = &DamageError{File: path, Reason: err.Error()}
			return nil
		}
		if err != nil {
			return err
		}
		inc.files = append(inc.files, f)
	}
	return nil
}

// readHeader reads a file's header. errBadHeader is the only error that
// concerns the file and not the folder.
func (inc *Incarnation) readHeader(path string, number uint64) (walFile, error) {
	w, err := openWindow(inc.opt.FS, path)
	if err != nil {
		return walFile{}, err
	}
	defer w.file.Close() // opened for reading: nothing can be lost
	if !w.holds(0, headerSize) {
		return walFile{}, fmt.Errorf("%w: file has %d bytes", errBadHeader, w.size)
	}
	b, err := w.bytes(0, headerSize)
	if err != nil {
		return walFile{}, err
	}
	h, seed, err := decodeHeader(b)
	if errors.Is(err, ErrUnsupported) {
		return walFile{}, fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return walFile{}, err
	}
	want := inc.opt.header(number, h.FirstLSN)
	if h.Cluster != want.Cluster || h.Node != want.Node || h.Journal != want.Journal {
		return walFile{}, fmt.Errorf("%s: %w: it belongs to cluster %s, node %s, journal %d", path, ErrForeign, h.Cluster, h.Node, h.Journal)
	}
	if h != want {
		return walFile{}, fmt.Errorf("%w: it belongs to file %d of incarnation %s", errBadHeader, h.Number, h.Incarnation)
	}
	return walFile{path: path, header: h, seed: seed}, nil
}
