package integration

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// awaitReadyz waits until /readyz answers with a code and contains a text. For
// "ready" the text must be the whole answer: a node that is ready lists its
// troubles below.
func awaitReadyz(t testing.TB, node *testenv.Node, code int, text string) {
	t.Helper()
	ctx := deadline(t)
	for {
		got, body := get(t, node, "/readyz")
		if got == code && (body == text+"\n" || text != "ready" && strings.Contains(body, text)) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("/readyz answers %d %q, want %d with %q", got, body, code, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// wantTrouble checks that every report of a node does, or does not, have a
// trouble of a kind.
func wantTrouble(t testing.TB, node *testenv.Node, kind string, want bool) {
	t.Helper()
	n, found := metric(t, node, "varve_trouble", `kind="`+kind+`"`)
	since, _ := metric(t, node, "varve_trouble_since_seconds", `kind="`+kind+`"`)
	if !found || n > 0 != want || since > 0 != want {
		t.Errorf("varve_trouble of %s is %v for %v s (found: %v)", kind, n, since, found)
	}
	_, status := get(t, node, "/status")
	if strings.Contains(status, `"kind": "`+kind+`"`) != want {
		t.Errorf("/status: want %s: %v\n%s", kind, want, status)
	}
	out := testenv.Varve{Args: []string{"cluster", "status", "--bootstrap", node.Kafka, "--http", node.HTTP}}.Run(t, patience)
	if bytes.Contains(out.Stdout, []byte(kind+" (")) != want || out.Code == 1 != want {
		t.Errorf("cluster status ends with %d, want %s: %v\n%s%s", out.Code, kind, want, out.Stdout, out.Stderr)
	}
}

// wantLog checks that texts are in the log, in this order.
func wantLog(t testing.TB, node *testenv.Node, texts ...string) {
	t.Helper()
	log := node.Log()
	for rest, i := log, 0; i < len(texts); i++ {
		_, after, found := strings.Cut(rest, texts[i])
		if !found {
			t.Errorf("%q is not in the log, or not in this order:\n%s", texts[i], log)
		}
		rest = after
	}
}

// awaitLog waits until a text is in the log.
func awaitLog(t testing.TB, node *testenv.Node, text string) {
	t.Helper()
	ctx := deadline(t)
	for !strings.Contains(node.Log(), text) {
		select {
		case <-ctx.Done():
			t.Fatalf("%q is not logged", text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// big is a record that fills disks.
func big(topic string) *kgo.Record {
	return &kgo.Record{Topic: topic, Value: bytes.Repeat([]byte{'x'}, 500_000)}
}

// A disk of 40 MB takes a write-ahead file of half its usual size. When that is
// full, because the bucket is away, every report says so. When the bucket is
// back the trouble ends on its own, also if the node was started again on the
// full disk.
func TestASmallDataDiskIsUsedAndAFullOneReported(t *testing.T) {
	t.Parallel()
	full(t)
	disk := smallDisk(t, 40<<20)
	b := smallBucket(t, 256<<20)
	node := b.start(t, "--data-dir", filepath.Join(disk, "data"))
	createTopic(t, node.Kafka, "events", 1)
	c := client(t, node.Kafka, append(slices.Clone(acksOne), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProduceRequestTimeout(time.Second), kgo.RecordDeliveryTimeout(8*time.Second), kgo.ProducerLinger(0))...)
	acked := produce(t, c, big("events"))
	awaitReadyz(t, node, http.StatusOK, "ready")
	wantTrouble(t, node, "disk", false)

	setReadOnly(t, filepath.Dir(b.folder), true)
	var err error
	for err == nil && len(acked) < 200 {
		r := big("events")
		if err = c.ProduceSync(deadline(t), r).FirstErr(); err == nil {
			acked = append(acked, r)
		}
	}
	if !errors.Is(err, kgo.ErrRecordTimeout) || len(acked) < 40 {
		t.Fatalf("after %d records: %v", len(acked), err)
	}
	awaitReadyz(t, node, http.StatusServiceUnavailable, "not ready: disk (journal 1): the write-ahead log takes no records")
	awaitReadyz(t, node, http.StatusServiceUnavailable, "bucket (writes): the bucket is read-only")
	wantTrouble(t, node, "disk", true)
	wantTrouble(t, node, "bucket", true)

	setReadOnly(t, filepath.Dir(b.folder), false)
	awaitReadyz(t, node, http.StatusOK, "ready")
	acked = append(acked, produce(t, c, big("events"))...)
	for _, kind := range []string{"disk", "bucket"} {
		wantTrouble(t, node, kind, false)
	}
	wantLog(t, node, "the write-ahead log takes no records", "the write-ahead log has room again")
	wantLog(t, node, "the bucket is read-only", "the bucket answers again")
	wantAcknowledged(t, node.Kafka, "events", acked)

	setReadOnly(t, filepath.Dir(b.folder), true)
	for err = nil; err == nil; {
		r := big("events")
		if err = c.ProduceSync(deadline(t), r).FirstErr(); err == nil {
			acked = append(acked, r)
		}
	}
	node.Kill(t)
	setReadOnly(t, filepath.Dir(b.folder), false)
	node.Restart(t) // there is no room for another file until the last log is in the bucket
	acked = append(acked, produce(t, client(t, node.Kafka, acksOne...), big("events"))...)
	wantAcknowledged(t, node.Kafka, "events", acked)
	node.Stop(t)
}

// A folder bucket on a full disk is reported as full.
func TestAFullFolderBucketIsReported(t *testing.T) {
	t.Parallel()
	b := smallBucket(t, 48<<20)
	node := b.start(t)
	createTopic(t, node.Kafka, "events", 1)
	c := client(t, node.Kafka, append(slices.Clone(acksOne), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	filler := filepath.Join(filepath.Dir(b.folder), "filler")
	if err := os.WriteFile(filler, make([]byte, 48<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	produce(t, c, big("events"))
	awaitReadyz(t, node, http.StatusOK, "trouble: bucket (writes): the bucket is full")
	wantTrouble(t, node, "bucket", true)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, node, "the bucket answers again")
	wantTrouble(t, node, "bucket", false)
}

// The node is not ready while its bucket is away for long, whether requests
// hang or fail, even if no client writes: a request for its health asks the
// bucket.
func TestANodeWhoseBucketIsAwayIsNotReady(t *testing.T) {
	t.Parallel()
	full(t)
	for name, away := range map[string]struct {
		begin, end func(*testing.T, bucket)
		says       string
		long       bool // until the node is not ready
	}{
		"stopped": {
			func(t *testing.T, b bucket) { signalPid(t, b.minio.Pid(t), syscall.SIGSTOP) },
			func(t *testing.T, b bucket) { signalPid(t, b.minio.Pid(t), syscall.SIGCONT) },
			"the bucket does not answer in time", true,
		},
		"killed": {
			func(t *testing.T, b bucket) { b.minio.Kill(t) },
			func(t *testing.T, b bucket) { b.minio.Restart(t) },
			"the bucket cannot be reached", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := ownMinIOBucket(t)
			node := b.start(t, "--create-bucket")
			createTopic(t, node.Kafka, "events", 1)
			awaitReadyz(t, node, http.StatusOK, "ready")
			away.begin(t, b)
			awaitReadyz(t, node, http.StatusOK, "trouble: bucket (reads): "+away.says)
			if away.long {
				awaitReadyz(t, node, http.StatusServiceUnavailable, "not ready: bucket (reads): "+away.says)
			}
			wantTrouble(t, node, "bucket", true)
			away.end(t, b)
			awaitReadyz(t, node, http.StatusOK, "ready")
			wantTrouble(t, node, "bucket", false)
			wantLog(t, node, away.says, "the bucket answers again")
			produce(t, client(t, node.Kafka), numbered("events", 0, "m", 10)...)
		})
	}
}

// Records that only a write-ahead log has, and that another node's leadership
// overtook, are a trouble, at each start, until they are exported.
func TestRecordsSetAsideAreATroubleUntilTheyAreExported(t *testing.T) {
	t.Parallel()
	b := smallBucket(t, 256<<20)
	node := b.start(t, oneWriter()...)
	createTopic(t, node.Kafka, "events", 1)
	setReadOnly(t, filepath.Dir(b.folder), true)
	produce(t, client(t, node.Kafka, acksOne...), numbered("events", 0, "lost", 3)...)
	node.Kill(t)
	setReadOnly(t, filepath.Dir(b.folder), false)
	other := b.start(t, oneWriter()...)
	produce(t, client(t, other.Kafka), numbered("events", 0, "kept", 2)...)
	other.Stop(t)

	node.Restart(t)
	awaitReadyz(t, node, http.StatusOK, "trouble: set-aside (journal 1): 3 records")
	node.Stop(t)
	node.Restart(t)
	awaitReadyz(t, node, http.StatusOK, "trouble: set-aside (journal 1): 3 records")
	wantTrouble(t, node, "set-aside", true)
	out := testenv.Varve{Args: []string{"wal", "export", "--data-dir", node.DataDir}}.Run(t, patience)
	if n := bytes.Count(out.Stdout, []byte("\n")); out.Code != 0 || n != 3 {
		t.Errorf("exported %d records, code %d: %s", n, out.Code, out.Stderr)
	}
	awaitLog(t, node, "the records set aside are in the journal, exported or deleted")
	wantTrouble(t, node, "set-aside", false)
	if n, found := metric(t, node, "varve_wal_set_aside_records"); n != 0 || !found {
		t.Errorf("%v records set aside", n)
	}
}
