package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// groupFlags have groups form and notice deaths soon.
var groupFlags = []string{"--group-initial-rebalance-delay", "100ms", "--group-min-session-timeout", "1s"}

// reading is the records that the members of a group have read, by value.
type reading struct {
	mu   sync.Mutex
	seen map[string]int
	who  map[string]map[string]bool // the members that read a partition
}

func newReading() *reading {
	return &reading{seen: map[string]int{}, who: map[string]map[string]bool{}}
}

func (r *reading) note(member string, record *kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[string(record.Value)]++
	key := fmt.Sprintf("%s-%d", record.Topic, record.Partition)
	if r.who[key] == nil {
		r.who[key] = map[string]bool{}
	}
	r.who[key][member] = true
}

func (r *reading) missing(records []*kgo.Record) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range records {
		if r.seen[string(record.Value)] == 0 {
			n++
		}
	}
	return n
}

// readers returns how many members have read.
func (r *reading) readers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]bool{}
	for _, members := range r.who {
		for m := range members {
			all[m] = true
		}
	}
	return len(all)
}

// await waits until all records were read.
func (r *reading) await(t *testing.T, records []*kgo.Record) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		n := r.missing(records)
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d records were not read after %v", n, len(records), patience)
		}
	}
}

// consumer is a member of the group "readers" that commits the records that it
// has processed.
type consumer struct {
	name   string
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{}
}

func consume(t *testing.T, address, name string, r *reading, options ...kgo.Opt) *consumer {
	t.Helper()
	c := &consumer{name: name, done: make(chan struct{})}
	c.client = client(t, address, append([]kgo.Opt{
		kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("events"), kgo.ClientID(name),
		kgo.SessionTimeout(3 * time.Second), kgo.HeartbeatInterval(200 * time.Millisecond), kgo.RebalanceTimeout(10 * time.Second),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(100 * time.Millisecond), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond),
	}, options...)...)
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			fetches := c.client.PollFetches(ctx)
			fetches.EachRecord(func(record *kgo.Record) {
				r.note(name, record)
				c.client.MarkCommitRecords(record)
			})
			c.client.AllowRebalance()
		}
	}()
	t.Cleanup(c.kill)
	return c
}

// kill ends a member as its death would, without a request to the coordinator.
// For a franz-go client that is one that claims to be static.
func (c *consumer) kill() {
	c.stop()
	<-c.done
}

// leave ends a member in good order.
func (c *consumer) leave(t *testing.T) {
	t.Helper()
	c.kill()
	if err := c.client.CommitMarkedOffsets(deadline(t)); err != nil {
		t.Errorf("last commit of %s: %v", c.name, err)
	}
	c.client.Close()
}

// members waits until the group is stable with n members.
func members(t *testing.T, address string, n int) kadm.DescribedGroup {
	t.Helper()
	admin := kadm.NewClient(client(t, address))
	var last any
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		groups, err := admin.DescribeGroups(deadline(t), "readers")
		g := groups["readers"]
		if last = errors.Join(err, g.Err); err == nil && g.Err == nil {
			last = fmt.Sprintf("%s with %d members", g.State, len(g.Members))
			if g.State == "Stable" && len(g.Members) == n {
				return g
			}
		}
	}
	t.Fatalf("group is %v, want it stable with %d members", last, n)
	panic("unreachable")
}

// awaitAssigned waits until the group's members share all partitions of the topic. A
// cooperative group gives some up in one rebalance and hands them out in the next.
func awaitAssigned(t *testing.T, address string, n, partitions int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		g := members(t, address, n)
		assigned := g.AssignedPartitions()
		switch {
		case len(assigned) == 1 && len(assigned["events"]) == partitions:
			return
		case time.Now().After(end):
			t.Fatalf("assigned is %v, want %d partitions of events", assigned, partitions)
		}
	}
}

// lag returns how many offsets of the topic the group has not committed yet.
func lag(t *testing.T, address string) int64 {
	t.Helper()
	lags, err := kadm.NewClient(client(t, address)).Lag(deadline(t), "readers")
	if err == nil {
		err = lags.Error()
	}
	if err != nil {
		t.Fatalf("lag: %v", err)
	}
	return lags["readers"].Lag.Total()
}

func awaitNoLag(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(patience); lag(t, address) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("lag is %d after %v", lag(t, address), patience)
		}
	}
}

// some makes and produces n records for each of the topic's partitions.
func some(t *testing.T, address, label string, partitions int32, n int) []*kgo.Record {
	t.Helper()
	var records []*kgo.Record
	for p := range partitions {
		records = append(records, numbered("events", p, label, n)...)
	}
	return produce(t, client(t, address), records...)
}

func TestAGroupSharesATopicAsMembersComeAndGo(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]kgo.Opt{
		"range":              {kgo.Balancers(kgo.RangeBalancer())},
		"round robin":        {kgo.Balancers(kgo.RoundRobinBalancer())},
		"sticky":             {kgo.Balancers(kgo.StickyBalancer())},
		"cooperative sticky": {kgo.Balancers(kgo.CooperativeStickyBalancer())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := fileBucket(t).start(t, groupFlags...)
			createTopic(t, node.Kafka, "events", 6)
			all := newReading()
			records := some(t, node.Kafka, "one", 6, 50)
			first := consume(t, node.Kafka, "first", all, options...)
			second := consume(t, node.Kafka, "second", all, options...)
			members(t, node.Kafka, 2)
			all.await(t, records)
			records = append(records, some(t, node.Kafka, "two", 6, 50)...)
			third := consume(t, node.Kafka, "third", all, options...)
			awaitAssigned(t, node.Kafka, 3, 6)
			records = append(records, some(t, node.Kafka, "three", 6, 50)...)
			all.await(t, records)
			second.leave(t)
			members(t, node.Kafka, 2)
			records = append(records, some(t, node.Kafka, "four", 6, 50)...)
			all.await(t, records)
			first.leave(t)
			third.leave(t)
			if n := lag(t, node.Kafka); n != 0 {
				t.Errorf("lag is %d after all have left", n)
			}
			if n := all.readers(); n != 3 {
				t.Errorf("%d members have read", n)
			}
			deleteGroup(t, node.Kafka)
		})
	}
}

func deleteGroup(t *testing.T, address string) {
	t.Helper()
	admin := kadm.NewClient(client(t, address))
	deleted, err := admin.DeleteGroup(deadline(t), "readers")
	if err != nil || deleted.Err != nil {
		t.Errorf("delete group: %v, %v", err, deleted.Err)
	}
	left, err := admin.ListGroups(deadline(t))
	if err != nil || slices.Contains(left.Groups(), "readers") {
		t.Errorf("groups are %v, error %v", left.Groups(), err)
	}
}

func TestAKilledMemberIsReplaced(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, groupFlags...)
	createTopic(t, node.Kafka, "events", 4)
	all := newReading()
	static := func(name string) []kgo.Opt { return []kgo.Opt{kgo.InstanceID(name)} }
	consume(t, node.Kafka, "first", all, static("first")...)
	second := consume(t, node.Kafka, "second", all, static("second")...)
	before := members(t, node.Kafka, 2)
	records := some(t, node.Kafka, "one", 4, 50)
	all.await(t, records)
	second.kill()
	second.client.Close() // which sends nothing for a static member
	again := consume(t, node.Kafka, "second again", all, static("second")...)
	records = append(records, some(t, node.Kafka, "two", 4, 50)...)
	all.await(t, records)
	after := members(t, node.Kafka, 2)
	if before.Members[0].MemberID != after.Members[0].MemberID && before.Members[1].MemberID != after.Members[1].MemberID {
		t.Errorf("both members changed: there was a rebalance")
	}
	again.kill()
	again.client.Close() // and no member comes back
	members(t, node.Kafka, 1)
	records = append(records, some(t, node.Kafka, "three", 4, 50)...)
	all.await(t, records)
	awaitNoLag(t, node.Kafka)
}

func TestAGroupGoesOnOverKillsOfTheNode(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		node := b.start(t, groupFlags...)
		createTopic(t, node.Kafka, "events", 6)
		all := newReading()
		writing := keepWriting(t, node.Kafka, "events", 6, acksAll...)
		for i := range 3 {
			consume(t, node.Kafka, fmt.Sprint("member ", i), all)
		}
		before := members(t, node.Kafka, 3)
		for range kills {
			writing.progress(t, 300)
			committed := committedOffsets(t, node)
			node.Kill(t)
			restart(t, node)
			for partition, at := range committedOffsets(t, node) {
				if at < committed[partition] {
					t.Errorf("partition %d was committed up to %d, and is up to %d after a kill", partition, committed[partition], at)
				}
			}
		}
		all.await(t, writing.end(t))
		awaitNoLag(t, node.Kafka)
		after := members(t, node.Kafka, 3)
		t.Logf("member ids before %v, after %v", ids(before), ids(after))
	})
}

func ids(g kadm.DescribedGroup) (ids []string) {
	for _, m := range g.Members {
		ids = append(ids, m.MemberID)
	}
	slices.Sort(ids)
	return ids
}

func committedOffsets(t *testing.T, node *testenv.Node) map[int32]int64 {
	t.Helper()
	offsets, err := kadm.NewClient(client(t, node.Kafka)).FetchOffsets(deadline(t), "readers")
	if err != nil {
		t.Fatalf("fetch offsets: %v", err)
	}
	found := map[int32]int64{}
	offsets.Each(func(o kadm.OffsetResponse) { found[o.Partition] = o.At })
	return found
}

func TestOffsetsSurviveTheLossOfTheDataFolder(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		node := b.start(t, groupFlags...)
		createTopic(t, node.Kafka, "events", 3)
		all := newReading()
		records := some(t, node.Kafka, "one", 3, 100)
		c := consume(t, node.Kafka, "member", all)
		all.await(t, records)
		c.leave(t)
		before := committedOffsets(t, node)
		node.Kill(t)
		node = b.startFresh(t, node, groupFlags...)
		if after := committedOffsets(t, node); fmt.Sprint(after) != fmt.Sprint(before) || len(after) != 3 {
			t.Errorf("committed are %v, were %v", after, before)
		}
		late := newReading()
		more := some(t, node.Kafka, "two", 3, 10)
		consume(t, node.Kafka, "late", late)
		late.await(t, more)
		if n := len(late.seen); n != len(more) {
			t.Errorf("read %d records after the loss, want the %d new ones", n, len(more))
		}
	})
}

func TestOffsetsOfADeletedTopicGo(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, groupFlags...)
	createTopic(t, node.Kafka, "events", 1)
	all := newReading()
	records := some(t, node.Kafka, "one", 1, 10)
	c := consume(t, node.Kafka, "member", all)
	all.await(t, records)
	c.leave(t)
	admin := kadm.NewClient(client(t, node.Kafka))
	if deleted, err := admin.DeleteTopics(deadline(t), "events"); err != nil || deleted.Error() != nil {
		t.Fatalf("delete topic: %v, %v", err, deleted.Error())
	}
	createTopic(t, node.Kafka, "events", 1)
	if offsets := committedOffsets(t, node); offsets[0] > 0 {
		t.Errorf("the new topic is said to be read up to %d", offsets[0])
	}
	for end := time.Now().Add(patience); len(committedOffsets(t, node)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("offsets are still %v", committedOffsets(t, node))
		}
	}
}
