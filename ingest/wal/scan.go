package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varvelog/varve/tiering/segment"
)

// Incarnation is an older log found on disk. Its records are FirstLSN to
// LastLSN, without a gap. Whether something is missing before FirstLSN cannot
// be told here, because released files are gone: compare it with what the
// bucket holds.
type Incarnation struct {
	ID       segment.ID
	FirstLSN uint64   // LSN of the first record
	LastLSN  uint64   // LSN of the last record; FirstLSN-1 if there is none
	Epochs   []uint32 // journal epochs of the records, in order of appearance
	Files    int
	Bytes    int64        // the records take in the files
	Beyond   int          // good records behind a torn tail: written, never synced, out of order
	Damage   *DamageError // records that had been durable cannot be read; else nil

	opt   Options
	dir   string
	files []walFile
}

// Records is how many records Read can deliver.
func (inc *Incarnation) Records() uint64 { return inc.LastLSN + 1 - inc.FirstLSN }

// DamageError says that records cannot be read, or not as they were written,
// that had been durable. It is an alarm: the disk, or somebody, has changed
// what was safe.
type DamageError struct {
	File    string // path
	Offset  int64
	Reason  string
	Lost    uint64 // LSN of the first record that cannot be read; 0: not known
	Highest uint64 // highest LSN known to have been durable; 0: not known
}

func (e *DamageError) Error() string {
	msg := fmt.Sprintf("write-ahead file %s is damaged at byte %d: %s", e.File, e.Offset, e.Reason)
	if e.Lost > 0 {
		msg += fmt.Sprintf("; records from LSN %d on cannot be read", e.Lost)
	}
	if e.Highest > 0 {
		msg += fmt.Sprintf("; records up to at least LSN %d had been synced", e.Highest)
	}
	return msg
}

// walFile is a file with a good header.
type walFile struct {
	path   string
	header fileHeader
	seed   uint32
}

// Scan returns the logs in the folder, oldest first, but for the one of
// opt.Incarnation, after reading and checking every record. A missing folder
// is an empty one. No process may be writing to the logs returned.
//
// Damage is no error here but a field of the incarnation. An error means that
// the folder could not be read, holds a file of a newer version (ErrUnsupported)
// or of another cluster, node or journal (ErrForeign); then nothing is known
// about the records and the node must not go on.
func Scan(opt Options) ([]*Incarnation, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	names, err := opt.FS.ReadDir(opt.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("scan write-ahead folder: %w", err)
	}
	var found []*Incarnation
	for _, name := range names { // sorted, and the ordinals have a fixed width
		_, id, ok := parseIncarnationName(name)
		if !ok || id == opt.Incarnation {
			continue
		}
		opt := opt
		opt.Incarnation = id
		inc := &Incarnation{ID: id, opt: opt, dir: filepath.Join(opt.Dir, name)}
		if err := inc.scan(); err != nil {
			return nil, fmt.Errorf("scan write-ahead log %s: %w", inc.dir, err)
		}
		found = append(found, inc)
	}
	return found, nil
}

// Latest is the id of the newest log in the folder, which is the one being written
// if a process uses the folder; ok is false if there is no log. It opens no file
// of a log. A missing folder is an empty one.
func Latest(opt Options) (id segment.ID, ok bool, err error) {
	opt, err = opt.withDefaults()
	if err != nil {
		return id, false, err
	}
	names, err := opt.FS.ReadDir(opt.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	if err != nil {
		return id, false, fmt.Errorf("read write-ahead folder: %w", err)
	}
	for _, name := range names { // sorted, and the ordinals have a fixed width
		if _, found, is := parseIncarnationName(name); is {
			id, ok = found, true
		}
	}
	return id, ok, nil
}

// scan fills the incarnation in from its files.
func (inc *Incarnation) scan() error {
	numbers, err := inc.list()
	if err != nil {
		return err
	}
	inc.Files, inc.FirstLSN = len(numbers), 1
	inc.LastLSN = inc.FirstLSN - 1
	if err := inc.readHeaders(numbers); err != nil {
		return err
	}
	if len(inc.files) > 0 {
		inc.FirstLSN = inc.files[0].header.FirstLSN
		inc.LastLSN = inc.FirstLSN - 1
	}
	return inc.readFiles(func(r Record, size int64) error {
		inc.LastLSN = r.LSN
		inc.Bytes += size
		if n := len(inc.Epochs); n == 0 || inc.Epochs[n-1] != r.Epoch {
			inc.Epochs = append(inc.Epochs, r.Epoch)
		}
		return nil
	})
}

// list returns the numbers of the files, ascending.
func (inc *Incarnation) list() ([]uint64, error) {
	names, err := inc.opt.FS.ReadDir(inc.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		number, ok := parseWALName(name)
		if ok {
			numbers = append(numbers, number)
		} else if strings.HasSuffix(name, walSuffix) {
			return nil, fmt.Errorf("%s is no name of a write-ahead file: move it away if it is not one", name)
		}
	}
	slices.SortFunc(numbers, cmp.Compare)
	return numbers, nil
}
