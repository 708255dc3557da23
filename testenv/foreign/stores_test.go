package foreign

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// TestTheReaderTakesAFolderAndAnS3Bucket compares the records of a node with those that the
// reader finds in its bucket.
func TestTheReaderTakesAFolderAndAnS3Bucket(t *testing.T) {
	testenv.LookTool(t, "python3")
	for name, open := range map[string]func(*world) []string{
		"folder": func(w *world) []string {
			w.folder = filepath.Join(w.TempDir(), "bucket")
			u := url.URL{Scheme: "file", Path: w.folder}
			return []string{"--bucket", u.String(), "--create-bucket"}
		},
		"MinIO": func(w *world) []string {
			server := testenv.MinIO(w)
			w.folder, w.env = "s3://"+server.Bucket+"/events?endpoint=http://"+server.Address, server.Env()
			return []string{"--bucket", server.URL("events")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			w := &world{T: t, ctx: ctx}
			flags := append(open(w), "--flush-interval", "1ms", "--checkpoint-objects", "8", "--group-initial-rebalance-delay", "0s")
			w.node = testenv.Varve{Args: flags, Env: w.env}.Start(t)
			w.topics()
			w.oddRecords()
			c := w.client(kgo.ProducerBatchCompression(kgo.GzipCompression()))
			for i := range 40 {
				w.produce(c, numbered("events", int32(i%3), fmt.Sprintf("object %d", i), 1+i%3)...)
			}
			w.commit()
			want := w.consumed(topicsOfFill)
			described, committed := w.described(), w.committed()
			w.node.Stop(t)
			for _, flags := range [][]string{nil, {"--checkpoints"}} {
				lines := w.read(append(append([]string{"all", w.folder}, topicsOfFill...), flags...)...)
				wantEqual(t, "records", w.recordsOf(lines), want)
				wantEqual(t, "topics", w.topicsOf(lines), described)
				wantEqual(t, "groups", groupsOf(lines), committed)
			}
		})
	}
}
