// Package datadir is the data folder of a node: the node's identity, the
// objects that it saw committed, its leaderships, and the place of its write-ahead logs.
//
// It owns the files "lock", "node.json", "witness.json" and "incarnations.json" of the
// folder, and the names of the folders under "wal" and of the files
// "verified-<journal>.json", but not their content. It promises that
// one process at a time has a folder open, and that a node's id and cluster
// never change. A witness never goes back. After a crash each file is the old
// one or the new one. It never repairs: a file that is damaged, or written by a
// newer varve, is an error. Inspect, InUse and Journals only read: they neither
// lock nor write, and may run while a node runs.
//
// All but the write-ahead logs can be lost without losing records. A folder
// that is lost as a whole gets a new identity.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/varvelog/varve/tiering/segment"
)

const (
	lockFile    = "lock"
	nodeFile    = "node.json"
	witnessFile = "witness.json"
	walFolder   = "wal"
	mergeFolder = "merge"
)

// Errors that stay until an operator acts, and ErrInUse, which stays until the
// other process ends.
var (
	ErrForeign     = errors.New("data folder and bucket do not belong together")
	ErrDamaged     = errors.New("file is damaged")
	ErrUnsupported = errors.New("unsupported version")
	ErrInUse       = errors.New("in use by another varve process")
)

// Identity is the node and the cluster that a data folder belongs to.
type Identity struct {
	Node    segment.ID
	Cluster segment.ID // zero: not bound to a cluster yet
}

// Dir is a data folder, locked by this process. Many goroutines may call its
// methods at once, but only one may call SaveWitness or Close.
type Dir struct {
	path string
	lock *os.File
	node segment.ID

	mu struct {
		sync.Mutex
		cluster segment.ID
		witness map[uint32]segment.Ref
		changed bool // witness is newer than witnessFile

		incarnations map[uint32][]segment.ID // by journal, oldest first
	}
}

// Open creates the folder if it is missing, locks it, and reads the node's
// identity. In a new folder it takes the identity from newID.
func Open(path string, newID func() segment.ID) (_ *Dir, err error) {
	if err := makeFolder(path); err != nil {
		return nil, fmt.Errorf("make data folder: %w; give another one with --data-dir", err)
	}
	d := &Dir{path: path}
	if d.lock, err = openLocked(filepath.Join(path, lockFile)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.lock.Close() // the caller gets err, the error before this one
		}
	}()
	id, err := readIdentity(path)
	if errors.Is(err, fs.ErrNotExist) {
		id = Identity{Node: newID()}
		err = writeIdentity(path, id)
	}
	if err != nil {
		return nil, err
	}
	d.node, d.mu.cluster = id.Node, id.Cluster
	if d.mu.witness, err = readWitness(path); err != nil {
		return nil, err
	}
	if d.mu.incarnations, err = readIncarnations(path); err != nil {
		return nil, err
	}
	return d, nil
}

// openLocked opens the lock file and locks it until it is closed.
func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	held, err := lock(f)
	switch {
	case err != nil:
		err = fmt.Errorf("lock data folder: %w", err)
	case held:
		err = fmt.Errorf("data folder %s is %w; stop it, or give this one another --data-dir", filepath.Dir(path), ErrInUse)
	default:
		return f, nil
	}
	f.Close() // nothing was written
	return nil, err
}

// Node returns the id of the node that the folder belongs to.
func (d *Dir) Node() segment.ID { return d.node }

// WAL returns the folder of a journal's write-ahead logs. It may be missing.
func (d *Dir) WAL(journal uint32) string { return WAL(d.path, journal) }

// Merge returns the folder in which records of a journal are gathered to be merged. A start
// of the node may empty it.
func (d *Dir) Merge(journal uint32) string {
	return filepath.Join(d.path, mergeFolder, strconv.FormatUint(uint64(journal), 10))
}

// Unbound reports whether the folder belongs to no cluster yet.
func (d *Dir) Unbound() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.cluster.IsZero()
}

// MayBind returns nil if Bind would tie the folder to the cluster, and
// otherwise Bind's error. The zero id stands for a cluster that is not created
// yet.
func (d *Dir) MayBind(cluster segment.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.mu.cluster
	switch {
	case own.IsZero(), own == cluster:
		return nil
	case cluster.IsZero():
		return fmt.Errorf("%w: data folder %s belongs to cluster %s, the bucket holds no cluster; give another --data-dir or --bucket",
			ErrForeign, d.path, own.Base64())
	}
	return fmt.Errorf("%w: data folder %s belongs to cluster %s, the bucket to cluster %s; give another --data-dir or --bucket",
		ErrForeign, d.path, own.Base64(), cluster.Base64())
}

// Bind ties the folder to a cluster, for good.
func (d *Dir) Bind(cluster segment.ID) error {
	if err := d.MayBind(cluster); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.cluster == cluster {
		return nil
	}
	if err := writeIdentity(d.path, Identity{d.node, cluster}); err != nil {
		return err
	}
	d.mu.cluster = cluster
	return nil
}

// Witness returns the highest object of the journal that this node saw
// committed; zero if there is none.
func (d *Dir) Witness(journal uint32) segment.Ref {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.witness[journal]
}

// Saw notes a committed object. SaveWitness writes it to the disk. A witness
// that lags knows less, but is never wrong.
func (d *Dir) Saw(journal uint32, ref segment.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ref.Seq > d.mu.witness[journal].Seq {
		d.mu.witness[journal] = ref
		d.mu.changed = true
	}
}

// SaveWitness writes the objects that Saw has noted since the last time,
// durably.
func (d *Dir) SaveWitness() error {
	d.mu.Lock()
	changed, r := d.mu.changed, newWitnessRecord(d.mu.witness)
	d.mu.changed = false
	d.mu.Unlock()
	if !changed {
		return nil
	}
	err := write(d.path, witnessFile, r)
	if err != nil {
		d.mu.Lock()
		d.mu.changed = true
		d.mu.Unlock()
	}
	return err
}

// Verified returns the progress of verifying a journal that SaveVerified was given last;
// nil if there is none.
func (d *Dir) Verified(journal uint32) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(d.path, verifiedFile(journal)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// SaveVerified keeps the progress of verifying a journal, which is JSON.
func (d *Dir) SaveVerified(journal uint32, progress []byte) error {
	return write(d.path, verifiedFile(journal), json.RawMessage(progress))
}

func verifiedFile(journal uint32) string { return fmt.Sprintf("verified-%d.json", journal) }

// Close saves the witness and unlocks the folder.
func (d *Dir) Close() error {
	return errors.Join(d.SaveWitness(), d.lock.Close())
}
