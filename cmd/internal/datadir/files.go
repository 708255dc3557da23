package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/varvelog/varve/tiering/segment"
)

// recordVersion is the version of nodeFile and witnessFile. A program refuses
// files of any other.
const recordVersion = 1

// nodeRecord is the content of nodeFile, JSON. Ids are 32 hex digits.
type nodeRecord struct {
	Version int    `json:"version"`
	Node    string `json:"node"`
	Cluster string `json:"cluster,omitempty"`
}

// witnessRecord is the content of witnessFile, JSON.
type witnessRecord struct {
	Version  int                      `json:"version"`
	Journals map[uint32]witnessObject `json:"journals"`
}

type witnessObject struct {
	Seq    uint64 `json:"seq"`    // from 1
	Object string `json:"object"` // id, 32 hex digits
}

func newWitnessRecord(witness map[uint32]segment.Ref) witnessRecord {
	r := witnessRecord{Version: recordVersion, Journals: map[uint32]witnessObject{}}
	for journal, ref := range witness {
		r.Journals[journal] = witnessObject{Seq: ref.Seq, Object: ref.Object.String()}
	}
	return r
}

// read reads a file of the folder. It checks the version first: a newer varve
// may have changed all the rest.
func read(folder, name string, into any) error {
	path := filepath.Join(folder, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	switch {
	case head.Version > recordVersion:
		return fmt.Errorf("%s: %w: version %d, this program knows %d; it was written by a newer varve", path, ErrUnsupported, head.Version, recordVersion)
	case head.Version != recordVersion:
		return fmt.Errorf("%s: %w: version %d", path, ErrDamaged, head.Version)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return nil
}

// write replaces a file of the folder durably: after a crash it is the old one or
// the new one.
func write(folder, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, name)
	if err := writeSynced(path+".tmp", append(b, '\n')); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	if err := syncFolder(folder); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	return nil
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
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // an incomplete file would only take space
	}
	return err
}

// makeFolder creates a folder and its missing parents, and makes them durable:
// write-ahead logs in a folder whose name is lost are lost as well.
func makeFolder(path string) error {
	var missing []string
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, p)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for _, p := range missing {
		if err := syncFolder(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
