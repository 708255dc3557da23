package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestReadAccessIsEnoughToLookAtABucket runs the commands that look at a bucket against a
// store that permits nothing else, after the node has gone. Those that write say that they may not.
func TestReadAccessIsEnoughToLookAtABucket(t *testing.T) {
	full(t)
	t.Parallel()
	b, p := behindProxy(t, minioBucket(t))
	node := b.start(t, merging...)
	createTopic(t, node.Kafka, "events", 3)
	c := client(t, node.Kafka)
	begun := time.Now()
	for round := 0; ; round++ {
		for partition := range int32(3) {
			produce(t, c, numbered("events", partition, strings.Repeat("r", 100), 40*(round+1))[40*round:]...)
		}
		if journal, merged := b.stat(t, "events"); merged > 64<<10 && journal == 0 {
			break
		}
		if time.Since(begun) > patience {
			t.Fatalf("nothing is merged:\n%s", node.Log())
		}
	}
	node.Stop(t)
	p.set(readOnly)
	for _, line := range []string{
		"ls", "ls events", "ls events/0", "stat", "explain events --from 1", "orphans", "hold list", "verify", "verify --records",
	} {
		args := append([]string{"bucket"}, strings.Fields(line)...)
		if out := b.run(t, args...); out == "" {
			t.Errorf("%s prints nothing", line)
		}
		if out := b.run(t, append(args, "-o", "json")...); !json.Valid([]byte(out)) {
			t.Errorf("%s -o json: %s", line, out)
		}
	}
	b.run(t, "bucket", "copy", "--to", fileBucket(t).url, "--create-bucket")
	if out := b.runs(t, "bucket", "hold"); out.Code != 1 || !strings.Contains(string(out.Stderr), "denied") {
		t.Errorf("hold: exit code %d: %s", out.Code, out.Stderr)
	}
	explained(t, b, p)
}

// explained holds the numbers of bucket explain against the requests of a replay.
func explained(t *testing.T, b bucket, p *proxy) {
	t.Helper()
	var x struct{ GETs, Offsets int }
	gets := func(args ...string) (out string, n int) {
		before := p.count(http.MethodGet)
		out = b.run(t, append([]string{"bucket"}, args...)...)
		return out, p.count(http.MethodGet) - before
	}
	text, opening := gets("explain", "events", "-o", "json")
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		t.Fatal(err)
	}
	text, n := gets("cat", "events")
	if lines := strings.Count(text, "\n"); lines != x.Offsets || n-opening < x.GETs || n-opening > 2*x.GETs {
		t.Errorf("a replay of %d records took %d GETs; explained were %d records, %d GETs", lines, n-opening, x.Offsets, x.GETs)
	}
}
