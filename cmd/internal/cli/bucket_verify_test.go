package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/file"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// smallBucket is a bucket of one topic, events, with six records in two segments,
// seqs 6 and 7 of journal 1. It returns the folder.
func smallBucket(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	store, err := file.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	create := func(key string, b []byte, err error) {
		t.Helper()
		if err == nil {
			err = store.Create(t.Context(), key, objstore.Plain(b))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cluster, events := segment.ID{1}, segment.ID{2}
	b, err := segment.EncodeCluster(segment.Cluster{ID: cluster, Format: 1, Window: 4, CreatedMs: 1})
	create(segment.ClusterKey, b, err)
	var metas []segment.Entry
	for _, c := range []metadata.Change{
		metadata.FeatureLevel{Level: 1}, metadata.JournalCreated{ID: 1},
		metadata.TopicCreated{ID: events, Name: "events", ReplicationFactor: 1, CreatedMs: 1, Journals: []uint32{1}},
	} {
		e, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		metas = append(metas, e)
	}
	records := func(base int64) []segment.Records {
		b := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "a", "b", "c"), BaseOffset: base, LeaderEpoch: 1})
		return []segment.Records{{Partition: segment.Partition{Topic: events, LeaderEpoch: 1}, Batches: [][]byte{b}}}
	}
	type object struct {
		entries []segment.Entry
		records []segment.Records
	}
	for id, objects := range [][]object{
		{{entries: metas}},
		{{entries: []segment.Entry{partlog.Open{Key: partlog.Key{Topic: events}}.Encode()}}, {records: records(0)}, {records: records(3)}},
	} {
		chain := journal.NewChain(cluster, uint32(id), 4)
		for seq := 1; seq <= 4+len(objects); seq++ {
			h := segment.Header{
				Kind: segment.KindData, Cluster: cluster, Object: segment.ID{3, byte(id), byte(seq)}, Journal: uint32(id), Epoch: 1,
				Seq: uint64(seq), Prev: chain.Tail, Confirmed: uint64(seq) - 1, Node: segment.ID{4}, Incarnation: segment.ID{5},
			}
			var o object
			switch {
			case seq == 1:
				h.Kind = segment.KindFence
			case seq <= 4:
				h.Kind, h.Prev = segment.KindFiller, chain.Fence
			default:
				o = objects[seq-5]
			}
			b, _, err := segment.Build(h, o.entries, o.records)
			create(segment.JournalKey(h.Journal, h.Seq), b, err)
			chain.Advance(&h, journal.Valid)
		}
	}
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
