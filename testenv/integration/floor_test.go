package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/segment"
)

// TestAStartNeedsNoCheckpointButTheFloors writes a few thousand objects, so
// that the floor moves. Then the node is killed, its data folder is lost, and
// so are all checkpoints but those that floors name. A node that only reads
// stands still until the floor has passed its position.
func TestAStartNeedsNoCheckpointButTheFloors(t *testing.T) {
	full(t)
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t, "--flush-interval", "1ms", "--checkpoint-objects", "100")
	createTopic(t, node.Kafka, "events", 3)
	reader := b.start(t, "--roles", "fetch", "--archive")
	awaitTopic(t, reader, "events")
	signal(t, reader, syscall.SIGSTOP)

	acknowledged := writeUntil(t, node.Kafka, "events", func() bool { return len(floors(t, b, 1)) >= 1 })
	moved := floors(t, b, 1)
	t.Logf("%d records, %d objects, floor at seq %d", len(acknowledged), len(glob(t, b, "journals/1/0*")), moved[len(moved)-1].Floor)

	signal(t, reader, syscall.SIGCONT)
	head, _ := metric(t, node, "varve_journal_head", `journal="1"`)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if at, _ := metric(t, reader, "varve_journal_head", `journal="1"`); at >= head {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the node that stood still is at seq %v, the other at %v", at, head)
		}
	}
	wantAcknowledged(t, reader.Kafka, "events", acknowledged)

	node.Kill(t)
	forgetHints(t, b, 0)
	forgetHints(t, b, 1)
	began := time.Now()
	node = b.startFresh(t, node)
	t.Logf("ready after %v without hints", time.Since(began))
	wantAcknowledged(t, node.Kafka, "events", acknowledged)
	more := produce(t, client(t, node.Kafka), numbered("events", 0, "more", 10)...)
	wantAcknowledged(t, reader.Kafka, "events", append(acknowledged, more...))
	node.Stop(t)
	out := testenv.Varve{Args: []string{"bucket", "verify", "--bucket", b.url}, Env: b.env}.Run(t, patience)
	if out.Code != 0 {
		t.Errorf("bucket verify: exit code %d: %s%s", out.Code, out.Stdout, out.Stderr)
	}
}

// writeUntil writes single records, each waited for, until done returns true.
func writeUntil(t *testing.T, address, topic string, done func() bool) (acknowledged []*kgo.Record) {
	t.Helper()
	const writers = 8
	stop := make(chan struct{})
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx := t.Context()
	for w := range writers {
		c := client(t, address)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r := &kgo.Record{Topic: topic, Partition: int32(w % 3), Value: fmt.Appendf(nil, "writer %d, record %d", w, i)}
				if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
					t.Errorf("writer %d, record %d: %v", w, i, err)
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, r)
				mu.Unlock()
			}
		})
	}
	for end := time.Now().Add(2 * patience); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) || t.Failed() {
			t.Error("the floor has not moved")
			break
		}
	}
	close(stop)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return acknowledged
}

// signal sends a signal to a node's process.
func signal(t *testing.T, node *testenv.Node, s syscall.Signal) {
	t.Helper()
	signalPid(t, node.Pid(), s)
}

func signalPid(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// glob lists the files of a file bucket that match a pattern.
func glob(t *testing.T, b bucket, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(b.folder, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// floors reads the floors of a journal in a file bucket.
func floors(t *testing.T, b bucket, journal uint32) (all []segment.Floor) {
	t.Helper()
	for _, path := range glob(t, b, segment.FloorPrefix(journal)+"*") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		floor, err := segment.DecodeFloor(data)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, floor)
	}
	return all
}

// forgetHints removes all checkpoints but the one that the floor names.
func forgetHints(t *testing.T, b bucket, journal uint32) {
	t.Helper()
	named := map[string]bool{}
	for _, floor := range floors(t, b, journal) {
		named[filepath.Join(b.folder, floor.Checkpoint)] = true
	}
	for _, path := range glob(t, b, segment.CheckpointPrefix(journal)+"*") {
		if named[path] {
			continue
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
