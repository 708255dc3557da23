package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/natsd"
)

func TestAFetchNodeServesWhatAnotherNodeWrites(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string]func(t *testing.T) (writer, reader []string){
		"without shared NATS": func(*testing.T) (writer, reader []string) { return nil, nil },
		"with the writer's NATS": func(t *testing.T) (writer, reader []string) {
			address := testenv.FreeAddr(t)
			return []string{"--nats", "embedded://" + address}, []string{"--nats", "nats://" + address}
		},
		"with a NATS server": func(t *testing.T) (writer, reader []string) {
			shared := []string{"--nats", natsServer(t)}
			return shared, shared
		},
		"with NATS away": func(t *testing.T) (writer, reader []string) {
			return []string{"--nats", "nats://" + testenv.FreeAddr(t)}, []string{"--nats", "nats://" + testenv.FreeAddr(t)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := minioBucket(t)
			forWriter, forReader := flags(t)
			writer := b.start(t, forWriter...)
			createTopic(t, writer.Kafka, "events", 2)
			reader := b.start(t, append(forReader, "--roles", "fetch", "--archive")...)
			createTopic(t, writer.Kafka, "created-later", 1)
			rounds := 10
			if name == "with NATS away" {
				rounds = 2 // each lasts until the node polls by itself
			}
			for _, topic := range []string{"events", "created-later"} {
				wantFollowed(t, writer, reader, topic, rounds)
			}
			if n, _ := metric(t, reader, "varve_store_requests_total", `op="create"`); n > 0 {
				t.Errorf("the fetch node sent %v creates to the store", n)
			}
			if n, _ := metric(t, writer, "varve_store_requests_total", `op="create"`); n == 0 {
				t.Error("the metric shows no creates by the writer, so it proves nothing")
			}
		})
	}
}

// wantFollowed writes to one node while reading from the other, and wants the
// same records to arrive there.
func wantFollowed(t *testing.T, writer, reader *testenv.Node, topic string, rounds int) {
	t.Helper()
	const each = 50
	awaitTopic(t, reader, topic)
	readEnd := client(t, reader.Kafka, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	defer readEnd.Close()
	writeEnd := client(t, writer.Kafka)
	defer writeEnd.Close()
	ctx := deadline(t)
	for round := range rounds {
		want := produce(t, writeEnd, numbered(topic, 0, fmt.Sprintf("round-%d", round), each)...)
		var got []*kgo.Record
		for len(got) < each { // before the next round is written: this one must become visible without a later write
			fetches := readEnd.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("round %d, after %d records: %v", round, len(got), err)
			}
			got = append(got, fetches.Records()...)
		}
		wantRecords(t, got, want)
		if got[0].Offset != int64(round*each) {
			t.Fatalf("round %d begins at offset %d", round, got[0].Offset)
		}
	}
	if end := ends(t, reader.Kafka, topic)[0]; end != int64(rounds*each) {
		t.Errorf("the fetch node says the end is %d", end)
	}
}

// awaitTopic waits until a node that follows knows a topic.
func awaitTopic(t *testing.T, node *testenv.Node, topic string) {
	t.Helper()
	awaitTopicAt(t, node.Kafka, topic)
}

func awaitTopicAt(t *testing.T, address, topic string) {
	t.Helper()
	c := client(t, address)
	defer c.Close()
	ctx := deadline(t)
	for ctx.Err() == nil {
		request := kmsg.NewPtrMetadataRequest()
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = kmsg.StringPtr(topic)
		request.Topics = append(request.Topics, asked)
		answer, err := request.RequestWith(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Topics[0].ErrorCode == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the fetch node never heard of topic %s", topic)
}

func TestAFetchNodeNeedsToReadOnlyAndRefusesWrites(t *testing.T) {
	t.Parallel()
	b := minioBucket(t)
	writer := b.start(t)
	createTopic(t, writer.Kafka, "events", 1)
	written := produce(t, client(t, writer.Kafka), numbered("events", 0, "r", 100)...)

	limited, p := behindProxy(t, b)
	p.set(readOnly)
	reader := limited.start(t, "--roles", "fetch", "--archive")
	wantRecords(t, readAll(t, reader.Kafka, "events")[0], written)
	c := client(t, reader.Kafka)
	if code := produceRaw(t, reader.Kafka, "events", 0, rawBatch(rawOptions{})); code != kerr.PolicyViolation.Code {
		t.Errorf("Produce to a fetch node: %v", kerr.ErrorForCode(code))
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "other", 1, 1
	create.Topics = append(create.Topics, topic)
	if answer := ask[*kmsg.CreateTopicsResponse](t, c, create); answer.Topics[0].ErrorCode != kerr.PolicyViolation.Code {
		t.Errorf("CreateTopics on a fetch node: %v", kerr.ErrorForCode(answer.Topics[0].ErrorCode))
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
		if n := p.count(method); n != 0 {
			t.Errorf("the fetch node sent %d %s requests to the store", n, method)
		}
	}
	if p.count(http.MethodGet) == 0 {
		t.Error("nothing went through the proxy, so the test proves nothing")
	}
	// The node goes on while the writer is dead.
	writer.Kill(t)
	wantRecords(t, readAll(t, reader.Kafka, "events")[0], written)
	reader.Stop(t)
}

// A node that only reads refuses other requests at once, with an error for its
// operator, and serves consumers of partitions of their choice.
func TestAFetchNodeSaysAtOnceThatItOnlyReads(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	writer := b.start(t)
	createTopic(t, writer.Kafka, "events", 1)
	written := produce(t, client(t, writer.Kafka), numbered("events", 0, "r", 10)...)
	reader := b.start(t, "--roles", "fetch", "--archive")
	record := func() *kgo.Record { return &kgo.Record{Topic: "events", Value: []byte("x")} }
	for name, options := range map[string][]kgo.Opt{
		"idempotent": nil, "acks=1": {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())},
	} {
		err := client(t, reader.Kafka, options...).ProduceSync(deadline(t), record()).FirstErr()
		if !errors.Is(err, kerr.ClusterAuthorizationFailed) && !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	member := client(t, reader.Kafka, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("events"))
	if err := member.PollFetches(deadline(t)).Err(); !errors.Is(err, kerr.PolicyViolation) {
		t.Errorf("a member of a group: %v", err)
	}
	for _, args := range [][]string{
		{"topic", "create", "other"}, {"topic", "delete", "events", "--yes"}, {"group", "list"},
		{"produce", "events"}, {"consume", "events", "--group", "g"},
	} {
		run := testenv.Varve{Args: append(args, "--bootstrap", reader.Kafka), Stdin: strings.NewReader("line\n")}
		if out := run.Run(t, patience); out.Code == 0 || !strings.Contains(string(out.Stderr), "--roles fetch") {
			t.Errorf("varve %v: code %d, %s", args, out.Code, out.Stderr)
		}
	}
	wantRecords(t, readAll(t, reader.Kafka, "events")[0], written)
}

func TestAFetchNodeOnABucketWithoutAClusterSaysSo(t *testing.T) {
	t.Parallel()
	b := minioBucket(t)
	wantRefusal(t, b.varve("--roles", "fetch"), again, "no cluster", "ingest")
}

// ask sends a request to the one broker there is, without the client's own
// handling of errors.
func ask[R kmsg.Response](t testing.TB, c *kgo.Client, request kmsg.Request) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := c.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		t.Fatalf("%s: %v", kmsg.NameForKey(request.Key()), err)
	}
	return answer.(R)
}

// natsServer starts a server of its own and returns its URL.
func natsServer(t *testing.T) string {
	t.Helper()
	s, err := natsd.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s.URL()
}
