package cli_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
)

// failProduce makes every Produce from now on end with an error code.
func failProduce(cluster *kfake.Cluster, code int16) {
	cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

func TestARefusedRecordEndsWith3AndCounts(t *testing.T) {
	cluster, c := control(t, kfake.SeedTopics(1, "t"))
	failProduce(cluster, kerr.TopicAuthorizationFailed.Code)
	o := c.reading("a\nb\n").run(t, "produce", "t")
	o.expect(t, cli.ExitUnsent, "t: 0 records", "2 of 2 records were not acknowledged: standard input, batch from line 1: TOPIC_AUTHORIZATION_FAILED", "credentials")
}

func TestItGivesUpWhenNothingIsAcknowledged(t *testing.T) {
	cluster, c := control(t, kfake.SeedTopics(1, "t"))
	failProduce(cluster, kerr.NotEnoughReplicas.Code)
	c.reading("a\n").run(t, "produce", "t", "--delivery-timeout", "1s").
		expect(t, cli.ExitUnsent, "1 of 1 records were not acknowledged", "nothing was acknowledged for 1s", "the broker answers, but cannot store")

	cluster, c = control(t, kfake.SeedTopics(1, "t"))
	input, lines := io.Pipe()
	c.stdin = input
	c.stdout = io.Discard
	go func() {
		io.WriteString(lines, "a\n")
		cluster.Close()
		io.WriteString(lines, "b\n")
		lines.Close()
	}()
	c.run(t, "produce", "t", "--delivery-timeout", "1s").
		expect(t, cli.ExitUnsent, "nothing was acknowledged for 1s", "no broker answers")
}

func TestAnInterruptionWritesWhatWasRead(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "t"))
	input, lines := io.Pipe()
	t.Cleanup(func() { lines.Close() })
	interrupting := c
	var interrupt context.CancelFunc
	interrupting.ctx, interrupt = context.WithCancel(t.Context())
	interrupting.stdin = input
	done := make(chan outcome)
	go func() { done <- interrupting.run(t, "produce", "t") }()
	io.WriteString(lines, "a\nb\nhalf a li")
	// The lines are read once a consumer has them.
	c.run(t, "consume", "t", "--max", "2").expect(t, cli.ExitOK)
	interrupt()
	(<-done).expect(t, cli.ExitInterrupted, "t: 2 records", "varve: interrupted")
	if o := c.run(t, "consume", "t", "--until-end"); o.stdout != "a\nb\n" {
		t.Fatalf("got %q", o.stdout)
	}
}

func TestProgressIsShownOnlyWhenAsked(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "t"))
	if o := c.reading("a\n").run(t, "produce", "t"); strings.Count(o.stderr, "\n") != 1 {
		t.Fatalf("want the summary alone, got %q", o.stderr)
	}
	input, lines := io.Pipe()
	c.stdin = input
	c.stderr = &tap{text: "varve: produce: 1 records", then: func() { lines.Close() }}
	go io.WriteString(lines, "a\n") // the input ends when progress was shown
	c.run(t, "produce", "t", "--progress").expect(t, cli.ExitOK)
}
