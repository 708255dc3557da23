package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/config"
)

const (
	defaultBootstrap = "127.0.0.1:9092"

	connectTimeout  = 5 * time.Second        // to find a broker that answers
	requestTimeout  = 15 * time.Second       // of an administrative request with its retries
	createWait      = 5 * time.Second        // for a topic just created to be seen
	topicPoll       = 100 * time.Millisecond // between looks at it
	metadataMinimum = 250 * time.Millisecond // between the client's own looks
)

// bootstrapFlag adds --bootstrap.
func bootstrapFlag(flags *pflag.FlagSet, to *string) {
	flags.StringVar(to, "bootstrap", "",
		"Kafka `host:port`, several with commas (default $"+config.EnvBootstrap+", or "+defaultBootstrap+")")
}

// brokers is the list of addresses to begin with.
func brokers(env *Env, flag string) ([]string, error) {
	text := flag
	if text == "" {
		text = env.getenv(config.EnvBootstrap)
	}
	if text == "" {
		text = defaultBootstrap
	}
	seeds := strings.Split(text, ",")
	for i, s := range seeds {
		seeds[i] = strings.TrimSpace(s)
		if seeds[i] == "" || strings.Contains(s, "://") {
			return nil, usagef("--bootstrap %q: write host:port, several with commas", text)
		}
	}
	return seeds, nil
}

// connect makes a client that has had an answer from a broker.
func connect(ctx context.Context, env *Env, bootstrap string, opts ...kgo.Opt) (*kgo.Client, error) {
	seeds, err := brokers(env, bootstrap)
	if err != nil {
		return nil, err
	}
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("varve"),
		kgo.DialTimeout(connectTimeout),
		kgo.RetryTimeout(requestTimeout),
		kgo.MetadataMinAge(metadataMinimum),
	}, opts...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, usagef("set up Kafka client: %w", err)
	}
	if err := ping(ctx, client); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, unreachable(seeds, err)
	}
	return client, nil
}

// ping waits for an answer of a broker, but not longer than connectTimeout. The
// client itself waits twice as long for the first bytes of a peer that accepts
// connections and sends nothing.
func ping(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- client.Ping(ctx) }() // ends at the latest when the client is closed
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func unreachable(seeds []string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", connectTimeout)
	}
	var closed *kgo.ErrFirstReadEOF
	if errors.As(err, &closed) {
		return fmt.Errorf("a broker listens at %s, but does not serve: %w", strings.Join(seeds, ", "), err)
	}
	return fmt.Errorf("no Kafka broker answers at %s (%w); start one with \"varve serve\", or name another with --bootstrap",
		strings.Join(seeds, ", "), err)
}

// silence explains why waiting was in vain: no broker answers, or those that do
// cannot do the work.
func silence(client *kgo.Client, unable string) error {
	if err := ping(context.Background(), client); err != nil {
		return fmt.Errorf("no broker answers: %w", err)
	}
	return fmt.Errorf("the broker answers, but %s; its log says why", unable)
}

var errUnknownTopic = errors.New("topic does not exist")

// lookUpTopic returns the partitions of a topic, ascending. Commands call it
// first: for a missing topic the client would retry for long, and the broker
// might create it.
func lookUpTopic(ctx context.Context, env *Env, client *kgo.Client, name string) (partitions []int32, err error) {
	err = again(ctx, env, func() error {
		t, err := askTopic(ctx, client, name)
		if err != nil {
			return err // names the topic
		}
		partitions = nil
		for p := range t.Partitions {
			partitions = append(partitions, int32(p))
		}
		if err := topicReady(t); err != nil {
			return fmt.Errorf("look up topic %q: %w", name, err)
		}
		return nil
	})
	switch {
	case err == nil, errors.Is(err, errInterrupted):
		return partitions, err
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil, fmt.Errorf("%w: %q%s; create it with \"varve topic create %s\"", errUnknownTopic, name, meantTopic(ctx, client, name), name)
	}
	return nil, err
}

// meantTopic returns a hint for the error about a topic that does not exist:
// the name of a topic that differs by a slip.
func meantTopic(ctx context.Context, client *kgo.Client, name string) string {
	topics, err := kadm.NewClient(client).ListTopics(ctx)
	if err != nil {
		return "" // the error that it is added to says enough
	}
	if near := config.Near(name, topics.Names()); near != "" {
		return fmt.Sprintf(" (is %q meant?)", near)
	}
	return ""
}

// makeTopic creates a topic with the broker's defaults, and looks it up when it
// can be used.
func makeTopic(ctx context.Context, env *Env, client *kgo.Client, name string) ([]int32, error) {
	if _, err := createTopic(ctx, kadm.NewClient(client), name, -1, nil, true); err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		partitions, err := lookUpTopic(ctx, env, client, name)
		if !errors.Is(err, errUnknownTopic) || time.Since(began) > createWait {
			return partitions, err
		}
		select {
		case <-time.After(topicPoll):
		case <-ctx.Done():
			return nil, errInterrupted
		}
	}
}

func askTopic(ctx context.Context, client *kgo.Client, name string) (kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, topic)
	req.AllowAutoTopicCreation = false
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("look up topic %q: %w", name, err)
	}
	if len(resp.Topics) != 1 {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("look up topic %q: the broker answered for %d topics", name, len(resp.Topics))
	}
	return resp.Topics[0], nil
}

// topicReady returns why a topic cannot be used yet, or nil. The broker has to
// number its partitions from 0 without a gap.
func topicReady(t kmsg.MetadataResponseTopic) error {
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		return err
	}
	seen := make([]bool, len(t.Partitions))
	for _, p := range t.Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.ReplicaNotAvailable) {
			return fmt.Errorf("partition %d: %w", p.Partition, err)
		}
		if p.Partition < 0 || int(p.Partition) >= len(seen) || seen[p.Partition] {
			return fmt.Errorf("the broker names partition %d among %d", p.Partition, len(seen))
		}
		seen[p.Partition] = true
	}
	if len(seen) == 0 {
		return kerr.LeaderNotAvailable
	}
	return nil
}
