package cli_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
)

const truncationHeader = "TOPIC PARTITION START BEFORE END LAST DELETED RESULT "

// timeless replaces the times of a table.
func timeless(table string) string {
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`).ReplaceAllString(words(table), "TIME")
}

func TestDeletingRecordsShowsThePlanFirst(t *testing.T) {
	c := broker(t, kfake.SeedTopics(2, "a"))
	c.reading("a\nb\nc\n").run(t, "produce", "a", "--partition", "0").expect(t, cli.ExitOK)
	c.reading("d\n").run(t, "produce", "a", "--partition", "1").expect(t, cli.ExitOK)
	o := c.run(t, "topic", "delete-records", "a", "--before", "latest", "--dry-run")
	o.expect(t, cli.ExitOK, "nothing was deleted")
	if got, want := timeless(o.stdout), truncationHeader+"a 0 0 3 3 TIME planned a 1 0 1 1 TIME planned"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	c.run(t, "topic", "delete-records", "a", "--before", "latest").expect(t, cli.ExitUsage, "--yes")
	c.run(t, "topic", "delete-records", "a", "--before", "2").expect(t, cli.ExitUsage, "--before 2: partition 1 has offsets 0 to 1")
	o = c.run(t, "topic", "delete-records", "a", "--before", "2", "--partition", "0", "--yes")
	if o.expect(t, cli.ExitOK); timeless(o.stdout) != truncationHeader+"a 0 0 2 3 TIME deleted" {
		t.Fatalf("got %q", o.stdout)
	}
	if o := c.run(t, "consume", "a", "--until-end", "--partition", "0"); o.stdout != "c\n" {
		t.Fatalf("got %q", o.stdout)
	}
	o = c.run(t, "topic", "delete-records", "a", "--before", "-1h", "--yes", "-o", "json")
	var got []struct {
		Start, Before int64
		Result        string
	}
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || len(got) != 2 || got[0].Before != 2 || got[0].Result != "deleted" {
		t.Fatalf("%v in %s", err, o.stdout)
	}
}

// history has a record of each year from 2020 to 2023 in partition 0, and nothing in
// partition 1.
func history(t *testing.T) (*kfake.Cluster, command) {
	cluster, c := control(t, kfake.SeedTopics(2, "a"))
	var lines strings.Builder
	for _, year := range []string{"2020", "2021", "2022", "2023"} {
		lines.WriteString(`{"at":"` + year + `-06-01T00:00:00Z"}` + "\n")
	}
	c.reading(lines.String()).run(t, "produce", "a", "--partition", "0", "--timestamp-field", "at").expect(t, cli.ExitOK)
	return cluster, c
}

func TestDeletingByTimeStopsAtTheFirstRecordOfThatTime(t *testing.T) {
	_, c := history(t)
	o := c.run(t, "topic", "delete-records", "a", "--before", "2022-01-01", "--yes")
	if o.expect(t, cli.ExitOK); words(o.stdout) != truncationHeader+"a 0 0 2 4 2021-06-01T00:00:00.000Z deleted a 1 0 0 0 - deleted" {
		t.Fatalf("got %q", o.stdout)
	}
}

// TestNothingNewerIsNotAll: a wrong date must not empty a topic.
func TestNothingNewerIsNotAll(t *testing.T) {
	_, c := history(t)
	deletion := []string{"topic", "delete-records", "a", "--before", "2024-01-01", "--yes"}
	o := c.run(t, deletion...)
	o.expect(t, cli.ExitUsage, "partition 0 has no record of 2024-01-01T00:00:00.000Z or later", "at 4 offsets, the last one of 2023-06-01T00:00:00.000Z", "--allow-empty")
	c.run(t, append(deletion, "--dry-run")...).expect(t, cli.ExitUsage, "--allow-empty")
	if o := c.run(t, "consume", "a", "--until-end", "--partition", "0", "--max", "1"); !strings.Contains(o.stdout, "2020") {
		t.Fatalf("deleted all the same: %q", o.stdout)
	}
	o = c.run(t, append(deletion, "--allow-empty")...)
	if o.expect(t, cli.ExitOK); !strings.Contains(words(o.stdout), "a 0 0 4 4 2023-06-01T00:00:00.000Z deleted") {
		t.Fatalf("got %q", o.stdout)
	}
}

// TestNewerRecordsAreNotDeletedAsOlder: a broker that believes the headers of batches
// finds no record as new, or a later one than the first.
func TestNewerRecordsAreNotDeletedAsOlder(t *testing.T) {
	for _, found := range []int64{-1, 3} {
		cluster, c := history(t)
		cluster.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			req := kreq.(*kmsg.ListOffsetsRequest)
			if req.Topics[0].Partitions[0].Timestamp < 0 {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = "a"
			for _, p := range req.Topics[0].Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Offset, rp.Timestamp = p.Partition, -1, -1
				if p.Partition == 0 && found >= 0 {
					rp.Offset, rp.Timestamp = found, 1_700_000_000_000
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
			return resp, nil, true
		})
		c.run(t, "topic", "delete-records", "a", "--before", "2000-01-01", "--yes", "--allow-empty").
			expect(t, cli.ExitFailure, "which is not before 2000-01-01T00:00:00.000Z")
	}
}
