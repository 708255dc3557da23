package integration

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// TestNodeOutlivesFileDescriptorsThatAreUsedUp: the node then cannot write the
// witness or accept connections, and reports it. It goes on when there are some
// again.
func TestNodeOutlivesFileDescriptorsThatAreUsedUp(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	var usual unix.Rlimit
	limit := func(set, old *unix.Rlimit) {
		t.Helper()
		if err := unix.Prlimit(node.Pid(), unix.RLIMIT_NOFILE, set, old); err != nil {
			t.Fatal(err)
		}
	}
	limit(nil, &usual)
	var written []*kgo.Record
	const witness = "the witness file cannot be written, the old one is kept"
	for i := 0; !strings.Contains(node.Log(), witness); i++ { // the witness may be saved just before
		written = append(written, produce(t, client(t, node.Kafka), numbered("events", 0, fmt.Sprint("before ", i), 20)...)...)
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", node.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		limit(&unix.Rlimit{Cur: uint64(len(open)) + 5, Max: usual.Max}, nil)
		for range 50 {
			dial(t, node.Kafka)
		}
		awaitLog(t, node, "cannot accept a Kafka connection")
		for end := time.Now().Add(6 * time.Second); !strings.Contains(node.Log(), witness) && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		limit(&usual, nil)
	}
	awaitLog(t, node, "the witness file is written again")
	written = append(written, produce(t, client(t, node.Kafka), numbered("events", 0, "after", 20)...)...)
	wantRecords(t, readAll(t, node.Kafka, "events")[0], written)
}

// TestOneAddressDoesNotGetAllConnections: another one can connect.
func TestOneAddressDoesNotGetAllConnections(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, "--max-connections=20")
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for range 40 {
		c, err := from.Dial("tcp", node.Kafka)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	createTopic(t, node.Kafka, "events", 1)
	written := produce(t, client(t, node.Kafka), numbered("events", 0, "other", 20)...)
	wantRecords(t, readAll(t, node.Kafka, "events")[0], written)
}
