package foreign

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// merging are flags of a node that merges as soon as it can, at every level.
var merging = []string{"--merge-bytes", "16KiB", "--merge-age", "1s", "--merge-own-bytes", "4KiB", "--merge-join-age", "1s",
	"--merge-join-count", "2", "--merge-wait", "10ms"}

// TestTheReaderTakesAFolderAndAnS3Bucket compares the records of a node that merges with
// those that the reader finds in its bucket.
func TestTheReaderTakesAFolderAndAnS3Bucket(t *testing.T) {
	testenv.LookTool(t, "python3")
	for name, open := range map[string]func(*world) (flags []string, keys func(prefix string) int){
		"folder": func(w *world) ([]string, func(string) int) {
			w.folder = filepath.Join(w.TempDir(), "bucket")
			u := url.URL{Scheme: "file", Path: w.folder}
			return []string{"--bucket", u.String(), "--create-bucket"}, w.filesBelow
		},
		"MinIO": func(w *world) ([]string, func(string) int) {
			server := testenv.MinIO(w)
			w.folder, w.env = "s3://"+server.Bucket+"/events?endpoint=http://"+server.Address, server.Env()
			return []string{"--bucket", server.URL("events")}, func(prefix string) (n int) {
				for range server.Client.ListObjects(w.ctx, server.Bucket, minio.ListObjectsOptions{Prefix: "events/" + prefix, Recursive: true}) {
					n++
				}
				return n
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			w := &world{T: t, ctx: ctx}
			flags, keys := open(w)
			flags = append(append(flags, merging...), "--flush-interval", "1ms", "--checkpoint-objects", "8", "--group-initial-rebalance-delay", "0s")
			w.node = testenv.Varve{Args: flags, Env: w.env}.Start(t)
			w.topics()
			w.varve("topic", "alter", "events", "--config", "cleanup.policy=delete")
			w.oddRecords()
			w.commit()
			w.untilMerged(keys)
			latest := w.untilCompacted()
			w.produce(w.client(), numbered("events", 0, "not merged yet", 3)...)
			want := w.consumed(topicsOfFill)
			described, committed := w.described(), w.committed()
			w.node.Stop(t)
			for _, flags := range [][]string{nil, {"--checkpoints"}} {
				lines := w.read(append(append([]string{"all", w.folder}, topicsOfFill...), flags...)...)
				wantEqual(t, "records", w.recordsOf(lines), want)
				topics := w.topicsOf(lines)
				delete(topics, "latest")
				wantEqual(t, "topics", topics, described)
				wantEqual(t, "groups", groupsOf(lines), committed)
			}
			w.wantLatest(latest)
			merged := w.read("segments", w.folder)
			checked := w.read("check", w.folder)
			t.Logf("%d partitions in merged segments; %v", len(merged), checked)
			if checked[1]["segments"].(float64) == 0 {
				t.Error("no extent names a merged segment")
			}
		})
	}
}

// untilCompacted produces to a compacted topic until the reader finds fewer records. It
// returns the last value of each key.
func (w *world) untilCompacted() map[string]string {
	w.Helper()
	w.varve("topic", "create", "latest", "--config", "cleanup.policy=compact", "--config", "min.cleanable.dirty.ratio=0.01")
	c, latest := w.client(), map[string]string{}
	for i := 0; ; i++ {
		records := numbered("latest", 0, fmt.Sprintf("round %d", i), 40)
		w.produce(c, records...)
		for _, r := range records {
			latest[string(r.Key)] = string(r.Value)
		}
		if i%10 == 9 && len(w.read("records", w.folder, "latest")) < 40*(i+1) {
			return latest
		}
	}
}

// wantLatest looks for the last value of each key.
func (w *world) wantLatest(latest map[string]string) {
	w.Helper()
	found, last := map[string]string{}, -1.0
	for _, l := range w.read("records", w.folder, "latest") {
		if l["offset"].(float64) <= last {
			w.Errorf("offset %v follows %v", l["offset"], last)
		}
		last = l["offset"].(float64)
		found[l["key"].(string)] = l["value"].(string)
	}
	wantEqual(w.T, "last values", found, latest)
}

// untilMerged produces until there are own and shared segments, in some number.
func (w *world) untilMerged(keys func(prefix string) int) {
	w.Helper()
	c := w.client(kgo.ProducerBatchCompression(kgo.GzipCompression()))
	for i := 0; keys("merged/") < 2 || keys("topics/") < 6; i++ {
		w.produce(c, numbered("events", int32(i%3), fmt.Sprintf("object %d", i), 1+i%3)...)
		large := numbered("events", 2, strings.Repeat("incompressible ", 400), 1)
		w.produce(w.client(), large...)
	}
}

// filesBelow counts files of the bucket.
func (w *world) filesBelow(prefix string) (n int) {
	w.Helper()
	filepath.WalkDir(filepath.Join(w.folder, prefix), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}
