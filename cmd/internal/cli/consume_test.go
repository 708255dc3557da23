package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
)

// numbered is a broker with topic t, one partition, and the records 0 to n-1,
// one a day from 2024-01-01 on.
func numbered(t *testing.T, n int) command {
	t.Helper()
	c := broker(t, kfake.SeedTopics(1, "t"))
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "{\"n\":%d,\"at\":%d}\n", i, 1704067200+86400*i)
	}
	c.reading(lines.String()).run(t, "produce", "t", "--key-field", "n", "--timestamp-field", "at").expect(t, cli.ExitOK)
	return c
}

func offsets(t *testing.T, output string) string {
	t.Helper()
	var list []string
	for _, r := range records(t, output) {
		list = append(list, fmt.Sprint(r.Offset))
	}
	return strings.Join(list, " ")
}

func TestFromSaysWhereToBegin(t *testing.T) {
	c := numbered(t, 10)
	for _, tc := range []struct{ args, want string }{
		{"--from earliest --max 2", "0 1"},
		{"--from 7", "7 8 9"},
		{"--from 10", ""},
		{"--from latest", ""},
		{"--from 2024-01-08", "7 8 9"},
		{"--from 2024-01-08T00:00:00.001Z", "8 9"},
		{"--from 2024-01-08T01:00:00+01:00", "7 8 9"},
		{"--from 1970-01-01 --max 1", "0"},
		{"--from 2200-01-01", ""},
		{"--from -10000d --max 1", "0"},
		{"--from -1h", ""},
		{"--from -2w", ""},
		{"--from 3 --max 4 --partition 0", "3 4 5 6"},
	} {
		o := c.run(t, append([]string{"consume", "t", "-o", "json", "--until-end"}, strings.Fields(tc.args)...)...)
		o.expect(t, cli.ExitOK)
		if got := offsets(t, o.stdout); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.args, got, tc.want)
		}
	}
	c.run(t, "consume", "t", "--from", "11").expect(t, cli.ExitUsage, "partition 0 has offsets 0 to 10")
	c.run(t, "consume", "t", "--partition", "1").expect(t, cli.ExitUsage, "partitions 0 to 0")
}

func TestAnUnknownTopicIsReportedAtOnce(t *testing.T) {
	c := broker(t, kfake.AllowAutoTopicCreation(), kfake.SeedTopics(1, "t"))
	c.run(t, "consume", "t", "nope", "--until-end").expect(t, cli.ExitFailure, `topic does not exist: "nope"`)
	c.run(t, "topic", "describe", "nope").expect(t, cli.ExitFailure, `topic does not exist: "nope"`)
	if o := c.run(t, "topic", "list"); strings.Contains(o.stdout, "nope") {
		t.Fatal("asking for a topic made it")
	}
}

func TestPartitionsKeepTheirOrder(t *testing.T) {
	c := broker(t, kfake.SeedTopics(5, "t"), kfake.SeedTopics(1, "other"))
	var lines strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&lines, "%d:%06d\n", i%37, i)
	}
	c.reading(lines.String()).run(t, "produce", "t", "--key-separator", ":", "--linger", "0s").expect(t, cli.ExitOK)
	c.reading("one\n").run(t, "produce", "other").expect(t, cli.ExitOK)
	o := c.run(t, "consume", "t", "other", "t", "--until-end", "-o", "json")
	o.expect(t, cli.ExitOK)
	next, last, n := map[string]int64{}, map[string]string{}, 0
	for _, r := range records(t, o.stdout) {
		n++
		at := fmt.Sprint(r.Topic, r.Partition)
		if r.Offset != next[at] {
			t.Fatalf("%s: offset %d, want %d", at, r.Offset, next[at])
		}
		next[at]++
		if r.Key == nil {
			continue
		}
		if *r.Value <= last[*r.Key] {
			t.Fatalf("key %s: %s after %s", *r.Key, *r.Value, last[*r.Key])
		}
		last[*r.Key] = *r.Value
	}
	if n != 20_001 || len(next) != 6 {
		t.Fatalf("%d records of %d partitions", n, len(next))
	}
}

func TestJSONShowsEveryByte(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "t"))
	address, _ := strings.CutPrefix(c.environ[0], "VARVE_BOOTSTRAP=")
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, r := range []*kgo.Record{
		{Key: []byte("k\"\\\n\t\r\x01é"), Value: []byte{0xff, 0}, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{0xfe}}, {Key: "e"}}},
		{Value: []byte{}},
		{Key: []byte{0x80}},
	} {
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	o := c.run(t, "consume", "t", "--until-end", "-o", "json")
	o.expect(t, cli.ExitOK)
	records(t, o.stdout) // valid JSON
	for i, want := range []string{
		`"key":"k\"\\\n\t\r\u0001é","value":"/wA=","value_encoding":"base64","headers":[{"key":"h","value":"/g==","value_encoding":"base64"},{"key":"e","value":null}]}`,
		`"key":null,"value":"","headers":[]}`,
		`"key":"gA==","key_encoding":"base64","value":null,"headers":[]}`,
	} {
		if got := strings.Split(o.stdout, "\n")[i]; !strings.HasSuffix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// tap is standard output that calls a function when it has seen a text.
type tap struct {
	mu   sync.Mutex
	seen strings.Builder
	text string
	then func()
	once sync.Once
}

func (w *tap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(p)
	if strings.Contains(w.seen.String(), w.text) {
		w.once.Do(w.then)
	}
	return len(p), nil
}

func TestWithoutAnEndItWaitsForMoreUntilInterrupted(t *testing.T) {
	c := numbered(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan struct{})
	second := &tap{text: "more", then: cancel}
	out := &tap{text: `"n":0`, then: func() { close(first) }}
	done := make(chan outcome)
	go func() {
		w := c
		w.ctx, w.stdout = ctx, io.MultiWriter(out, second)
		done <- w.run(t, "consume", "t")
	}()
	<-first
	c.reading("more\n").run(t, "produce", "t").expect(t, cli.ExitOK)
	(<-done).expect(t, cli.ExitOK)
}

func TestAnInterruptionBeforeTheEndIsNoSuccess(t *testing.T) {
	c := numbered(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.ctx, c.stdout = ctx, &tap{text: `"n":2`, then: cancel}
	c.run(t, "consume", "t", "--max", "4").expect(t, cli.ExitInterrupted, "interrupted")
}

// closedPipe is standard output whose reader has closed it.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, fmt.Errorf("write |1: %w", syscall.EPIPE) }

// fullDisk is standard output on a full disk.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAReaderThatHasEnoughIsNoFailureButAFullDiskIs(t *testing.T) {
	c := numbered(t, 3)
	c.stdout = closedPipe{}
	if o := c.run(t, "consume", "t"); o.code != cli.ExitOK || o.stderr != "" {
		t.Fatalf("got %+v", o)
	}
	c.stdout = fullDisk{}
	c.run(t, "consume", "t").expect(t, cli.ExitFailure, "write standard output: no space left")
}

func TestAPartitionThatCannotBeReadEndsTheCommand(t *testing.T) {
	for _, tc := range []struct {
		code int16
		want string
	}{
		{kerr.OffsetOutOfRange.Code, "do not exist any more"},
		{kerr.TopicAuthorizationFailed.Code, "read t/0: TOPIC_AUTHORIZATION_FAILED"},
	} {
		cluster, c := control(t, kfake.SeedTopics(1, "t"))
		c.reading("a\n").run(t, "produce", "t").expect(t, cli.ExitOK)
		cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			return cli.FailFetch(req.(*kmsg.FetchRequest), tc.code), nil, true
		})
		c.run(t, "consume", "t", "--until-end").expect(t, cli.ExitFailure, tc.want)
	}
}
