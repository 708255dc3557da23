package foreign

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
)

// TestTheReaderTakesMergedSegmentsWithoutJournals writes segments into an empty bucket, and
// spoils some bytes of the small one.
func TestTheReaderTakesMergedSegmentsWithoutJournals(t *testing.T) {
	testenv.LookTool(t, "python3")
	t.Parallel()
	w := &world{T: t, folder: t.TempDir(), ctx: t.Context()}
	cluster, topic := segment.NewID(), segment.NewID()
	root, err := segment.EncodeCluster(segment.Cluster{ID: cluster, Format: 2, Window: 4, CreatedMs: 1})
	w.must(err)
	w.put("cluster", root)
	name, err := segment.EncodeTopicName(segment.TopicName{Cluster: cluster, Topic: topic, Name: "events"})
	w.must(err)
	w.put(segment.TopicNameKey(topic), name)

	small, smallKey := w.merged(cluster, segment.SharedSegment(1, segment.NewID()), topic, 0, 3, 10)
	large, largeKey := w.merged(cluster, segment.OwnSegment(topic, 2, 7, segment.NewID()), topic, 2, 40, 100_000)
	w.put(smallKey, small)
	w.put(largeKey, large)
	want := []line{
		{"key": smallKey, "topic": "events", "partition": 0.0, "from": 7.0, "to": 13.0, "records": 3.0, "decoded": 2.0, "blocks": 1.0},
		{"key": largeKey, "topic": "events", "partition": 2.0, "from": 7.0, "to": 87.0, "records": 40.0, "decoded": 27.0, "blocks": 3.0},
		{"key": segment.TopicNameKey(topic), "topic": "events"},
	}
	if got := w.read("segments", w.folder); !reflect.DeepEqual(got, want) {
		t.Errorf("the reader has\n%v\nwant\n%v", got, want)
	}
	w.must(os.Remove(filepath.Join(w.folder, filepath.FromSlash(largeKey))))
	for i := 0; i < len(small); i += len(small)/10 + 1 {
		damaged := bytes.Clone(small)
		damaged[i] ^= 1
		w.must(os.Remove(filepath.Join(w.folder, smallKey)))
		w.put(smallKey, damaged)
		if _, failure := w.run("segments", w.folder); !strings.Contains(failure, "corrupt: ") && !strings.Contains(failure, "too old: ") {
			t.Fatalf("byte %d of %d: the reader says %q", i, len(small), failure)
		}
	}
}

func (w *world) put(key string, b []byte) {
	w.Helper()
	path := filepath.Join(w.folder, filepath.FromSlash(key))
	w.must(os.MkdirAll(filepath.Dir(path), 0o700))
	w.must(os.WriteFile(path, b, 0o600))
}

// merged is a segment of n batches of a record each, from offset 7 on, with a gap after each.
// Every third one has a codec that the reader does not decode.
func (w *world) merged(cluster segment.ID, name segment.Name, topic segment.ID, index int32, n, size int) ([]byte, string) {
	w.Helper()
	var b bytes.Buffer
	m, err := segment.NewMergedWriter(&b, segment.MergedHeader{
		Name: name, Journal: 1, Cluster: cluster, Job: segment.NewID(), Node: segment.NewID(), Incarnation: segment.NewID(), BuiltMs: 5,
	})
	w.must(err)
	w.must(m.Begin(segment.MergedPart{Topic: topic, Index: index, TopicName: "events", From: 7, To: 7 + 2*int64(n), SourceMs: 4}))
	for i := range n {
		value := bytes.Repeat([]byte("a record "), size/9+1)
		if i%3 == 0 {
			slices.Reverse(value)
		}
		spec := batchtest.Spec{BaseOffset: 7 + 2*int64(i), LeaderEpoch: int32(i / 2), Records: []batchtest.Record{{Value: value, Timestamp: 1000 + int64(i)}}}
		if i%3 == 2 {
			spec.Codec = batch.Snappy
		}
		w.must(m.Append(batchtest.Build(spec), nil))
	}
	_, err = m.End()
	w.must(err)
	_, err = m.Close()
	w.must(err)
	return b.Bytes(), name.Key()
}
