package foreign

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
)

// TestABucketOfLevel1IsUpgradedAndReadsTheSame opens a bucket that a program without merges
// has written, upgrades it, lets it merge, and compares records, offsets and groups at each step.
func TestABucketOfLevel1IsUpgradedAndReadsTheSame(t *testing.T) {
	testenv.LookTool(t, "python3")
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w := &world{T: t, folder: filepath.Join(t.TempDir(), "bucket"), ctx: ctx}
	w.unpack("testdata/level1.tar.gz")
	before := w.read("all", w.folder, "events", "odd.ones", "packed")
	if n := len(w.recordsOf(before)); n < 400 {
		t.Fatalf("the bucket has %d records, which tests too little", n)
	}
	w.checkAll()

	u := url.URL{Scheme: "file", Path: w.folder}
	w.node = testenv.StartVarve(t, append([]string{"--bucket", u.String(), "--flush-interval", "1ms", "--checkpoint-objects", "8"}, merging...)...)
	w.wantNode("opened", before, w.topicsOf(before))
	w.varve("topic", "alter", "events", "--config", "cleanup.policy=delete") // or its records are compacted
	topics := w.described()
	if out := string(w.varve("cluster", "upgrade", "--yes")); !strings.Contains(out, "3") {
		t.Errorf("the upgrade says %q", out)
	}
	w.wantNode("upgraded", before, topics)
	w.untilAllIsMerged()
	w.wantNode("merged", before, topics)
	w.restart()
	w.wantNode("after a kill", before, topics)
	w.node.Stop(t)
	w.wantReader("from the first object", before, topics)
	w.wantReader("from checkpoints", before, topics, "--checkpoints")
	checked := w.read("check", w.folder)
	if o := (testenv.Varve{Args: []string{"bucket", "verify", "--records", "--bucket", u.String()}}).Run(t, patience); o.Code != 0 {
		t.Errorf("varve bucket verify: exit code %d: %s%s", o.Code, o.Stdout, o.Stderr)
	}
	t.Logf("checked: %v", checked)
}

// untilAllIsMerged waits until each partition of the topics has a segment.
func (w *world) untilAllIsMerged() {
	w.Helper()
	for {
		found := map[string]bool{}
		for _, l := range w.read("segments", w.folder) {
			found[fmt.Sprint(l["topic"], "-", l["partition"])] = true
		}
		if found["events-0"] && found["odd.ones-0"] && found["packed-0"] {
			return
		}
		select {
		case <-w.ctx.Done():
			w.Fatalf("these partitions have merged segments only: %v", found)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

var topicsOfFill = []string{"events", "odd.ones", "packed"}

// wantNode compares the node's records and groups with lines of the reader.
func (w *world) wantNode(when string, want []line, topics map[string]line) {
	w.Helper()
	wantEqual(w.T, when+": records", w.consumed(topicsOfFill), w.recordsOf(want))
	wantEqual(w.T, when+": topics", w.described(), topics)
	wantEqual(w.T, when+": groups", w.committed(), groupsOf(want))
}

func (w *world) wantReader(when string, want []line, topics map[string]line, flags ...string) {
	w.Helper()
	lines := w.read(append(append([]string{"all", w.folder}, topicsOfFill...), flags...)...)
	wantEqual(w.T, when+": records", w.recordsOf(lines), w.recordsOf(want))
	wantEqual(w.T, when+": topics", w.topicsOf(lines), topics)
	wantEqual(w.T, when+": groups", groupsOf(lines), groupsOf(want))
}

// unpack writes the files of an archive to the folder of the bucket.
func (w *world) unpack(path string) {
	w.Helper()
	file, err := os.Open(path)
	w.must(err)
	defer file.Close()
	packed, err := gzip.NewReader(file)
	w.must(err)
	for r := tar.NewReader(packed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		w.must(err)
		if h.Typeflag == tar.TypeReg {
			b, err := io.ReadAll(r)
			w.must(err)
			w.put(h.Name, b)
		}
	}
}
