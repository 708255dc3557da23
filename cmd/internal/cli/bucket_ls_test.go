package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/fetch/offline/offlinetest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

func TestLsListsTopicsPartitionsAndExtents(t *testing.T) {
	c := command{environ: []string{"VARVE_BUCKET=file://" + smallBucket(t)}}
	var topics []struct {
		Name                                         string
		Partitions, Offsets, Extents, Objects, Bytes int64
		Newest                                       *string
	}
	unmarshal(t, c.run(t, "bucket", "ls", "-o", "json"), &topics)
	if len(topics) != 1 || topics[0].Name != "events" || topics[0].Partitions != 1 || topics[0].Offsets != 6 ||
		topics[0].Extents != 2 || topics[0].Objects != 2 || topics[0].Bytes == 0 || topics[0].Newest == nil {
		t.Errorf("topics: %+v", topics)
	}
	var partitions []struct{ Partition, Journal, Start, End, Extents, Objects, Bytes int64 }
	unmarshal(t, c.run(t, "bucket", "ls", "events", "-o", "json"), &partitions)
	if len(partitions) != 1 || partitions[0].Journal != 1 || partitions[0].End != 6 || partitions[0].Bytes != topics[0].Bytes {
		t.Errorf("partitions: %+v", partitions)
	}
	var extents []struct {
		First, Last, Position, Length int64
		Object                        string
	}
	unmarshal(t, c.run(t, "bucket", "ls", "events/0", "-o", "json"), &extents)
	if len(extents) != 2 || extents[1].First != 3 || extents[1].Last != 5 || extents[1].Object != segment.JournalKey(1, 7) ||
		extents[0].Length+extents[1].Length != topics[0].Bytes {
		t.Errorf("extents: %+v", extents)
	}
	c.run(t, "bucket", "ls").expect(t, cli.ExitOK, "TOPIC", "events", "1970-01-01T00:00:00")
	c.run(t, "bucket", "ls", "events").expect(t, cli.ExitOK, "PARTITION", "OLDEST")
	c.run(t, "bucket", "ls", "events/0").expect(t, cli.ExitOK, "FIRST", segment.JournalKey(1, 6))
}

func unmarshal(t *testing.T, o outcome, to any) {
	t.Helper()
	o.expect(t, cli.ExitOK)
	if err := json.Unmarshal([]byte(o.stdout), to); err != nil {
		t.Fatalf("%v in\n%s", err, o.stdout)
	}
}

func TestCatPrintsARangeOfRecords(t *testing.T) {
	c := command{environ: []string{"VARVE_BUCKET=file://" + smallBucket(t)}}
	for line, want := range map[string]string{
		"events":                                "a b c a b c",
		"events/0 --from 2":                     "c a b c",
		"events --from 1 --to 4":                "b c a",
		"events --from 2 --max 2":               "c a",
		"events --max 3":                        "a b c", // ends with a batch
		"events --to earliest":                  "",
		"events --from latest":                  "",
		"events --from @0 --to 5":               "a b c a b",
		"events --from 2024-01-01":              "", // nothing is as new
		"events --partition 0 --parallel 1":     "a b c a b c",
		"events --to 3 --print-key":             "\ta \tb \tc",
		"events --from 4 --to 2":                "",
		"events --from 0 --to 900 --parallel=9": "a b c a b c",
	} {
		o := c.run(t, append([]string{"bucket", "cat"}, strings.Fields(line)...)...)
		o.expect(t, cli.ExitOK)
		if got := strings.Join(strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n"), " "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	o := c.run(t, "bucket", "cat", "events", "--from", "5", "-o", "json")
	o.expect(t, cli.ExitOK, `{"topic":"events","partition":0,"offset":5,"timestamp":"1970-`, `"key":null,"value":"c","headers":[]}`)
}

func TestBucketCommandsRefuseWhatIsNotThere(t *testing.T) {
	c := command{environ: []string{"VARVE_BUCKET=file://" + smallBucket(t)}}
	for line, want := range map[string]string{
		"ls gone":                      `"varve bucket ls" lists the topics`,
		"ls Events":                    `did you mean "events"?`,
		"ls events/7":                  "partitions 0 to 0, not 7",
		"ls events/x":                  "as in events/3",
		"ls a b":                       "one topic, or topic/partition",
		"cat events --from 7":          "has offsets 0 to 6",
		"cat events/0 --partition 0":   "as in events/3",
		"cat events --parallel 0":      "from 1 to 64",
		"cat events --max 0":           "from 1",
		"cat events --to tomorrow":     "--to",
		"cat events --key-separator x": "--print-key",
	} {
		c.run(t, append([]string{"bucket"}, strings.Fields(line)...)...).expect(t, cli.ExitUsage, want)
	}
	command{}.run(t, "bucket", "ls").expect(t, cli.ExitUsage, "VARVE_BUCKET")
	command{}.run(t, "bucket", "ls", "--bucket", "file://"+t.TempDir()).expect(t, cli.ExitFailure, "holds no cluster")
}

func TestDamageEndsCatAfterTheSoundRecords(t *testing.T) {
	folder := smallBucket(t)
	path := filepath.Join(folder, filepath.FromSlash(segment.JournalKey(1, 7)))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[segment.HeaderSize+4+70] ^= 1 // a byte of the records
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	o := c.run(t, "bucket", "cat", "events")
	o.expect(t, cli.ExitFailure, "events/0: read from offset 3 on", segment.JournalKey(1, 7))
	if o.stdout != "a\nb\nc\n" {
		t.Errorf("printed %q", o.stdout)
	}
}

// TestADeletedTopicIsShownUntilItIsPurged has another topic that was deleted before its
// partition was opened.
func TestADeletedTopicIsShownUntilItIsPurged(t *testing.T) {
	early := segment.ID{7}
	c := command{environ: []string{"VARVE_BUCKET=file://" + smallBucket(t,
		metadata.FeatureLevel{Level: 2}, metadata.TopicDeleted{ID: offlinetest.Events, AtMs: 5},
		metadata.TopicCreated{ID: early, Name: "early", ReplicationFactor: 1, CreatedMs: 6, Journals: []uint32{1}}, metadata.TopicDeleted{ID: early, AtMs: 7},
	)}}
	c.run(t, "bucket", "ls").expect(t, cli.ExitOK, "early", "events")
	c.run(t, "bucket", "ls", "events").expect(t, cli.ExitOK, "6")
	c.run(t, "bucket", "stat").expect(t, cli.ExitOK, "early", "events")
	c.run(t, "bucket", "explain", "events").expect(t, cli.ExitOK, "2 extents in 2 objects")
	c.run(t, "bucket", "orphans").expect(t, cli.ExitOK)
	if got := strings.Count(c.run(t, "bucket", "cat", "events").stdout, "\n"); got != 6 {
		t.Errorf("%d records of a deleted topic, want 6", got)
	}
}

func TestABucketThatLacksAnEndIsNotShownAsWhole(t *testing.T) {
	folder := smallBucket(t)
	c := command{environ: []string{"VARVE_BUCKET=file://" + folder}}
	if err := os.Remove(filepath.Join(folder, filepath.FromSlash(segment.JournalKey(1, 6)))); err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]string{{"ls"}, {"ls", "events/0"}, {"stat"}, {"cat", "events"}, {"explain", "events"}} {
		c.run(t, append([]string{"bucket"}, line...)...).expect(t, cli.ExitFailure, "seq 7 knows seq 6", "bucket verify")
	}
}
