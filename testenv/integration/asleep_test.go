package integration

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// A leader stands still while another takes over, and gets no writes
// afterwards. It must not hold clients that wait on it for records, or as
// members of a group.
func TestConsumersGetAwayFromALeaderThatSleptWhileItWasDeposed(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]kgo.Opt{
		"partitions": {kgo.ConsumeTopics("events")},
		"group":      {kgo.ConsumeTopics("events"), kgo.ConsumerGroup("readers"), kgo.DisableAutoCommit()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fileBucket(t)
			first := b.start(t, oneWriter()...) // nothing announces the second to it
			createTopic(t, first.Kafka, "events", 1)
			written := produce(t, client(t, first.Kafka), numbered("events", 0, "first", 10)...)
			second := testenv.FreeAddr(t)
			reader := client(t, first.Kafka, append(options, kgo.SeedBrokers(first.Kafka, second),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond))...)
			read := readOn(t, reader, len(written))
			poll := make(chan []*kgo.Record)
			go func() { poll <- readOn(t, reader, 10) }()

			if err := syscall.Kill(first.Pid(), syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			other := b.start(t, oneWriter("--listen", second)...)
			written = append(written, produce(t, client(t, other.Kafka), numbered("events", 0, "second", 10)...)...)
			if err := syscall.Kill(first.Pid(), syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if code := first.Wait(t); code != takenOver {
				t.Errorf("the first node ended with code %d", code)
			}
			wantRecords(t, append(read, <-poll...), written)
		})
	}
}

// readOn reads at least n more records. It ignores errors: the client tries
// again.
func readOn(t testing.TB, c *kgo.Client, n int) (read []*kgo.Record) {
	t.Helper()
	ctx := deadline(t)
	for len(read) < n {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
			t.Errorf("read %d of %d records: %v", len(read), n, err)
			return read
		}
		read = append(read, fetches.Records()...)
	}
	return read
}
