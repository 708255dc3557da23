package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/ingest/wal"
)

// marks are the fields of logs set aside in `wal list -o json`.
func (f walFolder) marks(t *testing.T) (rows []struct {
	Incarnation string
	Missing     *int64  `json:"missing_records"`
	Exported    *string `json:"exported"`
}) {
	t.Helper()
	o := f.run(t, "list", "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &rows); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	return rows
}

func TestWALExportMarksWhatItHasWrittenWhole(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 1, 1, 2)
	f.made(t, 1, 2, 2)
	first := f.setAside(t, 1, "why")
	second := f.setAside(t, 1, "damaged")
	f.damage(t, second, 1)
	if err := wal.NoteMissing(f.options(1, 1), wal.AsideInfo{Path: first}, 3); err != nil {
		t.Fatal(err)
	}
	f.run(t, "export", "--topic", walTopic.Base64()) // a part
	f.run(t, "export", "--out", filepath.Join(f.path, "none", "out")).expect(t, cli.ExitFailure)
	for _, r := range f.marks(t) {
		if r.Exported != nil {
			t.Errorf("%s is marked though a part of it was written", r.Incarnation)
		}
	}
	f.run(t, "export").expect(t, cli.ExitFailure, "cannot be read")
	rows := f.marks(t)
	if len(rows) != 2 || rows[0].Missing == nil || *rows[0].Missing != 3 || rows[0].Exported == nil || rows[1].Missing != nil || rows[1].Exported != nil {
		t.Errorf("marks: %+v", rows)
	}
	o := f.run(t, "list")
	if !strings.Contains(words(o.stdout), id(1)+" 2 4 3 2") { // 2 batches, 4 records, 3 missing, exported in 20..
		t.Errorf("listed as %s", o.stdout)
	}
}

func TestWALDeleteRemovesWhatIsAsideOnly(t *testing.T) {
	f := newWALFolder(t)
	f.made(t, 1, 1, 2)
	f.made(t, 1, 2, 2)
	aside := f.setAside(t, 1, "why")
	f.run(t, "delete", id(1)).expect(t, cli.ExitUsage, "--yes")
	f.run(t, "delete", id(1), id(2), "--yes").expect(t, cli.ExitFailure, "is not set aside", "nothing was deleted")
	f.run(t, "delete", id(9), "--yes").expect(t, cli.ExitFailure, "no write-ahead log "+id(9), "nothing was deleted")
	o := command{environ: []string{"VARVE_DATA_DIR=" + f.path}}.run(t, "wal", "delete", id(1), "--yes")
	o.expect(t, cli.ExitOK, "deleted incarnation", id(1))
	left, err := os.ReadDir(filepath.Dir(aside))
	if err != nil || len(left) != 0 {
		t.Errorf("left in aside: %v, %v", left, err)
	}
	if rows := f.list(t, cli.ExitOK); len(rows) != 1 || rows[0].State != "waiting" {
		t.Errorf("left: %+v", rows)
	}
}
