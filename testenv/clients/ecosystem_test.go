package clients

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/proc"
)

// ecosystem are programs that keep their own state in Kafka. Each reads it back from
// compacted topics when it starts, so a lost or changed record breaks it.
var ecosystem = []struct {
	name string
	test func(*testing.T, java)
}{
	{"connect", connect}, {"streams", streams}, {"mirror-maker", mirror}, {"registry", registry},
}

// TestEcosystem kills the node in the middle of the work of each program.
func TestEcosystem(t *testing.T) {
	if testing.Short() || !*all && *only == "" || *peer != "" {
		t.Skip("left to make clients")
	}
	pattern := regexp.MustCompile(*only)
	for _, e := range ecosystem {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if !pattern.MatchString("ecosystem " + e.name) {
				t.Skip("not chosen")
			}
			j := java{program: tool(t, "java"), jars: jars(t, "ecosystem-4")}
			t.Cleanup(func() { findings.note(e.name, "ecosystem", outcome(t)) })
			e.test(t, j)
		})
	}
}

// java runs programs of the ecosystem.
type java struct{ program, jars string }

// start starts a class, or with -jar a program, with the lines of stdin as its input.
func (j java) start(t *testing.T, name string, env []string, stdin io.Reader, args ...string) *proc.Process {
	t.Helper()
	flags := append(slices.Clone(jvm), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Xmx384m")
	if args[0] != "-jar" {
		flags = append(flags, "-cp", j.jars)
	}
	process, err := proc.Start(proc.Command{Path: j.program, Args: append(flags, args...), Stdin: stdin, Env: append(os.Environ(), env...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s printed:\n%.20000s", name, process.Output())
		}
	})
	return process
}

// lasting waits until problem returns nil, unless a process that it needs ends before.
func lasting(t *testing.T, process *proc.Process, problem func() error) {
	t.Helper()
	eventually(t, func() error {
		select {
		case <-process.Done():
			t.Fatalf("the process ended: %v", process.Wait())
		default:
		}
		return problem()
	})
}

// startNode starts a node of its own for a test that kills it. It merges, compacts and
// deletes at the same time, so the programs read all kinds of objects.
func startNode(t *testing.T) *testenv.Node {
	t.Helper()
	store := testenv.MinIO(t)
	return testenv.Varve{Env: store.Env(), Args: append([]string{"--bucket", store.URL("clients"), "--flush-interval", "20ms",
		"--group-initial-rebalance-delay", "0s"}, mergesSoon...)}.Start(t)
}

// crash kills a node that has merged, and starts it again. In between, work goes on.
func crash(t *testing.T, node *testenv.Node, work func()) {
	t.Helper()
	eventually(t, func() error { return hasMerged(node) })
	node.Kill(t)
	work()
	node.Restart(t)
}

// properties writes a file of properties and returns its path.
func properties(t *testing.T, values map[string]string) string {
	t.Helper()
	var text strings.Builder
	for name, value := range values {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	return file(t, text.String())
}

// readAll returns all records that a topic has now, in the order of each partition.
func readAll(broker, topic string) (records []*kgo.Record, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := ends.Error(); err != nil {
		return nil, err
	}
	left := map[int32]int64{} // the end of each partition that is not read yet
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records = append(records, r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return records, nil
}

// wantCompacted wants topics that a program has created for its state.
func wantCompacted(t *testing.T, broker string, topics ...string) {
	t.Helper()
	configs, err := kadm.NewClient(reference(t, broker)).DescribeTopicConfigs(deadline(t), topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range configs {
		policy := ""
		for _, c := range topic.Configs {
			if c.Key == "cleanup.policy" {
				policy = c.MaybeValue()
			}
		}
		if topic.Err != nil || policy != "compact" {
			t.Errorf("topic %s has cleanup.policy %q, error %v", topic.Name, policy, topic.Err)
		}
	}
}

// appendTo appends text to a file.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// unlike returns the lines that only one of two sets has, for the text of an error.
func unlike(got, want map[string]bool) error {
	var missing, extra []string
	for line := range want {
		if !got[line] {
			missing = append(missing, line)
		}
	}
	for line := range got {
		if !want[line] {
			extra = append(extra, line)
		}
	}
	if len(missing)+len(extra) == 0 {
		return nil
	}
	return fmt.Errorf("%d are missing, such as %.100q; %d are too many, such as %.100q",
		len(missing), missing[:min(2, len(missing))], len(extra), extra[:min(2, len(extra))])
}

// settle is longer than the interval at which the programs keep their positions.
const settle = 2 * time.Second

func folder(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
