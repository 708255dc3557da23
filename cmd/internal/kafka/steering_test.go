package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/steer"
	"github.com/varvelog/varve/metadata"
)

// steered is a server of a cluster with fetch nodes, and a topic with records.
func steered(t *testing.T, nodes *steer.Nodes) (*cluster, *metadata.Topic, func(software string) *client) {
	t.Helper()
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	b.Steering = func() (steer.Nodes, bool) { return *nodes, true }
	server := start(t, c, Config{}, b)
	server.dial(t).ask(produceOne(topic, -1, plain()))
	return c, topic, func(software string) *client {
		cl := server.dial(t)
		cl.ask(&kmsg.ApiVersionsRequest{Version: 3, ClientSoftwareName: software, ClientSoftwareVersion: "9.9.9"})
		return cl
	}
}

const java = "apache-kafka-java"

// fetched describes the answer about partition 0: the preferred replica, the error, the high
// watermark, and whether there are records.
func fetched(t *testing.T, cl *client, version int16, topic *metadata.Topic, offset int64, rack string) string {
	t.Helper()
	req := &kmsg.FetchRequest{Version: version, MinBytes: 1, MaxBytes: 1 << 20, Rack: rack, SessionEpoch: -1, Topics: []kmsg.FetchRequestTopic{{
		Topic: topic.Name, TopicID: topic.ID,
		Partitions: []kmsg.FetchRequestTopicPartition{{FetchOffset: offset, PartitionMaxBytes: 1 << 20, CurrentLeaderEpoch: -1}},
	}}}
	p := cl.ask(req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	return fmt.Sprintf("to %d, error %d, end %d, records %v", p.PreferredReadReplica, p.ErrorCode, p.HighWatermark, len(p.RecordBatches) > 0)
}

func TestConsumersAreSentToFetchNodes(t *testing.T) {
	const here, away = "to -1, error 0, end 2, records true", "to 8, error 0, end 2, records false"
	nodes := &steer.Nodes{Self: steer.Node{ID: testNode, Rack: "r1"}, Readers: []steer.Node{{ID: 8, Rack: "r2"}}}
	_, topic, dial := steered(t, nodes)
	for name, c := range map[string]struct {
		software string
		version  int16
		offset   int64
		rack     string
		readers  []steer.Node
		want     string
	}{
		"history":                          {java, 12, 0, "", nodes.Readers, away},
		"history, topics by id":            {java, 18, 0, "", nodes.Readers, away},
		"history, the first version":       {java, 11, 0, "r1", nodes.Readers, away},
		"a version without replicas":       {java, 10, 0, "", nodes.Readers, "to -1, error 0, end 2, records true"},
		"a client that might not return":   {"kgo", 12, 0, "r2", nodes.Readers, here},
		"no fetch nodes":                   {java, 12, 0, "r2", nil, here},
		"the tail, of another rack":        {java, 12, 2, "r2", nodes.Readers, away},
		"the tail, of the leader's rack":   {java, 12, 2, "r1", nodes.Readers, "to -1, error 0, end 2, records false"},
		"out of range":                     {java, 12, 3, "r2", nodes.Readers, "to -1, error 1, end 2, records false"},
		"a node that is not reached":       {java, 12, 0, "r2", []steer.Node{{ID: 12, Rack: "r2"}, {ID: 99, Rack: "r2"}}, here},
		"one of several that is reached":   {java, 12, 0, "r2", []steer.Node{{ID: 12, Rack: "r2"}, {ID: 8, Rack: "r2"}}, away},
		"another rack than a fetch node's": {java, 12, 0, "r3", nodes.Readers, away},
	} {
		nodes.Readers = c.readers
		if got := fetched(t, dial(c.software), c.version, topic, c.offset, c.rack); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// In a session a partition is in each answer until the client has gone.
func TestASessionSendsItsPartitionsAway(t *testing.T) {
	nodes := &steer.Nodes{Self: steer.Node{ID: testNode}}
	_, topic, dial := steered(t, nodes)
	cl := &sessionClient{client: dial(java), version: 12}
	preferred := func(req *kmsg.FetchRequest) (all []int32) {
		resp, _ := cl.fetch(req)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if all = append(all, p.PreferredReadReplica); len(p.RecordBatches) > 0 && p.PreferredReadReplica >= 0 {
					t.Error("a client is sent away with records")
				}
			}
		}
		return all
	}
	if got := preferred(cl.request(topic, 0, 0)); !slices.Equal(got, []int32{-1}) {
		t.Errorf("without fetch nodes to %v", got)
	}
	nodes.Readers = []steer.Node{{ID: 8}}
	for range 3 {
		if got := preferred(cl.request(topic, 0)); !slices.Equal(got, []int32{8}) {
			t.Errorf("with a fetch node to %v", got)
		}
	}
	nodes.Readers = nil
	if got := preferred(cl.request(topic, 0)); !slices.Equal(got, []int32{-1}) {
		t.Errorf("after it is gone to %v", got)
	}
}

// A fetch node sends consumers back without an error. It answers with an error only if that is
// proved, or no leader is known.
func TestAFetchNodeSendsConsumersBack(t *testing.T) {
	const back, here = "to 8, error 0, end 2, records false", "to -1, error 0, end 2, records true"
	nodes := &steer.Nodes{Self: steer.Node{ID: testNode}, Reads: true}
	c, topic, dial := steered(t, nodes)
	c.place.Store(&Placement{Leader: 8, Epoch: 4, Replicas: []int32{8}})
	cl := dial("kgo")
	look := func(what string, version int16, offset int64, want string) {
		t.Helper()
		if got := fetched(t, cl, version, topic, offset, ""); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	look("it serves", 12, 0, here)
	look("out of range", 12, 3, "to -1, error 1, end 2, records false")
	for _, err := range []error{fetch.ErrNotReady, fetch.ErrNotLeader, fetch.ErrUnknownEpoch, fetch.ErrFencedEpoch, fetch.ErrStorage} {
		c.change(func() { c.unread = err })
		look(err.Error(), 12, 0, back)
	}
	c.change(func() { c.unread = fetch.ErrNotReady })
	look("a version without replicas", 10, 0, "to -1, error 78, end 2, records false")
	c.place.Store(&Placement{Leader: -1, Epoch: 4})
	look("no leader", 12, 0, "to -1, error 78, end 2, records false")
	c.place.Store(&Placement{Leader: 8, Epoch: 4, Replicas: []int32{8}})
	c.change(func() { c.unread = nil })
	nodes.Leaving = true
	look("it is about to end", 12, 0, back)
	look("it is about to end, and the client waits for records", 12, 2, back)
	look("it is about to end, a version without replicas", 10, 0, "to -1, error 0, end 2, records true")
}

// Clients go to a fetch node only if it is a replica. Others compare the number of replicas
// with the one that they asked for.
func TestFetchNodesAreReplicasForClientsThatGoThere(t *testing.T) {
	nodes := &steer.Nodes{Self: steer.Node{ID: testNode}, Readers: []steer.Node{{ID: 8}, {ID: 12}}}
	_, topic, dial := steered(t, nodes)
	for software, want := range map[string][]int32{java: {testNode, 8}, "sarama": {testNode}} {
		resp := dial(software).ask(&kmsg.MetadataRequest{Version: 9, Topics: []kmsg.MetadataRequestTopic{{Topic: &topic.Name}}}).(*kmsg.MetadataResponse)
		if got := resp.Topics[0].Partitions[0].Replicas; !slices.Equal(got, want) {
			t.Errorf("%s sees the replicas %v, want %v", software, got, want)
		}
	}
}
