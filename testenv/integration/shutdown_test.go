package integration

import (
	"net"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

func TestAGentleEndLeavesEverythingAcknowledgedInTheBucket(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		node := b.start(t)
		createTopic(t, node.Kafka, "events", 2)
		node.Stop(t)
		// No flush is due before the end.
		lazy := testenv.Varve{Args: []string{"--bucket", b.url, "--data-dir", node.DataDir, "--flush-interval", "1m"}, Env: b.env}.Start(t)
		var written []*kgo.Record
		for partition := range int32(2) {
			written = append(written, produce(t, client(t, lazy.Kafka, acksOne...), numbered("events", partition, "last words", 100)...)...)
		}
		if pending, found := metric(t, lazy, "varve_wal_pending_bytes"); !found || pending == 0 {
			t.Errorf("no bytes are pending (found: %t), so the test proves nothing", found)
		}
		lazy.Stop(t)
		for _, address := range []string{lazy.Kafka, lazy.HTTP} {
			wantFree(t, address)
		}
		fresh := b.startFresh(t, node)
		found := readAll(t, fresh.Kafka, "events")
		wantRecords(t, found[0], written[:100])
		wantRecords(t, found[1], written[100:])
		fresh.Stop(t)
	})
}

// wantFree checks that no process listens at an address and that one could.
func wantFree(t *testing.T, address string) {
	t.Helper()
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Errorf("something listens at %s", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Errorf("the port is not free: %v", err)
		return
	}
	l.Close()
}

func TestAGentleEndAmidWritesLosesNothing(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fileBucket(t)
			address := testenv.FreeAddr(t)
			node := b.start(t, "--listen", address)
			createTopic(t, node.Kafka, "events", 2)
			writing := keepWriting(t, address, "events", 2, acksOne...)
			writing.progress(t, 500)
			if err := syscall.Kill(node.Pid(), signal); err != nil {
				t.Fatal(err)
			}
			if code := node.Wait(t); code != 0 {
				t.Errorf("exit code %d:\n%s", code, node.Log())
			}
			node = b.startFresh(t, node, "--listen", address)
			writing.progress(t, 100)
			wantAcknowledged(t, address, "events", writing.end(t))
		})
	}
}
