package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varvelog/varve/tiering/segment"
)

// Files of a data folder. All but the write-ahead logs can be lost without losing
// records; a folder that is lost whole gets a new identity.
const (
	lockFile    = "lock"
	nodeFile    = "node.json"
	witnessFile = "witness.json"
	walFolder   = "wal"
)

// dataDir is a data folder, locked by this process: who the node is, and what it
// saw committed.
type dataDir struct {
	path string
	lock *os.File
	node segment.ID

	mu struct {
		sync.Mutex
		cluster segment.ID // zero: not bound to a cluster yet
		witness map[uint32]segment.Ref
		changed bool
	}
}

// nodeRecord is the content of nodeFile.
type nodeRecord struct {
	Version int    `json:"version"`
	Node    string `json:"node"`
	Cluster string `json:"cluster,omitempty"`
}

// witnessRecord is the content of witnessFile.
type witnessRecord struct {
	Version  int                      `json:"version"`
	Journals map[uint32]witnessObject `json:"journals"`
}

type witnessObject struct {
	Seq    uint64 `json:"seq"`
	Object string `json:"object"`
}

const recordVersion = 1

// openDataDir makes the folder if it is missing, locks it, and reads or draws
// the node's identity.
func openDataDir(path string, newID func() segment.ID) (_ *dataDir, err error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	d := &dataDir{path: path}
	d.mu.witness = map[uint32]segment.Ref{}
	if d.lock, err = lock(filepath.Join(path, lockFile)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.lock.Close()
		}
	}()
	if err := d.readNode(); errors.Is(err, fs.ErrNotExist) {
		d.node = newID()
		if err := d.writeNode(); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return d, d.readWitness()
}

func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data folder %s is in use by another varve process; stop it, or give this one another --data-dir", filepath.Dir(path))
		}
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return f, nil
}

func (d *dataDir) readNode() error {
	var r nodeRecord
	if err := d.read(nodeFile, &r, &r.Version); err != nil {
		return err
	}
	node, err := segment.ParseID(r.Node)
	if err != nil || node.IsZero() {
		return fmt.Errorf("%s holds no node id: %q", filepath.Join(d.path, nodeFile), r.Node)
	}
	d.node = node
	if r.Cluster == "" {
		return nil
	}
	if d.mu.cluster, err = segment.ParseID(r.Cluster); err != nil {
		return fmt.Errorf("%s holds no cluster id: %q", filepath.Join(d.path, nodeFile), r.Cluster)
	}
	return nil
}

// bind ties the folder to a cluster, for good.
func (d *dataDir) bind(cluster segment.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.mu.cluster {
	case cluster:
		return nil
	case segment.ID{}:
		d.mu.cluster = cluster
		return d.writeNode()
	}
	return fmt.Errorf("data folder %s belongs to cluster %s, the bucket to cluster %s; give another --data-dir or --bucket",
		d.path, d.mu.cluster.Base64(), cluster.Base64())
}

func (d *dataDir) writeNode() error {
	r := nodeRecord{Version: recordVersion, Node: d.node.String()}
	if !d.mu.cluster.IsZero() {
		r.Cluster = d.mu.cluster.String()
	}
	return d.write(nodeFile, r)
}

func (d *dataDir) readWitness() error {
	var r witnessRecord
	err := d.read(witnessFile, &r, &r.Version)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for journal, w := range r.Journals {
		id, err := segment.ParseID(w.Object)
		if err != nil {
			return fmt.Errorf("%s holds no object id: %q", filepath.Join(d.path, witnessFile), w.Object)
		}
		d.mu.witness[journal] = segment.Ref{Seq: w.Seq, Object: id}
	}
	return nil
}

// witness is the highest object of the journal that this node saw committed.
func (d *dataDir) witness(journal uint32) segment.Ref {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.witness[journal]
}

// saw notes a committed object. It reaches the disk with saveWitness: a witness
// that lags knows less, and is never wrong.
func (d *dataDir) saw(journal uint32, ref segment.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ref.Seq > d.mu.witness[journal].Seq {
		d.mu.witness[journal] = ref
		d.mu.changed = true
	}
}

func (d *dataDir) saveWitness() error {
	d.mu.Lock()
	r := witnessRecord{Version: recordVersion, Journals: map[uint32]witnessObject{}}
	for journal, ref := range d.mu.witness {
		r.Journals[journal] = witnessObject{Seq: ref.Seq, Object: ref.Object.String()}
	}
	changed := d.mu.changed
	d.mu.changed = false
	d.mu.Unlock()
	if !changed {
		return nil
	}
	return d.write(witnessFile, r)
}

func (d *dataDir) close() error {
	return errors.Join(d.saveWitness(), d.lock.Close())
}

func (d *dataDir) read(name string, into any, version *int) error {
	path := filepath.Join(d.path, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	if *version != recordVersion {
		return fmt.Errorf("%s has version %d, this program knows %d: it was written by a newer varve", path, *version, recordVersion)
	}
	return nil
}

// write replaces a file durably: after a crash it is the old one or the new one.
func (d *dataDir) write(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(d.path, name)
	if err := writeSynced(path+".tmp", append(b, '\n')); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
