package integration

import (
	"fmt"
	"testing"

	"github.com/varvelog/varve/testenv"
)

// Three processes meet by their embedded NATS. The last one names only the second, which dies.
func TestNodesMeetByTheirOwnNATS(t *testing.T) {
	t.Parallel()
	b := minioBucket(t)
	at := func() []string { return []string{"--nats-cluster", testenv.FreeAddr(t)} }
	first, second, third := at(), at(), at()
	writer := b.start(t, first...)
	middle := b.start(t, append(second, "--nats-routes", first[1], "--roles", "fetch")...)
	last := b.start(t, append(third, "--nats-routes", second[1], "--roles", "fetch")...)
	createTopic(t, writer.Kafka, "events", 1)
	writes := client(t, writer.Kafka)
	round := 0
	hears := func(name string, node *testenv.Node) {
		t.Helper()
		before, found := metric(t, node, "varve_announcements_received_total")
		if !found {
			t.Fatal("no metric of announcements")
		}
		await(t, node, name, func() bool {
			produce(t, writes, numbered("events", 0, fmt.Sprintf("round-%d", round), 1)...)
			round++
			after, _ := metric(t, node, "varve_announcements_received_total")
			return after > before
		})
	}
	hears("an announcement", middle)
	hears("an announcement", last)
	middle.Kill(t)
	hears("an announcement after a node in between has died", last)
	middle.Restart(t)
	hears("an announcement after a restart", middle)
}
