package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/varvelog/varve/tiering/segment"
)

// Inspect reads the node and the cluster that a data folder belongs to.
func Inspect(path string) (Identity, error) {
	id, err := readIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if _, err := os.Stat(path); err != nil {
		return Identity{}, fmt.Errorf("read data folder: %w; give the --data-dir of a node", err)
	}
	return Identity{}, fmt.Errorf("%s is no data folder of varve: there is no %s in it; give the --data-dir of a node", path, nodeFile)
}

// InUse reports whether a process has the data folder open.
func InUse(path string) (bool, error) {
	f, err := os.Open(filepath.Join(path, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find out whether data folder is in use: %w", err)
	}
	defer f.Close() // opened for reading: nothing can be lost
	held, err := locked(f)
	if err != nil {
		return false, fmt.Errorf("find out whether data folder %s is in use: %w", path, err)
	}
	return held, nil
}

// WAL returns the folder of a journal's write-ahead logs in a data folder. It
// may be missing.
func WAL(path string, journal uint32) string {
	return filepath.Join(path, walFolder, strconv.FormatUint(uint64(journal), 10))
}

// Journals lists the journals that have a folder for write-ahead logs in the data
// folder, ascending.
func Journals(path string) ([]uint32, error) {
	entries, err := os.ReadDir(filepath.Join(path, walFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list write-ahead folders: %w", err)
	}
	var journals []uint32
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 32)
		if journal := uint32(n); err == nil && filepath.Base(WAL(path, journal)) == e.Name() {
			journals = append(journals, journal)
		}
	}
	slices.Sort(journals)
	return journals, nil
}

// readIdentity reads nodeFile; the error is fs.ErrNotExist if there is none.
func readIdentity(path string) (Identity, error) {
	var r nodeRecord
	if err := read(path, nodeFile, &r); err != nil {
		return Identity{}, err
	}
	node, err := segment.ParseID(r.Node)
	if err != nil || node.IsZero() {
		return Identity{}, fmt.Errorf("%s: %w: it holds no node id: %q", filepath.Join(path, nodeFile), ErrDamaged, r.Node)
	}
	if r.Cluster == "" {
		return Identity{Node: node}, nil
	}
	cluster, err := segment.ParseID(r.Cluster)
	if err != nil || cluster.IsZero() {
		return Identity{}, fmt.Errorf("%s: %w: it holds no cluster id: %q", filepath.Join(path, nodeFile), ErrDamaged, r.Cluster)
	}
	return Identity{node, cluster}, nil
}

func writeIdentity(path string, id Identity) error {
	r := nodeRecord{Version: recordVersion, Node: id.Node.String()}
	if !id.Cluster.IsZero() {
		r.Cluster = id.Cluster.String()
	}
	return write(path, nodeFile, r)
}

func readWitness(path string) (map[uint32]segment.Ref, error) {
	witness := map[uint32]segment.Ref{}
	var r witnessRecord
	err := read(path, witnessFile, &r)
	if errors.Is(err, fs.ErrNotExist) {
		return witness, nil
	}
	if err != nil {
		return nil, err
	}
	for journal, w := range r.Journals {
		id, err := segment.ParseID(w.Object)
		if err != nil || id.IsZero() || w.Seq == 0 {
			return nil, fmt.Errorf("%s: %w: it holds no object of journal %d: seq %d, id %q", filepath.Join(path, witnessFile), ErrDamaged, journal, w.Seq, w.Object)
		}
		witness[journal] = segment.Ref{Seq: w.Seq, Object: id}
	}
	return witness, nil
}
