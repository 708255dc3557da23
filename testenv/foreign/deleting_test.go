package foreign

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/testenv"
)

// TestTheReaderFollowsDropsAndDeletions has a topic that is dropped before it is merged, one
// that is merged by then, and journal objects that are deleted.
func TestTheReaderFollowsDropsAndDeletions(t *testing.T) {
	testenv.LookTool(t, "python3")
	server := testenv.MinIO(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	w := &deleting{server, &world{T: t, ctx: ctx, folder: "s3://" + server.Bucket + "/events?endpoint=http://" + server.Address, env: server.Env()}}
	flags := append(slices.Clone(merging), "--bucket", server.URL("events"), "--flush-interval", "1ms", "--checkpoint-objects", "8",
		"--delete-grace", "0s", "--retention-check", "100ms")
	w.node = testenv.Varve{Env: w.env, Args: flags}.Start(t)
	for _, topic := range []string{"stays", "merged", "early"} {
		w.varve("topic", "create", topic, "--partitions", "1")
	}
	c := w.client()
	w.produce(c, numbered("early", 0, "never merged", 2)...)
	w.varve("topic", "delete", "early", "--yes")
	want := w.untilDropped(1, "merged")
	w.varve("topic", "delete", "merged", "--yes")
	want += w.untilDropped(2)
	w.node.Stop(t)
	w.check(1) // while the graces last, nothing is deleted
	w.node = testenv.Varve{Env: w.env, Args: append(flags, "--replaced-grace", "0s", "--freed-grace", "0s")}.Start(t)
	c = w.client()
	for !w.deleted() {
		w.produce(c, numbered("stays", 0, "until objects are deleted", 1)...)
		want++
	}
	w.node.Stop(t)
	for _, flags := range [][]string{nil, {"--checkpoints"}} {
		if got := len(w.read(append([]string{"records", w.folder, "stays"}, flags...)...)); got != want {
			t.Errorf("%v: read %d records of %d", flags, got, want)
		}
	}
	w.check(2)
}

// deleting is a node that deletes objects as soon as it can.
type deleting struct {
	server *testenv.MinIOServer
	*world
}

// keys lists the names of objects below a prefix.
func (w *deleting) keys(prefix string) (names []string) {
	for o := range w.server.Client.ListObjects(w.ctx, w.server.Bucket, minio.ListObjectsOptions{Prefix: "events/" + prefix, Recursive: true}) {
		names = append(names, path.Base(o.Key))
	}
	return names
}

// untilDropped produces to the topic that stays, and to others, until a number of topics is
// dropped and the others are merged. It returns how many records the first one got.
func (w *deleting) untilDropped(n int, others ...string) (stay int) {
	w.Helper()
	c, wanted := w.client(), len(w.keys("topics/"))+len(others)
	for strings.Count(w.node.Log(), "partitions of topics that are gone were dropped") < n || len(w.keys("topics/")) < wanted {
		w.must(w.ctx.Err())
		for _, topic := range append(others, "stays") {
			w.produce(c, numbered(topic, 0, strings.Repeat("until topics are dropped ", 100), 1)...)
		}
		stay++
		time.Sleep(10 * time.Millisecond)
	}
	return stay
}

// check reads the whole bucket, which has so many fences or more.
func (w *deleting) check(fences float64) {
	w.Helper()
	journal := w.read("check", w.folder)[1]
	if w.Log(journal); journal["epoch"].(float64) < fences || journal["segments"].(float64) == 0 || fences == 1 && journal["valid"].(float64) < journal["head"].(float64) {
		w.Errorf("checked too little: %v", journal)
	}
}

// deleted reports whether an object is gone from the journal.
func (w *deleting) deleted() bool {
	w.must(w.ctx.Err())
	seqs := slices.DeleteFunc(w.keys("journals/1/"), func(name string) bool { return len(name) != 20 })
	slices.Sort(seqs)
	last, err := strconv.Atoi(seqs[len(seqs)-1])
	w.must(err)
	return len(seqs) < last
}
