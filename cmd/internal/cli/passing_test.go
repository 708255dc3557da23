package cli_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
)

// unavailable makes the next ListOffsets requests end with an error that passes.
func unavailable(cluster *kfake.Cluster, times int) {
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		if times--; times < 0 {
			return nil, nil, false
		}
		cluster.KeepControl()
		req := kreq.(*kmsg.ListOffsetsRequest)
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.OffsetNotAvailable.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

func TestCommandsWaitForOffsetsThatAreNotAvailableYet(t *testing.T) {
	for _, line := range []string{
		"consume t --until-end", "consume t --from 2024-05-01 --max 1", "consume t --group g --until-end", "bench consume t", "bench latency t --rate 100 --duration 100ms --warmup 0s",
		"topic describe t", "topic delete-records t --before latest --yes", "group reset-offsets g --to latest --topic t", "group describe g",
	} {
		t.Run(line, func(t *testing.T) {
			cluster, c := control(t, kfake.SeedTopics(1, "t"))
			c.reading("a\n").run(t, "produce", "t").expect(t, cli.ExitOK)
			c.run(t, "group", "reset-offsets", "g", "--to", "earliest", "--topic", "t", "--execute").expect(t, cli.ExitOK)
			unavailable(cluster, 1)
			o := c.run(t, strings.Fields(line)...)
			o.expect(t, cli.ExitOK)
			if strings.Contains(o.stdout+o.stderr, "OFFSET_NOT_AVAILABLE") {
				t.Fatalf("got %s%s", o.stdout, o.stderr)
			}
		})
	}
}

// once answers the next request of a key with the result of answer.
func once(cluster *kfake.Cluster, key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
	asked := false
	cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if asked {
			return nil, nil, false
		}
		asked = true
		return answer(req), nil, true
	})
}

func TestCommandsWaitForCoordinatorsAndLeadersThatMove(t *testing.T) {
	setUp := func(t *testing.T) (*kfake.Cluster, command) {
		cluster, c := control(t, kfake.SeedTopics(1, "t"))
		c.reading("a\n").run(t, "produce", "t").expect(t, cli.ExitOK)
		c.run(t, "group", "reset-offsets", "g", "--to", "earliest", "--topic", "t", "--execute").expect(t, cli.ExitOK)
		return cluster, c
	}
	t.Run("describe", func(t *testing.T) {
		cluster, c := setUp(t)
		once(cluster, kmsg.DescribeGroups, func(req kmsg.Request) kmsg.Response {
			resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode = "g", kerr.CoordinatorLoadInProgress.Code
			resp.Groups = append(resp.Groups, g)
			return resp
		})
		c.run(t, "group", "describe", "g").expect(t, cli.ExitOK, "group g, Empty")
	})
	t.Run("commit", func(t *testing.T) {
		cluster, c := setUp(t)
		once(cluster, kmsg.OffsetCommit, func(kreq kmsg.Request) kmsg.Response {
			req := kreq.(*kmsg.OffsetCommitRequest)
			resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
			topic := kmsg.NewOffsetCommitResponseTopic()
			topic.Topic, topic.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.ErrorCode = kerr.RequestTimedOut.Code
			topic.Partitions = append(topic.Partitions, p)
			resp.Topics = append(resp.Topics, topic)
			return resp
		})
		c.run(t, "group", "reset-offsets", "g", "--to", "latest", "--topic", "t", "--execute").expect(t, cli.ExitOK, "committed")
	})
	t.Run("delete records", func(t *testing.T) {
		cluster, c := setUp(t)
		once(cluster, kmsg.DeleteRecords, func(req kmsg.Request) kmsg.Response {
			resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
			topic := kmsg.NewDeleteRecordsResponseTopic()
			topic.Topic = "t"
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.ErrorCode = kerr.RequestTimedOut.Code
			topic.Partitions = append(topic.Partitions, p)
			resp.Topics = append(resp.Topics, topic)
			return resp
		})
		c.run(t, "topic", "delete-records", "t", "--before", "latest", "--yes").expect(t, cli.ExitOK, "deleted")
	})
}
