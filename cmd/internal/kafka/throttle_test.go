package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestProducersAreAskedToWaitAndNotRefused, by the slowest of the journals of a request.
func TestProducersAreAskedToWaitAndNotRefused(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 2, nil)
	slow := topic.Partitions[1].Journal
	b := c.backend()
	b.Throttle = func(journal uint32) time.Duration {
		if journal == slow {
			return 700 * time.Millisecond
		}
		return 0
	}
	cl := start(t, c, Config{}, b).dial(t)
	for version := int16(3); version <= 13; version++ {
		req := sample(0, version, topic).(*kmsg.ProduceRequest)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
		req.Topics[0].Partitions[1].Partition = 1
		resp := cl.ask(req).(*kmsg.ProduceResponse)
		if code := resp.Topics[0].Partitions[1].ErrorCode; resp.ThrottleMillis != 700 || code != 0 {
			t.Errorf("v%d: %d ms and error %d, want 700 ms", version, resp.ThrottleMillis, code)
		}
	}
}
