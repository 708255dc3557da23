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
// LastLSN, without a gap. It does not show whether records before FirstLSN are
// missing, because released files are removed: compare it with the bucket.
type Incarnation struct {
	ID       segment.ID
	FirstLSN uint64   // LSN of the first record
	LastLSN  uint64   // LSN of the last record; FirstLSN-1 if there is none
	Epochs   []uint32 // journal epochs of the records, in order of appearance
	Files    int
	Bytes    int64        // the records take in the files
	Beyond   int          // good records after a torn tail: written, never synced, out of order
	Damage   *DamageError // durable records cannot be read; else nil

	opt   Options
	dir   string
	files []walFile
}

// Records returns how many records Read can deliver.
func (inc *Incarnation) Records() uint64 { return inc.LastLSN + 1 - inc.FirstLSN }

// DamageError reports durable records that cannot be read, or not as they were
// written. It is an alarm: the disk, or a person or program, has changed
// durable bytes.
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

// Scan returns the logs in the folder, oldest first, without that of
// opt.Incarnation, after reading and checking every record. A missing folder
// counts as an empty one. No process may be writing to the returned logs.
//
// Damage is not an error here but a field of the incarnation. An error means
// that the folder could not be read, or holds a file of a newer version
// (ErrUnsupported) or of another cluster, node or journal (ErrForeign). The
// records are then unknown and the node must not go on.
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

// Latest returns the id of the newest log in the folder; ok is false if there
// is no log. If a process uses the folder, it writes to that log. Latest opens
// no file of a log. A missing folder counts as an empty one.
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

// scan sets the incarnation from its files.
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
			return nil, fmt.Errorf("%s is not the name of a write-ahead file: move the file out of this folder if it is not one", name)
		}
	}
	slices.SortFunc(numbers, cmp.Compare)
	return numbers, nil
}
