package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
)

// merging are flags with which a node merges a few kilobytes at once.
var merging = []string{
	"--merge-bytes", "16KiB", "--merge-age", "1s", "--merge-own-bytes", "8KiB", "--merge-wait", "20ms", "--checkpoint-objects", "8", "--verify-rate", "1GiB",
}

// run runs a command on the bucket, which must succeed, and returns its output.
func (b bucket) run(t testing.TB, args ...string) string {
	t.Helper()
	out := b.runs(t, args...)
	if out.Code != 0 {
		t.Fatalf("varve %s: exit code %d\n%s%s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	return string(out.Stdout)
}

func (b bucket) runs(t testing.TB, args ...string) testenv.Output {
	t.Helper()
	return testenv.Varve{Args: append(args, "--bucket", b.url), Env: b.env}.Run(t, patience)
}

// stat is the output of bucket stat for one topic.
func (b bucket) stat(t testing.TB, topic string) (journal, merged int64) {
	t.Helper()
	var s struct {
		Topics []struct {
			Name                 string
			Journal, Shared, Own int64
		}
	}
	if err := json.Unmarshal([]byte(b.run(t, "bucket", "stat", "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	for _, one := range s.Topics {
		if one.Name == topic {
			return one.Journal, one.Shared + one.Own
		}
	}
	t.Fatalf("no topic %s in %+v", topic, s)
	return 0, 0
}

// sortedLines sorts JSON lines of consume and cat, which mix partitions.
func sortedLines(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// elsewhere is another bucket of the same kind.
func (b bucket) elsewhere(t testing.TB) bucket {
	t.Helper()
	if b.minio == nil {
		return fileBucket(t)
	}
	return bucket{url: b.minio.URL("copy"), env: b.env, minio: b.minio}
}

func TestABucketIsReadVerifiedAndCopiedWhileItIsMerged(t *testing.T) {
	full(t)
	onStores(t, func(t *testing.T, b bucket) {
		node := b.start(t, merging...)
		createTopic(t, node.Kafka, "events", 3)
		c := client(t, node.Kafka)
		for round := range 12 {
			for partition := range int32(3) {
				records := numbered("events", partition, "r", 40*(round+1))[40*round:]
				for _, r := range records {
					r.Value = append(r.Value, strings.Repeat("x", 100)...)
				}
				produce(t, c, records...)
			}
		}
		begun := time.Now()
		for {
			if _, merged := b.stat(t, "events"); merged > 0 {
				break
			}
			if time.Since(begun) > patience {
				t.Fatalf("nothing is merged:\n%s", node.Log())
			}
		}
		copyTo := b.elsewhere(t)
		b.run(t, "bucket", "copy", "--to", copyTo.url, "--create-bucket")
		produce(t, c, numbered("events", 0, "later", 10)...)
		want := sortedLines(string(mustRun(t, node, "consume", "events", "--until-end", "-o", "json")))
		if got := sortedLines(b.run(t, "bucket", "cat", "events", "-o", "json")); !slices.Equal(got, want) {
			t.Errorf("bucket cat gives %d records, consume %d", len(got), len(want))
		}
		verifiedTwice(t, b)
		if age, ok := metric(t, node, "varve_verify_oldest_seconds"); !ok || age > patience.Seconds() {
			t.Errorf("oldest byte not verified: %v, %v", age, ok)
		}
		b.run(t, "bucket", "copy", "--to", copyTo.url)
		if got := sortedLines(copyTo.run(t, "bucket", "cat", "events", "-o", "json")); !slices.Equal(got, want) {
			t.Errorf("the copy has %d records, want %d", len(got), len(want))
		}
		verifiedTwice(t, copyTo)
		node.Stop(t)
		openedCopy(t, b, copyTo, node.DataDir, want)
	})
}

// verifiedTwice verifies a bucket in both ways.
func verifiedTwice(t *testing.T, b bucket) {
	t.Helper()
	for _, args := range [][]string{{"bucket", "verify"}, {"bucket", "verify", "--records"}} {
		if out := b.run(t, args...); !strings.Contains(out, "sound") || strings.Contains(out, "warning") {
			t.Errorf("%v: %s", args, out)
		}
	}
}

// openedCopy starts a node on a copy, which becomes a cluster of its own.
func openedCopy(t *testing.T, source, b bucket, dataDir string, want []string) {
	t.Helper()
	if out := b.runs(t, "serve", "--data-dir", dataDir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"); out.Code != 5 || !strings.Contains(string(out.Stderr), "do not belong together") {
		t.Errorf("with the data folder of the source: exit code %d: %s", out.Code, out.Stderr)
	}
	node := b.start(t, merging...)
	if got := sortedLines(string(mustRun(t, node, "consume", "events", "--until-end", "-o", "json"))); !slices.Equal(got, want) {
		t.Errorf("the node on the copy has %d records, want %d", len(got), len(want))
	}
	produce(t, client(t, node.Kafka), numbered("events", 1, "own", 10)...)
	if out := source.runs(t, "bucket", "copy", "--to", b.url); out.Code != 1 || !strings.Contains(string(out.Stderr), "a node has written to it") {
		t.Errorf("a copy into it: exit code %d: %s", out.Code, out.Stderr)
	}
	node.Stop(t)
	node.Restart(t)
	if got := sortedLines(string(mustRun(t, node, "consume", "events", "--until-end", "-o", "json"))); len(got) != len(want)+10 {
		t.Errorf("%d records, want %d", len(got), len(want)+10)
	}
	node.Stop(t)
	verifiedTwice(t, b)
}
