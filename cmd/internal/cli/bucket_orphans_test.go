package cli_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/fetch/offline/offlinetest"
	"github.com/varvelog/varve/tiering/segment"
)

func TestOrphansAreDeletedOnlyWhenThatIsKnownToBeSafe(t *testing.T) {
	folder := smallBucket(t)
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	write := func(key string, b []byte, age time.Duration) string {
		path := filepath.Join(folder, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now(), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shared, own := segment.SharedSegment(1, segment.ID{1}), segment.OwnSegment(segment.ID{2}, 0, 3, segment.ID{2})
	junk, text := segment.SharedSegment(1, segment.ID{4}), []byte("left over")
	old := []string{write(shared.Key(), offlinetest.Merged(shared, offlinetest.Events, 0, 3), 25*time.Hour), write(own.Key(), offlinetest.Merged(own, offlinetest.Events, 3, 6), 25*time.Hour)}
	kept := []string{
		write(segment.SharedSegment(1, segment.ID{3}).Key(), text, 23*time.Hour), // may be under way
		write(junk.Key(), text, 25*time.Hour),
		write(segment.TopicNameKey(segment.ID{2}), text, 25*time.Hour), write("notes.txt", text, 25*time.Hour),
	}
	c.run(t, "bucket", "orphans").expect(t, cli.ExitOK, shared.Key(), own.Key(), junk.Key(), "not known which records", "2 objects, 1.0 KiB; --delete deletes them")
	c.run(t, "bucket", "hold").expect(t, cli.ExitOK)
	c.run(t, "bucket", "orphans", "--delete").expect(t, cli.ExitFailure, "nothing was deleted: hold")
	if err := os.RemoveAll(filepath.Join(folder, "holds")); err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Key     string
		Deleted bool
	}
	unmarshal(t, c.run(t, "bucket", "orphans", "--delete", "-o", "json"), &rows)
	if len(rows) != 3 || !rows[0].Deleted || rows[1].Deleted || !rows[2].Deleted {
		t.Errorf("%+v", rows)
	}
	for _, path := range old {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range kept {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	write(shared.Key(), offlinetest.Merged(shared, offlinetest.Events, 0, 3), 25*time.Hour)
	for _, journal := range []uint32{0, 1} { // a reader takes a hole for the end
		hole := filepath.Join(folder, filepath.FromSlash(segment.JournalKey(journal, 4)))
		if err := os.Rename(hole, hole+".aside"); err != nil {
			t.Fatal(err)
		}
		c.run(t, "bucket", "orphans", "--delete").expect(t, cli.ExitFailure, "nothing is judged")
		if _, err := os.Stat(old[0]); err != nil {
			t.Errorf("deleted though journal %d has a hole: %v", journal, err)
		}
		if err := os.Rename(hole+".aside", hole); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, filepath.FromSlash(segment.JournalKey(1, 6))), []byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "orphans", "--delete").expect(t, cli.ExitFailure, "describes the damage")
	if _, err := os.Stat(old[0]); err != nil {
		t.Errorf("deleted while a journal cannot be read: %v", err)
	}
}
