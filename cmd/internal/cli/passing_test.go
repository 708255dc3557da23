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
