package integration

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv"
)

// storeRequests returns how many requests a node has sent to its store, by
// kind.
func storeRequests(t testing.TB, node *testenv.Node) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, op := range []string{"create", "get", "get_range", "get_tail", "list", "delete"} {
		if n, found := metric(t, node, "varve_store_requests_total", `op="`+op+`"`); found {
			all[op] = n
		}
	}
	return all
}

// settled waits until a node has sent nothing to its store for a while.
func settled(t testing.TB, node *testenv.Node) map[string]float64 {
	t.Helper()
	const quiet = time.Second
	ctx := deadline(t)
	before, since := storeRequests(t, node), time.Now()
	for time.Since(since) < quiet {
		select {
		case <-ctx.Done():
			t.Fatalf("the node never stops to send requests to its store: %v", before)
		case <-time.After(50 * time.Millisecond):
		}
		if now := storeRequests(t, node); fmt.Sprint(now) != fmt.Sprint(before) {
			before, since = now, time.Now()
		}
	}
	return before
}

// idleFor is how long nothing may happen: many flush intervals and heartbeats.
const idleFor = 3 * time.Second

func TestAnIdleNodeSendsNothingToItsStore(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 12)
	producer := client(t, node.Kafka)
	produce(t, producer, numbered("events", 0, "m", 10)...)
	before := settled(t, node)
	time.Sleep(idleFor)
	if after := storeRequests(t, node); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Fatalf("an idle node's requests went from %v to %v", before, after)
	}
	if before["create"] == 0 {
		t.Fatalf("nothing was counted: %v", before)
	}
}

// standFor is how long a leader assumes without a check that it still leads.
const standFor = 5 * time.Second

// While consumers wait for records, a leader without any checks at times that
// it still leads: one GET for all of them.
func TestAnIdleNodeWithConsumersAsksWhetherItLeads(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 12)
	produce(t, client(t, node.Kafka), numbered("events", 0, "m", 10)...)
	for range 5 {
		waiting := client(t, node.Kafka, kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxWait(100*time.Millisecond))
		for read := 0; read < 10; {
			read += waiting.PollFetches(deadline(t)).NumRecords()
		}
	}
	time.Sleep(standFor) // the requests of the start and of the reading are over by then
	before, began := storeRequests(t, node), time.Now()
	time.Sleep(standFor + time.Second)
	after := storeRequests(t, node)
	most := time.Since(began).Seconds()/standFor.Seconds() + 1
	for op, n := range after {
		if more := n - before[op]; more > 0 && (op != "get_tail" || more > most) {
			t.Errorf("%v %s requests in %v, at most %v get_tail are planned for", more, op, time.Since(began), most)
		}
	}
	if after["get_tail"] == before["get_tail"] {
		t.Errorf("the node never looked whether it leads: %v", after)
	}
}

// An idle node that follows others asks for the next object, so that a lost
// announcement costs time only, and for nothing else.
func TestAnIdleFetchNodeOnlyPolls(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	address := testenv.FreeAddr(t)
	leader := b.start(t, "--nats", "embedded://"+address)
	createTopic(t, leader.Kafka, "events", 1)
	produce(t, client(t, leader.Kafka), numbered("events", 0, "m", 10)...)
	follower := b.start(t, "--roles", "fetch", "--archive", "--nats", "nats://"+address)
	if n := len(readAll(t, follower.Kafka, "events")[0]); n != 10 {
		t.Fatalf("read %d records", n)
	}
	time.Sleep(time.Second) // the requests of the start and of the reading are over by then
	before := storeRequests(t, follower)
	time.Sleep(idleFor)
	after := storeRequests(t, follower)
	for op, n := range after {
		// A poll looks for the next object and for the next floor. Two journals are
		// polled, every two seconds while announcements come; twice that is allowed.
		polls := op == "get_tail" || op == "get"
		if more := n - before[op]; more > 0 && !polls || more > 2*(idleFor.Seconds()+1) {
			t.Errorf("an idle follower sent %v %s requests in %v", more, op, idleFor)
		}
	}
}

// Without announcements it polls by itself, less often the longer it finds
// nothing.
func TestAnIdleFetchNodeLooksLessOften(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	leader := b.start(t)
	createTopic(t, leader.Kafka, "events", 1)
	follower := b.start(t, "--roles", "fetch", "--archive")
	const quiet = 8 * time.Second
	time.Sleep(quiet)
	before, began := storeRequests(t, follower), time.Now()
	time.Sleep(idleFor)
	after := storeRequests(t, follower)
	var requests float64
	for op, n := range after {
		requests += n - before[op]
	}
	// A poll is two requests, at each of two journals, after a pause of an
	// eighth of the quiet time: four times fewer than right after an object.
	if most := 2 * 2 * (time.Since(began).Seconds()/(quiet.Seconds()/8) + 1); requests > most || requests == 0 {
		t.Errorf("%v requests in %v, at most %v are planned for", requests, time.Since(began), most)
	}
}

// maxIdleMemory limits the memory for 10,000 partitions and 1,000 connections;
// it was some 60 MB when this was written.
const maxIdleMemory = 256 << 20

func TestIdlePartitionsAndConnectionsTakeLittleMemory(t *testing.T) {
	full(t)
	if raceEnabled {
		t.Skip("the race detector takes its own memory")
	}
	t.Parallel()
	const topics, connections = 10, 1000
	node := fileBucket(t).start(t)
	for i := range topics {
		createTopic(t, node.Kafka, fmt.Sprintf("events-%d", i), 1000)
	}
	for range connections {
		conn, err := net.Dial("tcp", node.Kafka)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		request := kmsg.NewPtrApiVersionsRequest()
		if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, request, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	if open, _ := metric(t, node, "varve_kafka_connections"); open < connections {
		t.Fatalf("%v connections are open", open)
	}
	rss := residentBytes(t, node.Pid())
	t.Logf("%d partitions and %d connections: %d MB", 1000*topics, connections, rss>>20)
	if rss > maxIdleMemory {
		t.Errorf("the idle node takes %d MB, at most %d", rss>>20, maxIdleMemory>>20)
	}
}

// residentBytes returns the present memory of a process.
func residentBytes(t testing.TB, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmRSS in the status of the process")
	return 0
}
