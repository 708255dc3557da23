package kafka

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/tiering/segment"
)

// script is a session with a cluster of our own.
func script(t *testing.T, c *cluster) (*groupScript, *running) {
	t.Helper()
	r := start(t, c, Config{}, c.backend())
	versions := map[int16]int16{}
	for key, a := range apis() {
		versions[key] = a.Max
	}
	topic := c.addTopic(t, "events", 3, nil)
	return &groupScript{t: t, cl: r.dial(t), topic: topic, version: versions}, r
}

// joined is the only member of group g, with its assignment.
func (g *groupScript) joined() (id string, generation int32) {
	g.t.Helper()
	g.member = ""
	g.member = g.cl.ask(g.at(g.joinRequest(nil))).(*kmsg.JoinGroupResponse).MemberID
	resp := g.cl.ask(g.at(g.joinRequest(nil))).(*kmsg.JoinGroupResponse)
	if s := g.cl.ask(g.at(g.sync("g", resp.MemberID, resp.Generation, nil))).(*kmsg.SyncGroupResponse); resp.ErrorCode != 0 || s.ErrorCode != 0 {
		g.t.Fatalf("join %d, sync %d", resp.ErrorCode, s.ErrorCode)
	}
	return resp.MemberID, resp.Generation
}

// waiting has a second member wait for the first on a connection of its own.
func (g *groupScript) waiting(r *running) (cl *client, join kmsg.Request, correlation int32) {
	g.t.Helper()
	cl = r.dial(g.t)
	req := g.joinRequest(func(r *kmsg.JoinGroupRequest) { r.MemberID = "" })
	req.MemberID = cl.ask(g.at(req)).(*kmsg.JoinGroupResponse).MemberID
	id := cl.send(g.at(req))
	return cl, req, id
}

func (g *groupScript) awaitState(state string) {
	g.t.Helper()
	for range 5000 {
		if d := g.cl.ask(g.at(g.describe("g"))).(*kmsg.DescribeGroupsResponse).Groups[0]; d.State == state {
			return
		}
		time.Sleep(time.Millisecond)
	}
	g.t.Fatalf("group does not become %s", state)
}

func TestRequestsBehindAWaitingJoinAreDoneAndAnsweredInOrder(t *testing.T) {
	c := newCluster()
	g, r := script(t, c)
	first, generation := g.joined()
	cl, join, joinID := g.waiting(r)
	g.awaitState("PreparingRebalance")
	commit := g.at(g.commit("other", "", -1, 5, ""))
	commitID := cl.send(commit)
	for g.cl.ask(g.at(g.fetch("other", false))).(*kmsg.OffsetFetchResponse).Groups[0].Topics[0].Partitions[0].Offset != 5 {
		time.Sleep(time.Millisecond)
	}
	if hb := g.cl.ask(g.at(g.heartbeat("g", first, generation, nil))).(*kmsg.HeartbeatResponse); hb.ErrorCode != kerr.RebalanceInProgress.Code {
		t.Errorf("heartbeat of the first: %d", hb.ErrorCode)
	}
	if resp := g.cl.ask(g.at(g.joinRequest(nil))).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 || len(resp.Members) != 2 {
		t.Errorf("join of the first: %+v", resp)
	}
	if resp := cl.receive(join, joinID).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 || resp.Generation != generation+1 {
		t.Errorf("join of the second: %+v", resp)
	}
	cl.receive(commit, commitID)
}

func TestWaitingJoinIsNoIdleConnection(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	g.joined()
	r := start(t, c, Config{Listener: listener.Config{IdleTimeout: 30 * time.Millisecond}}, c.backend())
	cl, join, id := g.waiting(r)
	g.awaitState("PreparingRebalance")
	time.Sleep(100 * time.Millisecond)
	g.cl.ask(g.at(g.joinRequest(nil)))
	if resp := cl.receive(join, id).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 {
		t.Errorf("answer is %+v", resp)
	}
}

// TestWaitingJoinHoldsNoRequestMemory: it waits for the requests of others, which
// need some.
func TestWaitingJoinHoldsNoRequestMemory(t *testing.T) {
	c := newCluster()
	g, r := script(t, c)
	g.joined()
	cl, join, id := g.waiting(r)
	g.awaitState("PreparingRebalance")
	for tries := 0; listenertest.MemoryUsed(r.server) != ""; tries++ { // the memory of answered requests is given back a little later
		if tries == 5000 {
			t.Fatal("request memory is held for as long as the join waits")
		}
		time.Sleep(time.Millisecond)
	}
	g.cl.ask(g.at(g.joinRequest(nil)))
	if resp := cl.receive(join, id).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 {
		t.Errorf("answer is %+v", resp)
	}
}

// TestAQuestionAskedTwiceOfGroupsIsAnsweredOnce: else a request of some KiB could ask for an answer
// of any size.
func TestAQuestionAskedTwiceOfGroupsIsAnsweredOnce(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	describe := g.describe("g")
	describe.Groups = []string{"g", "other", "g"}
	if resp := g.cl.ask(g.at(describe)).(*kmsg.DescribeGroupsResponse); len(resp.Groups) != 2 || resp.Groups[0].Group != "g" || resp.Groups[1].Group != "other" {
		t.Errorf("described: %+v", resp.Groups)
	}
	all, some := g.fetch("g", true), g.fetch("g", false)
	some.Groups[0].Topics[0].Partitions = []int32{2, 0, 2, 1, 0}
	all.Groups = append(all.Groups, all.Groups[0], some.Groups[0])
	resp := g.cl.ask(g.at(all)).(*kmsg.OffsetFetchResponse)
	if len(resp.Groups) != 2 || len(resp.Groups[1].Topics[0].Partitions) != 3 || resp.Groups[1].Topics[0].Partitions[0].Partition != 2 {
		t.Errorf("offsets: %+v", resp.Groups)
	}
	some.Topics[0].Partitions = []int32{1, 1}
	some.SetVersion(committedGroups - 1)
	if resp := g.cl.ask(some).(*kmsg.OffsetFetchResponse); len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Errorf("offsets of a single group: %+v", resp.Topics)
	}
}

func TestStoppingServerSendsWaitingMembersToAnotherCoordinator(t *testing.T) {
	c := newCluster()
	g, r := script(t, c)
	first, _ := g.joined()
	cl, join, joinID := g.waiting(r)
	g.awaitState("PreparingRebalance")
	c.groups.set(func(g *memGroups) { g.held = true })
	rejoined := g.cl.ask(g.at(g.joinRequest(nil))).(*kmsg.JoinGroupResponse)
	if resp := cl.receive(join, joinID).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 {
		t.Fatalf("join: %+v", resp)
	}
	sync := g.at(g.sync("g", first, rejoined.Generation, nil)) // its record is not committed
	syncID := g.cl.send(sync)
	again, stranger, strangerID := g.waiting(r)
	for waits := 0; waits < 1; time.Sleep(time.Millisecond) {
		c.groups.mu.Lock()
		waits = len(c.groups.shards[c.groups.partitionLocked("g")].queue)
		c.groups.mu.Unlock()
	}
	r.stop()
	for _, got := range []int16{
		g.cl.receive(sync, syncID).(*kmsg.SyncGroupResponse).ErrorCode,
		again.receive(stranger, strangerID).(*kmsg.JoinGroupResponse).ErrorCode,
	} {
		if got != kerr.NotCoordinator.Code && got != kerr.RebalanceInProgress.Code {
			t.Errorf("got %v", kerr.ErrorForCode(got))
		}
	}
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	c.groups.release()
}

func TestMemberThatHangsUpWhileItWaitsIsRemovedInTime(t *testing.T) {
	c := newCluster()
	g, r := script(t, c)
	first, generation := g.joined()
	cl, _, _ := g.waiting(r)
	g.awaitState("PreparingRebalance")
	cl.Close()
	r.counts.AwaitOpen(t, 1)
	joined := g.cl.ask(g.at(g.joinRequest(nil))).(*kmsg.JoinGroupResponse)
	if joined.ErrorCode != 0 || joined.Generation != generation+1 {
		t.Fatalf("join is %+v", joined)
	}
	g.cl.ask(g.at(g.sync("g", first, joined.Generation, nil)))
	for range 3 {
		c.groups.pass(4 * time.Second)
		g.cl.ask(g.at(g.heartbeat("g", first, joined.Generation, nil)))
	}
	if d := g.cl.ask(g.at(g.describe("g"))).(*kmsg.DescribeGroupsResponse).Groups[0]; len(d.Members) != 1 {
		t.Errorf("members are %+v", d.Members)
	}
}

func TestCommitIsAnsweredWhenItIsCommitted(t *testing.T) {
	c := newCluster()
	g, r := script(t, c)
	c.groups.set(func(g *memGroups) { g.held = true })
	commit := g.at(g.commit("simple", "", -1, 5, ""))
	id := g.cl.send(commit)
	list := g.at(g.fetch("simple", false))
	fetchID := g.cl.send(list) // behind it, and must see it
	if other := r.dial(t).ask(g.at(kmsg.NewPtrListGroupsRequest())).(*kmsg.ListGroupsResponse); len(other.Groups) != 0 {
		t.Errorf("groups are %+v", other.Groups)
	}
	c.groups.release()
	if resp := g.cl.receive(commit, id).(*kmsg.OffsetCommitResponse); resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("commit: %+v", resp)
	}
	if resp := g.cl.receive(list, fetchID).(*kmsg.OffsetFetchResponse); resp.Groups[0].Topics[0].Partitions[0].Offset != 5 {
		t.Errorf("fetch: %+v", resp)
	}
}

// codesByAPI are the codes that requests about group g are answered with.
func (g *groupScript) codesByAPI() map[string]int16 {
	ask := func(req kmsg.Request) kmsg.Response { return g.cl.ask(g.at(req)) }
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	return map[string]int16{
		"find":     ask(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode,
		"join":     ask(g.joinRequest(nil)).(*kmsg.JoinGroupResponse).ErrorCode,
		"sync":     ask(g.sync("g", "m", 1, nil)).(*kmsg.SyncGroupResponse).ErrorCode,
		"beat":     ask(g.heartbeat("g", "m", 1, nil)).(*kmsg.HeartbeatResponse).ErrorCode,
		"leave":    ask(g.leave("g", "m", nil)).(*kmsg.LeaveGroupResponse).ErrorCode,
		"commit":   ask(g.commit("g", "m", 1, 5, "")).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode,
		"fetch":    ask(g.fetch("g", false)).(*kmsg.OffsetFetchResponse).Groups[0].ErrorCode,
		"describe": ask(g.describe("g")).(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode,
		"list":     ask(kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse).ErrorCode,
		"delete":   ask(g.delete("g")).(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode,
		"offsets":  ask(g.deleteOffset("g", 0)).(*kmsg.OffsetDeleteResponse).ErrorCode,
	}
}

// The exceptions are for Java clients: see the files of the keys.
func TestCodesOfACoordinatorThatCannotAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		fails  error
		most   int16
		except map[string]int16
	}{
		"loading":        {coordinator.ErrLoading, 14, map[string]int16{"beat": 0, "sync": 27}},
		"elsewhere":      {coordinator.ErrNotCoordinator, 16, map[string]int16{"list": 0}},
		"no bucket":      {fmt.Errorf("wrapped: %w", coordinator.ErrUnavailable), 15, map[string]int16{"fetch": 16}},
		"never heard of": {errors.New("new"), 15, map[string]int16{"fetch": 16}},
	} {
		c := newCluster()
		g, _ := script(t, c)
		c.groups.set(func(g *memGroups) { g.fails = test.fails })
		for api, got := range g.codesByAPI() {
			want := test.most
			if code, ok := test.except[api]; ok {
				want = code
			}
			if got != want {
				t.Errorf("%s: %s is answered with %d, want %d", name, api, got, want)
			}
		}
	}
}

func TestOffsetsAreReadOnlyFromAProvedHead(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	g.cl.ask(g.at(g.commit("g", "", -1, 5, "")))
	c.groups.set(func(g *memGroups) { g.proof = coordinator.ErrUnavailable })
	if resp := g.cl.ask(g.at(g.fetch("g", false))).(*kmsg.OffsetFetchResponse).Groups[0]; resp.ErrorCode != kerr.NotCoordinator.Code || len(resp.Topics) != 0 {
		t.Errorf("answer without proof: %+v", resp)
	}
	for version, want := range map[int16]string{1: "0 (events 0: -1 -1 \"\" 16) (events 1: -1 -1 \"\" 16) (events 2: -1 -1 \"\" 16)", 2: "16", 7: "16"} {
		g.version[9] = version
		if got := groupGist(g.cl.ask(g.at(g.fetch("g", false)))); got != want {
			t.Errorf("v%d: %s, want %s", version, got, want)
		}
	}
}

func TestFirstFindCoordinatorMakesTheTopic(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	c.groups.set(func(g *memGroups) { g.absent = true })
	if resp := g.cl.ask(g.at(g.fetch("g", false))).(*kmsg.OffsetFetchResponse); resp.Groups[0].ErrorCode != kerr.NotCoordinator.Code {
		t.Errorf("fetch before: %+v", resp)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g", "h"}
	for _, got := range g.cl.ask(g.at(find)).(*kmsg.FindCoordinatorResponse).Coordinators {
		if got.ErrorCode != 0 || got.NodeID != testNode {
			t.Errorf("answer is %+v", got)
		}
	}
	c.groups.set(func(g *memGroups) { g.leader = 8 })
	if got := g.cl.ask(g.at(find)).(*kmsg.FindCoordinatorResponse).Coordinators[0]; got.NodeID != 8 || got.Host != "elsewhere" {
		t.Errorf("another leads: %+v", got)
	}
	c.groups.set(func(g *memGroups) { g.leader = -1 })
	if got := g.cl.ask(g.at(find)).(*kmsg.FindCoordinatorResponse).Coordinators[0]; got.ErrorCode != kerr.CoordinatorNotAvailable.Code || got.NodeID != -1 {
		t.Errorf("no node leads: %+v", got)
	}
	find.CoordinatorType = 2
	if got := g.cl.ask(g.at(find)).(*kmsg.FindCoordinatorResponse).Coordinators[0]; got.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("share groups: %+v", got)
	}
}

func TestUnknownTopicsOfCommits(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	for version, want := range map[int16]int16{2: 3, 9: 3, 10: 100} {
		g.version[8] = version
		req := g.commit("g", "", -1, 5, "")
		bad := req.Topics[0]
		bad.Topic, bad.TopicID = "none", [16]byte{5}
		req.Topics = append([]kmsg.OffsetCommitRequestTopic{bad}, req.Topics...)
		resp := g.cl.ask(g.at(req)).(*kmsg.OffsetCommitResponse)
		if a, b := resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[1].Partitions[0].ErrorCode; a != want || b != 0 {
			t.Errorf("v%d: %d and %d, want %d and 0", version, a, b, want)
		}
		req.Topics = req.Topics[:1]
		if resp := g.cl.ask(g.at(req)).(*kmsg.OffsetCommitResponse); resp.Topics[0].Partitions[0].ErrorCode != want {
			t.Errorf("v%d: alone: %+v", version, resp)
		}
	}
	if resp := g.cl.ask(&kmsg.OffsetFetchRequest{Version: 10, Groups: []kmsg.OffsetFetchRequestGroup{{
		Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{TopicID: [16]byte{5}, Partitions: []int32{0}}},
	}}}).(*kmsg.OffsetFetchResponse); resp.Groups[0].ErrorCode != 0 || resp.Groups[0].Topics[0].Partitions[0].ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("fetch by an unknown id: %+v", resp)
	}
}

// TestPartitionsThatATopicDoesNotHave: nothing is committed for them, nor deleted, and
// the others of the request are.
func TestPartitionsThatATopicDoesNotHave(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c) // its topic has 3
	want := []int16{kerr.UnknownTopicOrPartition.Code, 0, 0, kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicOrPartition.Code}
	partitions := []int32{-1, 0, 2, 3, math.MaxInt32}
	for version := int16(2); version <= 10; version++ {
		g.version[8] = version
		req := g.commit("g", "", -1, 5, "")
		all := req.Topics[0].Partitions[:0]
		for _, i := range partitions {
			p := req.Topics[0].Partitions[0]
			p.Partition = i
			all = append(all, p)
		}
		req.Topics[0].Partitions = all
		for i, p := range g.cl.ask(g.at(req)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions {
			if p.Partition != partitions[i] || p.ErrorCode != want[i] {
				t.Errorf("v%d: partition %d: %+v, want error %d", version, partitions[i], p, want[i])
			}
		}
	}
	held := func() (of []int32) {
		resp := g.cl.ask(&kmsg.OffsetFetchRequest{Version: 8, Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g"}}}).(*kmsg.OffsetFetchResponse)
		for _, topic := range resp.Groups[0].Topics {
			for _, p := range topic.Partitions {
				of = append(of, p.Partition)
			}
		}
		return of
	}
	if got := held(); !slices.Equal(got, []int32{0, 2}) {
		t.Errorf("the group has offsets of partitions %v", got)
	}
	del := &kmsg.OffsetDeleteRequest{Group: "g", Topics: []kmsg.OffsetDeleteRequestTopic{{Topic: g.topic.Name}}}
	for _, i := range partitions {
		del.Topics[0].Partitions = append(del.Topics[0].Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: i})
	}
	for i, p := range g.cl.ask(del).(*kmsg.OffsetDeleteResponse).Topics[0].Partitions {
		if p.Partition != partitions[i] || p.ErrorCode != want[i] {
			t.Errorf("delete: partition %d: %+v, want error %d", partitions[i], p, want[i])
		}
	}
	if got := held(); len(got) > 0 {
		t.Errorf("the group still has offsets of partitions %v", got)
	}
}

func TestTopicMadeAgainDoesNotInheritOffsets(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	g.cl.ask(g.at(g.commit("g", "", -1, 5, "")))
	c.DeleteTopics(t.Context(), []segment.ID{g.topic.ID})
	for _, version := range []int16{1, 5, 9, 10} {
		g.version[9] = version
		resp := groupGist(g.cl.ask(g.at(g.fetch("g", true))))
		if want := map[int16]string{10: "0 g 0"}[version]; want != "" && resp != want {
			t.Errorf("deleted, v%d: %s, want %s", version, resp, want)
		}
	}
	c.addTopic(t, "padding", 1, nil) // for the next to get another id
	g.topic = c.addTopic(t, "events", 3, nil)
	for _, version := range []int16{1, 5, 9, 10} {
		g.version[9] = version
		resp := g.cl.ask(g.at(g.fetch("g", false))).(*kmsg.OffsetFetchResponse)
		at := int64(-2)
		if version < committedGroups {
			at = resp.Topics[0].Partitions[0].Offset
		} else {
			at = resp.Groups[0].Topics[0].Partitions[0].Offset
		}
		if at != -1 {
			t.Errorf("v%d: offset %d of the topic before", version, at)
		}
	}
}

func TestListGroupsFilters(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	g.joined()
	g.cl.ask(g.at(g.commit("simple", "", -1, 5, "")))
	for name, test := range map[string]struct {
		states, types []string
		want          string
	}{
		"all":            {nil, nil, "[g consumer Stable classic simple  Empty classic]"},
		"state":          {[]string{"stable", "dead"}, nil, "[g consumer Stable classic]"},
		"type":           {nil, []string{"Classic"}, "[g consumer Stable classic simple  Empty classic]"},
		"another type":   {nil, []string{"consumer"}, "[]"},
		"state and type": {[]string{"Empty"}, []string{"classic"}, "[simple  Empty classic]"},
		"no such state":  {[]string{"Confused"}, nil, "[]"},
	} {
		req := kmsg.NewPtrListGroupsRequest()
		req.StatesFilter, req.TypesFilter = test.states, test.types
		if got := groupGist(g.cl.ask(g.at(req))); got != "0"+test.want && got != "0 "+test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
