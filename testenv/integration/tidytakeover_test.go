package integration

import (
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// until writes waves to a node until a state is reached.
func (w written) until(t *testing.T, node *testenv.Node, what string, reached func() bool) {
	t.Helper()
	c := client(t, node.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer c.Close()
	await(t, node, what, func() bool {
		w.wave(t, c, len(w[0]))
		return reached()
	})
}

// sum is a metric of a node.
func sum(t *testing.T, node *testenv.Node, name string, labels ...string) float64 {
	t.Helper()
	n, _ := metric(t, node, name, labels...)
	return n
}

// verified wants nothing in a bucket to be lost, damaged or unknown. Uploads that landed after
// their first deletion wait for the second.
func (b bucket) verified(t *testing.T) {
	t.Helper()
	out := b.runs(t, "bucket", "verify", "--records")
	if out.Code != 0 || strings.Contains(string(out.Stdout), "no journal knows") {
		t.Errorf("verify: exit code %d:\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
}

// TestADeposedLeaderThatWakesUpHarmsNothing stops a leader that merges and deletes, has another
// one take over and do the same, and wakes the first one up.
func TestADeposedLeaderThatWakesUpHarmsNothing(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	leader, all := b.start(t, oneWriter(joinSoon...)...), written{}
	createTopic(t, leader.Kafka, "events", 3)
	for range 3 {
		all.until(t, leader, "the leader merges and deletes", func() bool {
			return sum(t, leader, "varve_merge_jobs_total") > 3 && sum(t, leader, "varve_deleted_objects_total") > 20
		})
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // in the middle of something
		signal(t, leader, syscall.SIGSTOP)
		next := b.start(t, oneWriter(joinSoon...)...)
		all.until(t, next, "the next leader merges and deletes", func() bool {
			return sum(t, next, "varve_merge_jobs_total") > 3 && sum(t, next, "varve_deleted_objects_total") > 20
		})
		signal(t, leader, syscall.SIGCONT)
		if code := leader.Wait(t); code != takenOver {
			t.Errorf("the deposed leader ended with code %d", code)
		}
		all.check(t, next.Kafka, "events")
		leader = next
	}
	leader.Kill(t)
	leader = b.startFresh(t, leader, oneWriter(joinSoon...)...)
	all.check(t, leader.Kafka, "events")
	leader.Stop(t)
	b.verified(t)
}

// TestTidyingOutlivesKillsOfItsLeader kills a leader every second or two, in the middle of
// merging and deleting. Every other one starts from the bucket alone. The debt of merging
// goes down to nothing in the end.
func TestTidyingOutlivesKillsOfItsLeader(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	address := testenv.FreeAddr(t)
	flags := append(slices.Clone(joinSoon), "--listen", address)
	node, all := b.start(t, flags...), written{}
	createTopic(t, address, "events", 3)
	for kill := range 8 {
		end := time.Now().Add(time.Second + time.Duration(rand.IntN(1000))*time.Millisecond)
		all.until(t, node, "the time of a leader", func() bool { return time.Now().After(end) })
		node.Kill(t)
		if kill%2 == 0 {
			node = b.startFresh(t, node, flags...)
		} else {
			node.Restart(t)
		}
	}
	all.until(t, node, "a job", func() bool { return sum(t, node, "varve_merge_jobs_total") > 0 }) // the last kill may have left none
	awaitMerged(t, node)
	all.check(t, address, "events")
	all.until(t, node, "replaced objects are deleted", func() bool {
		return sum(t, node, "varve_deleted_objects_total") > 100
	})
	all.check(t, address, "events")
	node.Stop(t)
	b.verified(t)
}
