package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/tiering/segment"
)

type copied struct {
	Number, Objects, Copied, Written int64
	Heads                            map[string]int64
}

func TestACopyIsWholeAndGrows(t *testing.T) {
	folder, target := smallBucket(t), filepath.Join(t.TempDir(), "copy")
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	file := func(seq uint64) string { return filepath.Join(folder, filepath.FromSlash(segment.JournalKey(1, seq))) }
	later, err := os.ReadFile(file(7))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file(7)); err != nil {
		t.Fatal(err)
	}
	var r copied
	c.run(t, "bucket", "copy", "--to", target).expect(t, cli.ExitFailure, "does not exist", "--create-bucket")
	unmarshal(t, c.run(t, "bucket", "copy", "--to", target, "--create-bucket", "-o", "json"), &r)
	if r.Number != 1 || r.Objects != 12 || r.Copied != 12 || r.Heads["1"] != 6 {
		t.Errorf("%+v", r)
	}
	if err := os.WriteFile(file(7), later, 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "copy", "--to", target, "--dry-run").expect(t, cli.ExitOK, "to copy: 1 of 13 objects")
	unmarshal(t, c.run(t, "bucket", "copy", "--to", target, "-o", "json"), &r)
	if r.Number != 2 || r.Objects != 13 || r.Copied != 1 || r.Heads["1"] != 7 {
		t.Errorf("%+v", r)
	}
	at := command{environ: []string{"VARVE_BUCKET=file://" + target}}
	at.run(t, "bucket", "verify", "--records").expect(t, cli.ExitOK, ": sound\n")
	if o := at.run(t, "bucket", "cat", "events"); o.stdout != "a\nb\nc\na\nb\nc\n" {
		t.Errorf("the copy has %q", o.stdout)
	}
	c.run(t, "bucket", "hold", "list", "-o", "json").expect(t, cli.ExitOK, "[]")
}

func TestAnUnfinishedCopyIsNoBucket(t *testing.T) {
	folder, target := smallBucket(t), filepath.Join(t.TempDir(), "copy")
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	c.run(t, "bucket", "copy", "--to", target, "--create-bucket").expect(t, cli.ExitOK, "is whole")
	done := filepath.Join(target, filepath.FromSlash(segment.CopyDoneKey(1)))
	if err := os.Remove(done); err != nil {
		t.Fatal(err)
	}
	at := command{environ: []string{"VARVE_BUCKET=file://" + target}}
	for _, line := range []string{"ls", "stat", "cat events", "explain events", "verify", "orphans", "hold list", "copy --to " + t.TempDir()} {
		at.run(t, append([]string{"bucket"}, strings.Fields(line)...)...).expect(t, cli.ExitFailure, "not finished", `run "varve bucket copy" again`)
	}
	c.run(t, "bucket", "copy", "--to", target).expect(t, cli.ExitOK, "copied 0 of 13 objects")
	c.run(t, "bucket", "copy", "--to", "file://"+target+"/new", "--create-bucket", "--dry-run").expect(t, cli.ExitFailure, "--dry-run creates none")
	at.run(t, "bucket", "ls").expect(t, cli.ExitOK, "events")
}

// TestASourceThatLacksAnEndIsNotCopied: the copy of before stays whole.
func TestASourceThatLacksAnEndIsNotCopied(t *testing.T) {
	folder, target := smallBucket(t), t.TempDir()
	c, at := command{environ: []string{"VARVE_BUCKET=file://" + folder}}, command{environ: []string{"VARVE_BUCKET=file://" + target}}
	c.run(t, "bucket", "copy", "--to", target).expect(t, cli.ExitOK)
	file := func(seq uint64) string { return filepath.Join(folder, filepath.FromSlash(segment.JournalKey(1, seq))) }
	if err := os.Rename(file(6), file(6)+".aside"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{target, t.TempDir()} {
		c.run(t, "bucket", "copy", "--to", to).expect(t, cli.ExitFailure, "journal 1 ends at seq 5, and the object at seq 7 knows seq 6", "bucket verify")
	}
	if err := os.Remove(file(7)); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "copy", "--to", target, "--dry-run").expect(t, cli.ExitFailure, "journal 1 of the source ends at seq 5, and the copy has "+"journals/1/")
	if o := at.run(t, "bucket", "cat", "events"); o.stdout != "a\nb\nc\na\nb\nc\n" {
		t.Errorf("the copy has %q", o.stdout)
	}
}

func TestACopyTakesNoDamageAndNoOtherBucket(t *testing.T) {
	folder := smallBucket(t)
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	c.run(t, "bucket", "copy", "--to", smallBucket(t)).expect(t, cli.ExitFailure, "neither empty nor a copy of the source")
	c.run(t, "bucket", "copy").expect(t, cli.ExitUsage, "--to URL")
	target := t.TempDir()
	c.run(t, "bucket", "copy", "--to", target).expect(t, cli.ExitOK)
	// A node has opened it since.
	b, err := segment.EncodeCopy(segment.Copy{State: segment.CopyOpened, Cluster: segment.ID{1}, Object: segment.ID{9}, Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(target, filepath.FromSlash(segment.CopyOpenedKey)), b, 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "copy", "--to", target).expect(t, cli.ExitFailure, "a node has written to it", "another bucket")
	// The copy can be copied, but not into a copy of the first bucket.
	first := t.TempDir()
	c.run(t, "bucket", "copy", "--to", first).expect(t, cli.ExitOK)
	opened := command{environ: []string{"VARVE_BUCKET=file://" + target}}
	opened.run(t, "bucket", "copy", "--to", first).expect(t, cli.ExitFailure, "neither empty nor a copy of the source")
	opened.run(t, "bucket", "copy", "--to", t.TempDir()).expect(t, cli.ExitOK)

	damaged := t.TempDir()
	path := filepath.Join(folder, filepath.FromSlash(segment.JournalKey(1, 6)))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte(nil), good...)
	bad[segment.HeaderSize+70] ^= 1 // a record: the journal can be read
	if err := os.WriteFile(path, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "copy", "--to", damaged).expect(t, cli.ExitFailure, segment.JournalKey(1, 6)+" cannot be copied", "bucket verify")
	if _, err := os.Stat(filepath.Join(damaged, filepath.FromSlash(segment.JournalKey(1, 7)))); err != nil {
		t.Errorf("the rest is not copied: %v", err)
	}
	if err := os.WriteFile(path, good, 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "copy", "--to", damaged).expect(t, cli.ExitOK, "is whole")
}
