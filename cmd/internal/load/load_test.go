package load

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "t"

// broker starts a Kafka test double and returns a function that connects to it.
func broker(t *testing.T) (*kfake.Cluster, func(...kgo.Opt) (*kgo.Client, error)) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster, func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}
}

func mustDial(t *testing.T, dial func(...kgo.Opt) (*kgo.Client, error), opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := dial(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// offsets are where the partitions begin and end.
func offsets(t *testing.T, client *kgo.Client) (start, end map[int32]int64) {
	t.Helper()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	start, end = map[int32]int64{}, map[int32]int64{}
	starts.Each(func(o kadm.ListedOffset) { start[o.Partition] = o.Offset })
	ends.Each(func(o kadm.ListedOffset) { end[o.Partition] = o.Offset })
	return start, end
}

func TestWhatIsProducedIsThereAndIsConsumed(t *testing.T) {
	_, dial := broker(t)
	client := mustDial(t, dial, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var progress Progress
	got, err := Produce{Topic: topic, Partitions: []int32{0, 2}, RecordBytes: 50, Records: 1001}.Run(t.Context(), client, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if got.Records != 1001 || got.Bytes != 50*1001 || got.RecordsPerSecond <= 0 || got.Latency.Count != 8 {
		t.Fatalf("got %+v", got)
	}
	start, end := offsets(t, client)
	if end[0] != 501 || end[1] != 0 || end[2] != 500 {
		t.Fatalf("partitions end at %v", end)
	}
	read, err := Consume{Topic: topic, Start: start, End: end, Duration: 1}.Run(t.Context(), dial, &Progress{})
	if err != nil {
		t.Fatal(err)
	}
	if read.Records != 1001 || read.Bytes != 50*1001 || read.Rounds != 1 {
		t.Fatalf("got %+v", read)
	}
	// Later records are not counted.
	if _, err := (Produce{Topic: topic, Partitions: []int32{0}, RecordBytes: 1, Records: 7}).Run(t.Context(), client, &Progress{}); err != nil {
		t.Fatal(err)
	}
	if read, err = (Consume{Topic: topic, Start: start, End: end}).Run(t.Context(), dial, &Progress{}); err != nil || read.Records != 1001 {
		t.Fatalf("got %+v, %v", read, err)
	}
}

func TestProduceEndsAfterItsDuration(t *testing.T) {
	_, dial := broker(t)
	client := mustDial(t, dial, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	got, err := Produce{Topic: topic, Partitions: []int32{1}, RecordBytes: 10, Duration: time.Millisecond}.Run(t.Context(), client, &Progress{})
	if err != nil || got.Seconds <= 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, end := offsets(t, client); end[1] != got.Records {
		t.Fatalf("%d records counted, %d are there", got.Records, end[1])
	}
}

func TestARecordThatFailsIsAnError(t *testing.T) {
	cluster, dial := broker(t)
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, in := range req.(*kmsg.ProduceRequest).Topics {
			out := kmsg.NewProduceResponseTopic()
			out.Topic, out.TopicID = in.Topic, in.TopicID
			for _, p := range in.Partitions {
				slot := kmsg.NewProduceResponseTopicPartition()
				slot.Partition, slot.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				out.Partitions = append(out.Partitions, slot)
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp, nil, true
	})
	client := mustDial(t, dial, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	got, err := Produce{Topic: topic, Partitions: []int32{1}, RecordBytes: 10, Records: 1000}.Run(t.Context(), client, &Progress{})
	if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "partition 1") || got.Records != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestAnEmptyTopicIsNotMeasured(t *testing.T) {
	_, dial := broker(t)
	_, err := Consume{Topic: topic, Start: map[int32]int64{0: 5}, End: map[int32]int64{0: 5}}.Run(t.Context(), dial, &Progress{})
	if !errors.Is(err, errNothing) {
		t.Fatal(err)
	}
}

func TestConsumeEndsWithItsContext(t *testing.T) {
	_, dial := broker(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Consume{Topic: topic, End: map[int32]int64{0: 5}}.Run(ctx, dial, &Progress{})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestEveryRecordAfterTheWarmUpIsTimed(t *testing.T) {
	_, dial := broker(t)
	producer := mustDial(t, dial, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	consumer := mustDial(t, dial, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	o := Latency{Topic: topic, Partitions: []int32{0, 1}, RecordBytes: MinTimed, Rate: 10_000,
		Duration: 100 * time.Millisecond, Warmup: 50 * time.Millisecond, Patience: time.Minute}
	got, err := o.Run(t.Context(), producer, consumer, &Progress{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Records != 1000 || got.Ack.Count != 500 || got.End.Count != 500 || got.Ack.P50 <= 0 || got.End.Max < got.End.P50 {
		t.Fatalf("got %+v", got)
	}
}

// A broker that answers late makes every record late that is due in that time,
// not only the one that it answers late.
func TestAStallCountsForEveryRecordDueInIt(t *testing.T) {
	const stall = 200 * time.Millisecond
	cluster, dial := broker(t)
	var once sync.Once
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { time.Sleep(stall) })
		return nil, nil, false
	})
	producer := mustDial(t, dial, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1), kgo.ProducerLinger(0))
	consumer := mustDial(t, dial, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	o := Latency{Topic: topic, Partitions: []int32{0}, RecordBytes: MinTimed, Rate: 1000, Duration: stall, Patience: time.Minute}
	got, err := o.Run(t.Context(), producer, consumer, &Progress{})
	if err != nil {
		t.Fatal(err)
	}
	if half := float64(stall.Milliseconds()) / 4; got.Ack.P50 < half {
		t.Fatalf("half of the records were due before the stall had a quarter to go, and the median is %v ms", got.Ack.P50)
	}
}

func TestQuantilesAreThoseOfTheSample(t *testing.T) {
	var s sample
	for i := range 1000 {
		s.add(time.Duration(1000-i) * time.Millisecond)
	}
	want := Quantiles{Count: 1000, P50: 500, P99: 990, P999: 999, Max: 1000}
	if got := s.quantiles(); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	s = sample{}
	if got := s.quantiles(); got != (Quantiles{}) {
		t.Fatalf("nothing has %+v", got)
	}
	s.add(time.Second)
	if got := s.quantiles(); got.P50 != 1000 || got.P999 != 1000 {
		t.Fatalf("one has %+v", got)
	}
}
