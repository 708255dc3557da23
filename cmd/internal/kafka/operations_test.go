package kafka

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAuthorizedOperationsAreThoseOfKafkaWithoutAnAuthorizer, to those that ask: 3576
// of a topic, 8096 of the cluster, 3400 of a group.
func TestAuthorizedOperationsAreThoseOfKafkaWithoutAnAuthorizer(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	g.cl.ask(g.at(g.commit("g", "", -1, 5, "")))
	is := func(what string, version int16, asked bool, got, want int32) {
		t.Helper()
		if !asked {
			want = math.MinInt32
		}
		if got != want {
			t.Errorf("%s v%d, asked %v: %d, want %d", what, version, asked, got, want)
		}
	}
	none := "none"
	for _, asked := range []bool{false, true} {
		for version := int16(8); version <= 13; version++ {
			resp := g.cl.ask(&kmsg.MetadataRequest{Version: version, IncludeClusterAuthorizedOperations: asked, IncludeTopicAuthorizedOperations: asked,
				Topics: []kmsg.MetadataRequestTopic{{Topic: &g.topic.Name}, {Topic: &none}}}).(*kmsg.MetadataResponse)
			if version <= 10 {
				is("Metadata of the cluster", version, asked, resp.AuthorizedOperations, 8096)
			}
			is("Metadata of a topic", version, asked, resp.Topics[0].AuthorizedOperations, 3576)
			is("Metadata of no topic", version, false, resp.Topics[1].AuthorizedOperations, 0)
		}
		for version := int16(0); version <= 2; version++ {
			resp := g.cl.ask(&kmsg.DescribeClusterRequest{Version: version, IncludeClusterAuthorizedOperations: asked, EndpointType: 1}).(*kmsg.DescribeClusterResponse)
			is("DescribeCluster", version, asked, resp.ClusterAuthorizedOperations, 8096)
		}
		for version := int16(3); version <= 6; version++ {
			resp := g.cl.ask(&kmsg.DescribeGroupsRequest{Version: version, Groups: []string{"g"}, IncludeAuthorizedOperations: asked}).(*kmsg.DescribeGroupsResponse)
			is("DescribeGroups", version, asked, resp.Groups[0].AuthorizedOperations, 3400)
		}
	}
	resp := g.cl.ask(&kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 10}).(*kmsg.DescribeTopicPartitionsResponse)
	is("DescribeTopicPartitions", 0, true, resp.Topics[0].AuthorizedOperations, 3576)
}
