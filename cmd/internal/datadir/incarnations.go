package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

const incarnationsFile = "incarnations.json"

// maxIncarnations is how many leaderships of a journal are kept: as many as the journal
// itself knows.
const maxIncarnations = 1024

// incarnationsRecord is the content of incarnationsFile, JSON. Ids are 32 hex digits, the
// oldest first.
type incarnationsRecord struct {
	Version  int                 `json:"version"`
	Journals map[uint32][]string `json:"journals"`
}

// Incarnations returns the names of the leaderships of a journal that this folder has had,
// the oldest first, as far as Leads has noted them.
func (d *Dir) Incarnations(journal uint32) []segment.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.mu.incarnations[journal])
}

// Leads notes, durably, that this folder is going to lead a journal under a name. It must
// return before the fence of that leadership is sent. After an error the leadership counts
// as one of this folder for as long as its write-ahead log lies here.
func (d *Dir) Leads(journal uint32, incarnation segment.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := append(slices.Clone(d.mu.incarnations[journal]), incarnation)
	own = own[max(0, len(own)-maxIncarnations):]
	r := incarnationsRecord{Version: recordVersion, Journals: map[uint32][]string{journal: names(own)}}
	for other, ids := range d.mu.incarnations {
		if other != journal {
			r.Journals[other] = names(ids)
		}
	}
	if err := write(d.path, incarnationsFile, r); err != nil {
		return err
	}
	d.mu.incarnations[journal] = own
	return nil
}

func names(ids []segment.ID) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	return names
}

// readIncarnations reads the file. A folder of an older varve has none.
func readIncarnations(path string) (map[uint32][]segment.ID, error) {
	own := map[uint32][]segment.ID{}
	var r incarnationsRecord
	switch err := read(path, incarnationsFile, &r); {
	case errors.Is(err, fs.ErrNotExist):
		return own, nil
	case err != nil:
		return nil, err
	}
	for journal, names := range r.Journals {
		for _, name := range names {
			id, err := segment.ParseID(name)
			if err != nil || id.IsZero() {
				return nil, fmt.Errorf("%s: %w: %q names no leadership of journal %d", filepath.Join(path, incarnationsFile), ErrDamaged, name, journal)
			}
			own[journal] = append(own[journal], id)
		}
	}
	return own, nil
}
