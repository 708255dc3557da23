package cli

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAnEndThatNeverComesIsAnErrorThatSaysHowFarItGot(t *testing.T) {
	for name, tc := range map[string]struct {
		code int16
		want []string
	}{
		"a broker in trouble": {kerr.KafkaStorageError.Code, []string{"KAFKA_STORAGE_ERROR", "varve bucket verify", "--skip-undecodable"}},
		"a silent broker":     {0, []string{"the broker answers, but sends nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			if tc.code != 0 {
				cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
					cluster.KeepControl()
					return FailFetch(req.(*kmsg.FetchRequest), tc.code), nil, true
				})
			}
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.KeepRetryableFetchErrors(),
				kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(0)}}))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			p := &printer{spans: spans{"t": {0: {next: 0, end: 3}}}, format: jsonFormat, out: bufio.NewWriter(io.Discard), patience: time.Millisecond, meter: &meter{}}
			err = p.run(t.Context(), client, true)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(tc.want, "t/0 at 0 of 3") {
				if strings.Count(explain(err), want) != 1 {
					t.Errorf("got %v, want %q once", explain(err), want)
				}
			}
		})
	}
}

// FailFetch answers a fetch with an error code for every partition.
func FailFetch(req *kmsg.FetchRequest, code int16) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	for _, topic := range req.Topics {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
