package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

func TestASecondIngestNodeTakesOverAndTheFirstEndsSayingWhy(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		address := testenv.FreeAddr(t)
		first := b.start(t, oneWriter("--listen", address)...)
		createTopic(t, address, "events", 2)
		writing := keepWriting(t, address, "events", 2, acksAll...)
		writing.progress(t, 300)
		second := b.start(t, oneWriter()...)
		if code := first.Wait(t); code != takenOver {
			t.Errorf("the first node ended with code %d", code)
		}
		wantLine(t, lastLines(first.Log()), "taken over", "--roles fetch", "varve cluster upgrade")
		// The second moves to the address that the producer knows.
		second.Stop(t)
		third := b.start(t, oneWriter("--listen", address, "--data-dir", second.DataDir)...)
		writing.progress(t, 300)
		acknowledged := writing.end(t)
		if len(writing.failed) > 0 {
			t.Errorf("%d records were given up, first for: %v", len(writing.failed), writing.failed[0])
		}
		wantAcknowledged(t, address, "events", acknowledged)
		third.Kill(t)
		fresh := b.startFresh(t, third, oneWriter()...)
		wantAcknowledged(t, fresh.Kafka, "events", acknowledged)
	})
}

func TestANodeThatWasTakenOverWhileIdleAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	first := b.start(t, oneWriter()...)
	createTopic(t, first.Kafka, "events", 1)
	written := produce(t, client(t, first.Kafka), numbered("events", 0, "first", 50)...)
	last := b.start(t, oneWriter()...)
	late := client(t, first.Kafka, append(acksAll, kgo.DisableIdempotentWrite(), kgo.RecordDeliveryTimeout(5*time.Second))...)
	if late.ProduceSync(deadline(t), &kgo.Record{Topic: "events", Value: []byte("late")}).FirstErr() == nil {
		t.Error("a node that was taken over acknowledges a record")
	}
	if code := first.Wait(t); code != takenOver {
		t.Errorf("the first node ended with code %d", code)
	}
	written = append(written, produce(t, client(t, last.Kafka), numbered("events", 0, "last", 50)...)...)
	wantRecords(t, readAll(t, last.Kafka, "events")[0], written)
}

// oneWriter are the flags of a node at the level on which another one takes everything from
// it.
func oneWriter(flags ...string) []string { return append([]string{"--feature-level", "2"}, flags...) }

// as are the flags of a node with roles. One that reads does so alone: no other node runs.
func as(roles string) []string {
	if roles == "fetch" {
		return []string{"--roles", roles, "--archive"}
	}
	return []string{"--roles", roles}
}

// lastLines returns the lines of a log from the first whole one on.
func lastLines(log string) string {
	if i := strings.Index(log, "time="); i >= 0 {
		return log[i:]
	}
	return log
}
