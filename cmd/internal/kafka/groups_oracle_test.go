package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// groupScript is a session with groups: each request uses the results of
// earlier answers.
type groupScript struct {
	t       *testing.T
	cl      *client
	topic   *metadata.Topic
	version map[int16]int16 // the highest version of a key
	member  string          // the id given last
	said    []string
}

// ask sends a request in the version of the round, and notes the parts on which
// both brokers must agree.
func (g *groupScript) ask(what string, req kmsg.Request) kmsg.Response {
	resp := g.cl.ask(g.at(req))
	g.said = append(g.said, what+": "+groupGist(resp))
	return resp
}

func (g *groupScript) at(req kmsg.Request) kmsg.Request {
	a := apis()[req.Key()]
	req.SetVersion(max(a.Min, min(a.Max, g.version[req.Key()])))
	return req
}

// groupGist is the part of an answer about a group without ids that differ.
func groupGist(resp kmsg.Response) string {
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		protocol := ""
		if resp.Protocol != nil {
			protocol = *resp.Protocol
		}
		out := fmt.Sprint(resp.ErrorCode)
		if resp.ErrorCode == 0 {
			out += fmt.Sprintf(" generation %d protocol %q leads %v members %d skip %v", resp.Generation, protocol, resp.LeaderID == resp.MemberID, len(resp.Members), resp.SkipAssignment)
		}
		return out
	case *kmsg.SyncGroupResponse:
		return fmt.Sprintf("%d %q", resp.ErrorCode, resp.MemberAssignment)
	case *kmsg.HeartbeatResponse:
		return fmt.Sprint(resp.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		out := fmt.Sprint(resp.ErrorCode)
		for _, m := range resp.Members {
			out += fmt.Sprint(" ", m.ErrorCode)
		}
		return out
	case *kmsg.OffsetDeleteResponse:
		return fmt.Sprint(resp.ErrorCode, gist(resp))
	case *kmsg.OffsetFetchResponse:
		return offsetsGist(resp)
	case *kmsg.DescribeGroupsResponse:
		d := resp.Groups[0]
		out := fmt.Sprintf("%d %s %q %q", d.ErrorCode, d.State, d.ProtocolType, d.Protocol)
		for _, m := range d.Members {
			out += fmt.Sprintf(" (%s %x %x)", m.ClientID, m.ProtocolMetadata, m.MemberAssignment)
		}
		return out
	case *kmsg.ListGroupsResponse:
		var out []string
		for _, g := range resp.Groups {
			out = append(out, fmt.Sprint(g.Group, " ", g.ProtocolType, " ", g.GroupState, " ", g.GroupType))
		}
		slices.Sort(out)
		return fmt.Sprint(resp.ErrorCode, out)
	case *kmsg.DeleteGroupsResponse:
		return fmt.Sprint(resp.Groups[0].ErrorCode)
	}
	return strings.Join(gist(resp), " ")
}

// orEmpty is s: kfake answers null where Kafka answers an empty string.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func offsetsGist(resp *kmsg.OffsetFetchResponse) string {
	out := fmt.Sprint(resp.ErrorCode)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out += fmt.Sprintf(" (%s %d: %d %d %q %d)", t.Topic, p.Partition, p.Offset, p.LeaderEpoch, orEmpty(p.Metadata), p.ErrorCode)
		}
	}
	for _, g := range resp.Groups {
		out += fmt.Sprint(" ", g.Group, " ", g.ErrorCode)
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				out += fmt.Sprintf(" (%d: %d %d %q %d)", p.Partition, p.Offset, p.LeaderEpoch, orEmpty(p.Metadata), p.ErrorCode)
			}
		}
	}
	return out
}

func (g *groupScript) joinRequest(change func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = "g", 10_000, 10_000, "consumer"
	req.MemberID = g.member
	req.Protocols = []kmsg.JoinGroupRequestProtocol{
		{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 1, 0, 6, 'e', 'v', 'e', 'n', 't', 's', 0xff, 0xff, 0xff, 0xff}},
		{Name: "sticky", Metadata: []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}},
	}
	if change != nil {
		change(req)
	}
	return req
}

func (g *groupScript) heartbeat(group, member string, generation int32, instance *string) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = group, member, generation, instance
	return req
}

func (g *groupScript) sync(group, member string, generation int32, change func(*kmsg.SyncGroupRequest)) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("mine")}}
	if change != nil {
		change(req)
	}
	return req
}

func (g *groupScript) commit(group, member string, generation int32, offset int64, metadata string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata, p.LeaderEpoch = offset, &metadata, 0
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: g.topic.Name, TopicID: g.topic.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return req
}

func (g *groupScript) fetch(group string, all bool) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = group
	if !all || g.version[9] < 2 {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: g.topic.Name, Partitions: []int32{0, 1, 2}}}
		one.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: g.topic.Name, TopicID: g.topic.ID, Partitions: []int32{0, 1, 2}}}
	}
	req.Groups = []kmsg.OffsetFetchRequestGroup{one}
	return req
}

func (g *groupScript) leave(group, member string, instance *string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = group, member
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member, InstanceID: instance}}
	return req
}

func (g *groupScript) describe(group string) *kmsg.DescribeGroupsRequest {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	return req
}

func (g *groupScript) delete(group string) *kmsg.DeleteGroupsRequest {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	return req
}

func (g *groupScript) deleteOffset(group string, partition int32) *kmsg.OffsetDeleteRequest {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: g.topic.Name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}}}
	return req
}

// unknown asks of groups and members that are not there.
func (g *groupScript) unknown() {
	g.ask("heartbeat of an unknown member", g.heartbeat("g", "m", 0, nil))
	g.ask("sync of an unknown member", g.sync("g", "m", 0, nil))
	g.ask("leave of an unknown member", g.leave("g", "m", nil))
	g.ask("commit of an unknown member", g.commit("g", "m", 1, 5, ""))
	g.ask("fetch of nothing", g.fetch("g", false))
	g.ask("fetch all of nothing", g.fetch("g", true))
	g.ask("describe of nothing", g.describe("g"))
	g.ask("delete of nothing", g.delete("g"))
	g.ask("delete offsets of nothing", g.deleteOffset("g", 0))
	g.ask("join as a stranger", g.joinRequest(func(r *kmsg.JoinGroupRequest) { r.MemberID = "m" }))
	g.ask("join of no group", g.joinRequest(func(r *kmsg.JoinGroupRequest) { r.Group = "" }))
	g.ask("sync of no group", g.sync("", "m", 0, nil))
	g.ask("heartbeat of no group", g.heartbeat("", "m", 0, nil))
	g.ask("session too short", g.joinRequest(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5 }))
	g.ask("session too long", g.joinRequest(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 << 30 }))
	g.ask("no protocols", g.joinRequest(func(r *kmsg.JoinGroupRequest) { r.Group, r.Protocols = "other", nil }))
}

// dynamic is the life of one member.
func (g *groupScript) dynamic() {
	joined := g.ask("join", g.joinRequest(nil)).(*kmsg.JoinGroupResponse)
	if g.member = joined.MemberID; g.version[11] >= joinNeedsID {
		joined = g.ask("join with the id", g.joinRequest(nil)).(*kmsg.JoinGroupResponse)
	}
	id, n := joined.MemberID, joined.Generation
	g.ask("heartbeat before the assignment", g.heartbeat("g", id, n, nil))
	g.ask("commit before the assignment", g.commit("g", id, n, 5, ""))
	g.ask("describe before the assignment", g.describe("g"))
	g.ask("sync of another generation", g.sync("g", id, n+1, nil))
	g.ask("sync of another protocol", g.sync("g", id, n, func(r *kmsg.SyncGroupRequest) { r.Protocol = kmsg.StringPtr("other") }))
	g.ask("sync", g.sync("g", id, n, func(r *kmsg.SyncGroupRequest) {}))
	if g.version[14] >= 5 {
		g.ask("sync again", g.sync("g", id, n, nil))
	}
	g.ask("heartbeat", g.heartbeat("g", id, n, nil))
	g.ask("heartbeat of another generation", g.heartbeat("g", id, n+1, nil))
	g.ask("heartbeat of a stranger", g.heartbeat("g", "m", n, nil))
	g.ask("describe", g.describe("g"))
	g.ask("list", kmsg.NewPtrListGroupsRequest())
	g.ask("commit", g.commit("g", id, n, 7, "note"))
	g.ask("commit of another generation", g.commit("g", id, n+1, 8, ""))
	g.ask("commit of a stranger", g.commit("g", "m", n, 8, ""))
	g.ask("commit without membership", g.commit("g", "", -1, 8, ""))
	long := g.commit("g", id, n, 8, strings.Repeat("x", 4097))
	long.Topics[0].Partitions[0].Partition = 5
	g.ask("long metadata", long)
	g.ask("fetch", g.fetch("g", false))
	g.ask("delete a subscribed offset", g.deleteOffset("g", 0))
	g.ask("delete", g.delete("g"))
	g.ask("join of another type", g.joinRequest(func(r *kmsg.JoinGroupRequest) { r.MemberID, r.ProtocolType = "", "connect" }))
	g.ask("join with another protocol", g.joinRequest(func(r *kmsg.JoinGroupRequest) {
		r.MemberID, r.Protocols = "", []kmsg.JoinGroupRequestProtocol{{Name: "other"}}
	}))
	g.ask("leave", g.leave("g", id, nil))
	g.ask("heartbeat after leaving", g.heartbeat("g", id, n, nil))
	g.ask("describe when empty", g.describe("g"))
	g.ask("commit when empty", g.commit("g", "", -1, 9, ""))
	g.ask("fetch when empty", g.fetch("g", false))
	g.ask("delete an offset", g.deleteOffset("g", 0))
	g.ask("fetch after deletion", g.fetch("g", true))
	g.ask("delete when empty", g.delete("g"))
	g.ask("delete again", g.delete("g"))
	g.ask("list when all is gone", kmsg.NewPtrListGroupsRequest())
}

// static is a member that comes back, and one that is removed.
func (g *groupScript) static() {
	instance := func(r *kmsg.JoinGroupRequest) { r.Group, r.MemberID, r.InstanceID = "s", "", kmsg.StringPtr("i") }
	joined := g.ask("static join", g.joinRequest(instance)).(*kmsg.JoinGroupResponse)
	old, n := joined.MemberID, joined.Generation
	g.ask("static sync", g.sync("s", old, n, func(r *kmsg.SyncGroupRequest) { r.InstanceID = kmsg.StringPtr("i") }))
	back := g.ask("static join again", g.joinRequest(instance)).(*kmsg.JoinGroupResponse)
	g.ask("static sync again", g.sync("s", back.MemberID, n, func(r *kmsg.SyncGroupRequest) { r.InstanceID, r.GroupAssignment = kmsg.StringPtr("i"), nil }))
	g.ask("heartbeat of the fenced", g.heartbeat("s", old, n, kmsg.StringPtr("i")))
	g.ask("heartbeat of the new", g.heartbeat("s", back.MemberID, n, kmsg.StringPtr("i")))
	g.ask("heartbeat of another instance", g.heartbeat("s", back.MemberID, n, kmsg.StringPtr("j")))
	g.ask("leave of the fenced", g.leave("s", old, kmsg.StringPtr("i")))
	g.ask("removal of an unknown instance", g.leave("s", "", kmsg.StringPtr("j")))
	g.ask("removal", g.leave("s", "", kmsg.StringPtr("i")))
	g.ask("describe after the removal", g.describe("s"))
}

// kafkaSays are the answers of Kafka from which kfake is known to differ.
var kafkaSays = map[string][]string{
	"heartbeat of an unknown member": {"25"},
	"sync of an unknown member":      {`25 ""`},
	"leave of an unknown member":     {"0 25"},
	"commit of an unknown member":    {"error=69"},
	"fetch of nothing":               {`0 (events 0: -1 -1 "" 0) (events 1: -1 -1 "" 0) (events 2: -1 -1 "" 0)`, `0 g 0 (0: -1 -1 "" 0) (1: -1 -1 "" 0) (2: -1 -1 "" 0)`},
	"fetch all of nothing":           {"0", "0 g 0"},
	"sync of no group":               {`24 ""`},
	"heartbeat of no group":          {"24"},
	"long metadata":                  {"error=12"},
	"static join again":              {`0 generation 1 protocol "range" leads false members 0 skip false`}, // in old versions
	"leave of the fenced":            {"0 82"},
	"removal":                        {"0 0"}, // the one before has not removed it
}

// TestKfakeAgreesAboutGroups runs the same sessions against a second implementation
// of a coordinator, in versions of some years ago and in the newest.
func TestKfakeAgreesAboutGroups(t *testing.T) {
	for name, version := range map[string]func(a *listener.API) int16{
		"newest": func(a *listener.API) int16 { return a.Max },
		"middle": func(a *listener.API) int16 { return (a.Min + a.Max + 1) / 2 },
	} {
		t.Run(name, func(t *testing.T) {
			versions := map[int16]int16{}
			for key, a := range apis() {
				versions[key] = version(a)
			}
			other, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events"))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			c := newCluster()
			topic := c.addTopic(t, "events", 3, nil)
			ours := &groupScript{t: t, cl: start(t, c, Config{}, c.backend()).dial(t), topic: topic, version: versions}
			theirs := &groupScript{t: t, cl: (&running{addr: other.ListenAddrs()[0]}).dial(t), version: versions}
			theirTopic := *topic
			meta := theirs.cl.ask(&kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{Topic: &topic.Name}}}).(*kmsg.MetadataResponse)
			theirTopic.ID = meta.Topics[0].TopicID
			theirs.topic = &theirTopic
			for _, g := range []*groupScript{ours, theirs} {
				g.unknown()
				g.dynamic()
				if versions[11] >= 5 {
					g.static()
				}
			}
			for i := range ours.said {
				name, said, _ := strings.Cut(ours.said[i], ": ")
				if ours.said[i] != theirs.said[i] && !slices.Contains(kafkaSays[name], said) {
					t.Errorf("%s\nkfake says\n%s", ours.said[i], theirs.said[i])
				}
			}
		})
	}
}
