package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// TestLostIndexPagesAreRebuiltFromTheJournal deletes every index page and
// damages one. verify names them, and every record is still read, on a node
// that writes and on one that only reads. The node that writes makes the bucket
// whole again.
func TestLostIndexPagesAreRebuiltFromTheJournal(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t, "--flush-interval", "1ms", "--checkpoint-objects", "70")
	createTopic(t, node.Kafka, "events", 1)
	c := client(t, node.Kafka)
	var all []*kgo.Record
	const named = 3 // at least; of the last page the checkpoint may not be written
	for i := 0; len(glob(t, b, "journals/1/index/*")) <= named; i++ {
		if i == 2000 {
			t.Fatal("not enough index pages after 2000 objects")
		}
		all = append(all, produce(t, c, &kgo.Record{Topic: "events", Value: fmt.Appendf(nil, "record %d", i)})...)
	}
	node.Stop(t)
	verify := func(b bucket) testenv.Output {
		return testenv.Varve{Args: []string{"bucket", "verify", "--bucket", b.url}}.Run(t, patience)
	}
	if out := verify(b); out.Code != 0 {
		t.Fatalf("before: exit code %d: %s", out.Code, out.Stdout)
	}
	for _, roles := range []string{"fetch", "ingest,fetch,tiering"} {
		t.Run(roles, func(t *testing.T) {
			b := b.copied(t)
			for i, path := range glob(t, b, "journals/1/index/*") {
				if i == 0 {
					alter(t, path, func(object []byte) []byte { object[len(object)-3] ^= 1; return object })
				} else if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			out := verify(b)
			if text := string(out.Stdout); out.Code != 1 || strings.Count(text, "error: journals/1/index/") < named || !strings.Contains(text, "affects events-0 offsets 0 to") {
				t.Errorf("exit code %d: %s", out.Code, text)
			}
			node := b.start(t, as(roles)...)
			wantAcknowledged(t, node.Kafka, "events", all)
			for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				if n, _ := metric(t, node, "varve_trouble", `kind="damage"`); n == 0 {
					break
				} else if time.Now().After(end) {
					t.Fatalf("%v objects are damaged still", n)
				}
			}
			node.Stop(t)
			out = verify(b)
			if sound := strings.Contains(string(out.Stdout), ": sound"); sound != (roles != "fetch") {
				t.Errorf("after: exit code %d: %s", out.Code, out.Stdout)
			}
		})
	}
}
