package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
)

// quickly makes a test double whose groups do not wait for more members.
func quickly(opts ...kfake.Opt) []kfake.Opt {
	return append(opts, kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
}

// counted is a broker with topic t whose partitions have the records 0 to n-1 each.
func counted(t *testing.T, partitions, n int) command {
	t.Helper()
	c := broker(t, quickly(kfake.SeedTopics(int32(partitions), "t"))...)
	var lines strings.Builder
	for i := range n {
		fmt.Fprintln(&lines, i)
	}
	for p := range partitions {
		c.reading(lines.String()).run(t, "produce", "t", "--partition", fmt.Sprint(p)).expect(t, cli.ExitOK)
	}
	return c
}

func TestAGroupGoesOnWhereItWas(t *testing.T) {
	c := counted(t, 1, 10)
	o := c.run(t, "consume", "t", "--group", "g", "--max", "3")
	if o.expect(t, cli.ExitOK); o.stdout != "0\n1\n2\n" {
		t.Fatalf("got %q", o.stdout)
	}
	o = c.run(t, "consume", "t", "--group", "g", "--until-end", "--from", "latest")
	if o.expect(t, cli.ExitOK); o.stdout != "3\n4\n5\n6\n7\n8\n9\n" {
		t.Fatalf("got %q", o.stdout)
	}
	o = c.run(t, "consume", "t", "--group", "g", "--until-end")
	if o.expect(t, cli.ExitOK); o.stdout != "" {
		t.Fatalf("got %q", o.stdout)
	}
	o = c.run(t, "consume", "t", "--group", "other", "--until-end", "--from", "8")
	if o.expect(t, cli.ExitOK); o.stdout != "8\n9\n" {
		t.Fatalf("got %q", o.stdout)
	}
	o = c.run(t, "group", "describe", "g", "other")
	o.expect(t, cli.ExitOK)
	if got := words(o.stdout); !strings.Contains(got, "group g, Empty") || !strings.Contains(got, "t 0 10 0 10 0 - -") {
		t.Fatalf("got %s", o.stdout)
	}
}

// Records that were not written are not committed: a group prints them again.
func TestAGroupCommitsWhatWasWritten(t *testing.T) {
	c := counted(t, 1, 10)
	failing := c
	failing.stdout = failingWriter{}
	failing.run(t, "consume", "t", "--group", "g", "--until-end").expect(t, cli.ExitFailure, "no room")
	o := c.run(t, "consume", "t", "--group", "g", "--until-end")
	if o.expect(t, cli.ExitOK); strings.Count(o.stdout, "\n") != 10 {
		t.Fatalf("got %q", o.stdout)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("no room") }

// member runs consume --group until the returned function is called, which
// returns the output. It sends to the channel for each record that is printed.
func member(t *testing.T, c command) (printed <-chan struct{}, stop func() outcome) {
	t.Helper()
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(t.Context())
	t.Cleanup(cancel)
	lines := make(chan struct{}, 1000) // more than there are
	var text strings.Builder
	c.stdout = writerFunc(func(b []byte) (int, error) {
		text.Write(b)
		for range bytes.Count(b, []byte("\n")) {
			lines <- struct{}{}
		}
		return len(b), nil
	})
	done := make(chan outcome)
	go func() { done <- c.run(t, "consume", "t", "--group", "g", "-o", "json") }()
	return lines, func() outcome {
		cancel()
		o := <-done
		o.stdout = text.String()
		return o
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestAMemberAsksForTheSessionTimeoutItIsGiven(t *testing.T) {
	cluster, c := control(t, quickly(kfake.SeedTopics(1, "t"))...)
	asked := make(chan int32, 100)
	cluster.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked <- req.(*kmsg.JoinGroupRequest).SessionTimeoutMillis
		return nil, nil, false
	})
	for _, tc := range []struct {
		flags []string
		want  int32
	}{{nil, 45_000}, {[]string{"--session-timeout", "9s"}, 9_000}} {
		c.run(t, append([]string{"consume", "t", "--group", "g", "--until-end"}, tc.flags...)...).expect(t, cli.ExitOK)
		for len(asked) > 0 {
			if got := <-asked; got != tc.want {
				t.Errorf("%q: the member asks for %d ms, want %d", tc.flags, got, tc.want)
			}
		}
	}
}

func TestMembersShareThePartitionsAndLeave(t *testing.T) {
	c := counted(t, 2, 5)
	first, stop := member(t, c)
	for range 2 * 5 {
		<-first
	}
	o := c.run(t, "group", "list")
	if got := words(o.stdout); got != "GROUP STATE TYPE COORDINATOR g Stable consumer 0" {
		t.Fatalf("got %s", o.stdout)
	}
	o = c.run(t, "group", "reset-offsets", "g", "--to", "earliest", "--execute")
	o.expect(t, cli.ExitFailure, "is Stable with 1 member", "stop its consumers")
	c.run(t, "group", "reset-offsets", "g", "--to", "earliest", "--topic", "t").expect(t, cli.ExitOK, "nothing was changed", "is Stable with 1 member")
	c.run(t, "group", "delete", "g", "--yes").expect(t, cli.ExitFailure, `"g": has members`)

	second, stopSecond := member(t, c)
	for !shared(t, c) {
	}
	for p := range 2 {
		c.reading("more\n").run(t, "produce", "t", "--partition", fmt.Sprint(p)).expect(t, cli.ExitOK)
	}
	<-first // otherwise it may end before it has reached the record
	<-second
	one, two := stop(), stopSecond()
	one.expect(t, cli.ExitOK)
	two.expect(t, cli.ExitOK)
	all := c.run(t, "consume", "t", "--until-end", "-o", "json").stdout
	if got, want := strings.Count(one.stdout+two.stdout, "\n"), strings.Count(all, "\n"); got != want {
		t.Fatalf("members that left in good order printed %d records, want %d, each once", got, want)
	}
	c.run(t, "group", "describe", "g").expect(t, cli.ExitOK, "group g, Empty", "lag 0")
}

// shared reports whether each of two members of g reads one of two partitions.
func shared(t *testing.T, c command) bool {
	t.Helper()
	var described []struct {
		State   string
		Members []struct {
			Partitions []struct{ Partition int32 }
		}
		Partitions []struct{ Member string }
	}
	o := c.run(t, "group", "describe", "g", "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &described); err != nil {
		t.Fatal(err)
	}
	d := described[0]
	return d.State == "Stable" && len(d.Members) == 2 && len(d.Members[0].Partitions) == 1 && len(d.Members[1].Partitions) == 1 &&
		len(d.Partitions) == 2 && d.Partitions[0].Member != d.Partitions[1].Member
}

func TestResettingShowsThePlanFirst(t *testing.T) {
	c := counted(t, 2, 10)
	c.run(t, "topic", "delete-records", "t", "--partition", "0", "--before", "2", "--yes").expect(t, cli.ExitOK)
	c.run(t, "consume", "t", "--group", "g", "--until-end").expect(t, cli.ExitOK)
	const header = "TOPIC PARTITION COMMITTED NEW LAG RESULT NOTE "
	folder := t.TempDir()
	copied := filepath.Join(folder, "g.csv")
	for _, tc := range []struct{ args, want string }{
		{"--to earliest", "t 0 10 2 8 planned - t 1 10 0 10 planned -"},
		{"--to latest", "t 0 10 10 0 planned - t 1 10 10 0 planned -"},
		{"--to 1", "t 0 10 2 8 planned 1 is not in the partition, which has 2 to 10 t 1 10 1 9 planned -"},
		{"--to 4 --topic t:1", "t 1 10 4 6 planned -"},
		{"--to -1h", "t 0 10 2 8 planned - t 1 10 0 10 planned -"},
		{"--to 2200-01-01", "t 0 10 10 0 planned - t 1 10 10 0 planned -"},
		{"--shift-by -3", "t 0 10 7 3 planned - t 1 10 7 3 planned -"},
		{"--shift-by 9223372036854775807 --topic t:0", "t 0 10 10 0 planned 9223372036854775807 is not in the partition, which has 2 to 10"},
		{"--to current --to-file " + copied, "t 0 10 10 0 planned - t 1 10 10 0 planned -"},
	} {
		o := c.run(t, append([]string{"group", "reset-offsets", "g"}, strings.Fields(tc.args)...)...)
		o.expect(t, cli.ExitOK, "nothing was changed (--execute carries it out)")
		if got := words(o.stdout); got != header+tc.want {
			t.Errorf("%s: got %s", tc.args, o.stdout)
		}
	}
	c.run(t, "group", "describe", "g").expect(t, cli.ExitOK, "lag 0")

	c.run(t, "group", "reset-offsets", "g", "--shift-by", "-3", "--execute").expect(t, cli.ExitOK, "committed")
	c.run(t, "group", "describe", "g").expect(t, cli.ExitOK, "lag 6")
	if text, err := os.ReadFile(copied); err != nil || string(text) != "t,0,10\nt,1,10\n" {
		t.Fatalf("%v, %q", err, text)
	}
	o := c.run(t, "group", "reset-offsets", "g", "--from-file", copied, "--topic", "t:1", "--execute", "-o", "json")
	var rows []struct {
		Committed, New, Lag int64
		Result              string
	}
	if err := json.Unmarshal([]byte(o.stdout), &rows); err != nil || len(rows) != 1 || rows[0].Committed != 7 || rows[0].New != 10 || rows[0].Result != "committed" {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	c.run(t, "group", "reset-offsets", "g", "--to", "current", "--to-file", copied).expect(t, cli.ExitUsage, "is not replaced")
}

func TestAGroupCanBeMadeByAReset(t *testing.T) {
	c := counted(t, 2, 3)
	c.run(t, "group", "reset-offsets", "new", "--to", "1").expect(t, cli.ExitUsage, "--topic")
	c.run(t, "group", "reset-offsets", "new", "--shift-by", "1", "--topic", "t").expect(t, cli.ExitOK, "t/0 is left out")
	c.run(t, "group", "reset-offsets", "new", "--to", "1", "--topic", "t", "--execute").expect(t, cli.ExitOK)
	c.run(t, "group", "list", "--state", "empty").expect(t, cli.ExitOK, "new")
	c.run(t, "group", "describe", "new").expect(t, cli.ExitOK, "lag 4")
	o := c.run(t, "group", "delete", "new", "absent", "--yes")
	o.expect(t, cli.ExitFailure, `deleted group "new"`, `"absent": does not exist`)
	c.run(t, "group", "describe", "new").expect(t, cli.ExitFailure, "does not exist", "varve group list")
	if o := c.run(t, "group", "list", "-o", "json"); o.stdout != "[]\n" {
		t.Fatalf("got %q", o.stdout)
	}
}

func TestBadOffsetFilesAreNamedByLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "has no offsets",
		"t,0\n":            "line 1: write topic,partition,offset",
		"t,0,1\nt,x,1\n":   "line 2: write topic,partition,offset",
		"t,0,-1\n":         "line 1",
		"t,0,1\n\nt,0,2\n": "line 3: t/0 stands there twice",
		"\"t,0,1\n":        "line 1",
		",0,1\n":           "line 1",
	} {
		name := filepath.Join(t.TempDir(), "offsets.csv")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		command{stdout: io.Discard}.run(t, "group", "reset-offsets", "g", "--from-file", name).expect(t, cli.ExitUsage, want)
	}
}

func TestACommitBehindTheEndIsRefused(t *testing.T) {
	c := counted(t, 1, 10)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.TrimPrefix(c.environ[0], "VARVE_BOOTSTRAP=")))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	behind := kadm.Offsets{}
	behind.AddOffset("t", 0, 50, -1)
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "g", behind); err != nil {
		t.Fatal(err)
	}
	c.run(t, "consume", "t", "--group", "g", "--until-end").expect(t, cli.ExitFailure, "50 of t/0 is greater than the end, 10", "reset-offsets")
}
