package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/tiering/segment"
)

func TestHoldsArePlacedListedAndReleased(t *testing.T) {
	folder := smallBucket(t)
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	type row struct {
		ID, Reason, Error string
		Active            bool
		Until             *string
	}
	var placed row
	unmarshal(t, c.run(t, "bucket", "hold", "--for", "2h", "--reason", "nightly", "-o", "json"), &placed)
	c.run(t, "bucket", "hold").expect(t, cli.ExitOK, "deletions are paused until 2")
	var rows []row
	unmarshal(t, c.run(t, "bucket", "hold", "list", "-o", "json"), &rows)
	if len(rows) != 2 || !rows[0].Active || rows[0].Until == nil || rows[0].Reason+rows[1].Reason != "nightly" {
		t.Fatalf("%+v", rows)
	}
	path := filepath.Join(folder, filepath.FromSlash(segment.HoldKey(segment.ID{7})))
	if err := os.WriteFile(path, []byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "hold", "list").expect(t, cli.ExitOK, "active", "cannot be read, so it has no end")
	c.run(t, "bucket", "hold", "release", rows[0].ID, rows[1].ID, segment.ID{7}.String()).expect(t, cli.ExitOK, "deleted hold")
	unmarshal(t, c.run(t, "bucket", "hold", "list", "-o", "json"), &rows)
	if len(rows) != 0 {
		t.Fatalf("left after the release: %+v", rows)
	}
	c.run(t, "bucket", "verify").expect(t, cli.ExitOK, "sound")
	c.run(t, "bucket", "hold", "--for", "1s").expect(t, cli.ExitUsage, "from 1m0s to 2160h0m0s")
	c.run(t, "bucket", "hold", "release", "x").expect(t, cli.ExitUsage, "not the id of a hold")
	c.run(t, "bucket", "hold", "lits").expect(t, cli.ExitUsage, "hold")
}
