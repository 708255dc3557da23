// Package datadir is the data folder of a node: who the node is, what it saw
// committed, and where its write-ahead logs lie.
//
// It owns the files "lock", "node.json" and "witness.json" of the folder and the
// names of the folders under "wal", not what is in those. It promises that one
// process at a time has a folder open, that a node's id and cluster never change,
// that a witness never goes back, and that after a crash each file is the old one
// or the new one. It never repairs: a file that is damaged, or written by a newer
// varve, is an error. Inspect, InUse and Journals only look: they neither lock
// nor write, and may run beside a node.
//
// All but the write-ahead logs can be lost without losing records; a folder that
// is lost whole gets a new identity.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/varvelog/varve/tiering/segment"
)

const (
	lockFile    = "lock"
	nodeFile    = "node.json"
	witnessFile = "witness.json"
	walFolder   = "wal"
)

// Errors that stay until an operator does something; ErrInUse until the other process
// ends.
var (
	ErrForeign     = errors.New("data folder and bucket do not belong together")
	ErrDamaged     = errors.New("file is damaged")
	ErrUnsupported = errors.New("unsupported version")
	ErrInUse       = errors.New("in use by another varve process")
)

// Identity is whose a data folder is.
type Identity struct {
	Node    segment.ID
	Cluster segment.ID // zero: not bound to a cluster yet
}

// Dir is a data folder, locked by this process. Its methods may be called by
// many goroutines, SaveWitness and Close by one at a time.
type Dir struct {
	path string
	lock *os.File
	node segment.ID

	mu struct {
		sync.Mutex
		cluster segment.ID
		witness map[uint32]segment.Ref
		changed bool // witness has what witnessFile has not
	}
}

// Open makes the folder if it is missing, locks it, and reads the node's
// identity, or draws it with newID.
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
			d.lock.Close() // the caller gets the error before it
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

// Node is the id of the node whose folder this is.
func (d *Dir) Node() segment.ID { return d.node }

// WAL is the folder of a journal's write-ahead logs. It may be missing.
func (d *Dir) WAL(journal uint32) string { return WAL(d.path, journal) }

// Unbound reports whether the folder belongs to no cluster yet.
func (d *Dir) Unbound() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.cluster.IsZero()
}

// MayBind is nil if Bind would tie the folder to the cluster, and what Bind would say
// if not. The zero id is that of a cluster that is to be made.
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

// Witness is the highest object of the journal that this node saw committed;
// zero if it saw none.
func (d *Dir) Witness(journal uint32) segment.Ref {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.witness[journal]
}

// Saw notes a committed object. It reaches the disk with SaveWitness: a witness
// that lags knows less, and is never wrong.
func (d *Dir) Saw(journal uint32, ref segment.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ref.Seq > d.mu.witness[journal].Seq {
		d.mu.witness[journal] = ref
		d.mu.changed = true
	}
}

// SaveWitness writes what Saw has noted since the last time, durably.
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

// Close saves the witness and unlocks the folder.
func (d *Dir) Close() error {
	return errors.Join(d.SaveWitness(), d.lock.Close())
}
