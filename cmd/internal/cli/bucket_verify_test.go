package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/fetch/offline/offlinetest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/file"
	"github.com/varvelog/varve/tiering/segment"
)

// smallBucket is a bucket of one topic, events, with six records in two segments,
// seqs 6 and 7 of journal 1. It returns the folder.
func smallBucket(t *testing.T, more ...metadata.Change) string {
	t.Helper()
	folder := t.TempDir()
	store, err := file.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	offlinetest.Bucket(2, 1, func(key string, object []byte) {
		if err := store.Create(t.Context(), key, objstore.Plain(object)); err != nil {
			t.Fatal(err)
		}
	}, more...)
	return folder
}

func TestVerifyOfASoundBucket(t *testing.T) {
	c := command{environ: []string{"VARVE_BUCKET=file://" + smallBucket(t)}}
	c.run(t, "bucket", "verify").expect(t, cli.ExitOK, "JOURNAL", "12 objects", ": sound\n")
	c.run(t, "bucket", "verify", "--topic", "events:0", "--records").expect(t, cli.ExitOK, ": sound\n")
	o := c.run(t, "bucket", "verify", "--journal", "1", "-o", "json")
	o.expect(t, cli.ExitOK)
	var result struct {
		Sound    bool
		Journals []struct{ Journal, Head, Records int }
		Findings []any
	}
	if err := json.Unmarshal([]byte(o.stdout), &result); err != nil {
		t.Fatal(err)
	}
	if !result.Sound || len(result.Journals) != 2 || result.Journals[1].Records != 6 || result.Journals[1].Head != 7 || result.Findings == nil {
		t.Fatalf("%s", o.stdout)
	}
}

func TestVerifyNamesWhatIsDamaged(t *testing.T) {
	folder := smallBucket(t)
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	if err := os.Remove(filepath.Join(folder, filepath.FromSlash(segment.JournalKey(1, 6)))); err != nil {
		t.Fatal(err)
	}
	c.run(t, "bucket", "verify").expect(t, cli.ExitFailure,
		"error: journals/1/00000000000000000006: missing", "affects events-0 offsets 0 to 2", "not sound; 1 error", "is not sound: 1 error")
	o := c.run(t, "bucket", "verify", "-o", "json")
	o.expect(t, cli.ExitFailure, `"code": "missing"`, `"topic": "events"`, `"sound": false`)
	if !json.Valid([]byte(o.stdout)) {
		t.Fatalf("not JSON: %s", o.stdout)
	}
}

func TestVerifyRefusesWhatIsNotThere(t *testing.T) {
	url := "--bucket=file://" + smallBucket(t)
	for _, tc := range [][2]string{
		{"--topic=gone", `topic "gone" is not in the bucket`}, {"--topic=events:7", "partition 7"}, {"--topic=events:x", "name:partition"},
		{"--topic=:1", "name:partition"}, {"--journal=9", "journal 9 is not in the bucket"}, {"--journal=99999999999", "at most 4294967295"},
	} {
		command{}.run(t, "bucket", "verify", url, tc[0]).expect(t, cli.ExitUsage, tc[1])
	}
	command{}.run(t, "bucket", "verify", url, "--topic=events", "--journal=1").expect(t, cli.ExitUsage, "exclude each other")
	command{}.run(t, "bucket", "verify").expect(t, cli.ExitUsage, "VARVE_BUCKET")
	command{}.run(t, "bucket", "verify", "--bucket", "file://"+filepath.Join(t.TempDir(), "none")).expect(t, cli.ExitFailure, "does not exist")
}
