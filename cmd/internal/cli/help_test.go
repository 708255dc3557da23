package cli_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/varvelog/varve/cmd/internal/cli"
)

var update = flag.Bool("update", false, "write the help texts of testdata again")

func TestHelpIsAsReviewed(t *testing.T) {
	for _, line := range []string{
		"", "serve", "topic", "topic create", "topic list", "topic describe", "topic alter", "topic delete-records", "topic delete",
		"group", "group list", "group describe", "group reset-offsets", "group delete",
		"produce", "consume", "bucket", "bucket ls", "bucket stat", "bucket cat", "bucket explain", "bucket hold", "bucket hold list", "bucket hold release", "bucket probe", "bucket verify", "bucket repair", "bucket orphans", "bucket copy", "wal", "wal list", "wal export", "version",
		"bench", "bench produce", "bench consume", "bench latency",
		"cluster", "cluster status", "cluster events", "cluster journals", "cluster upgrade", "node", "node list", "node drain", "node undrain", "node remove", "exit-codes", "output", "times",
	} {
		args := append(strings.Fields(line), "--help")
		o := command{}.run(t, args...)
		o.expect(t, cli.ExitOK)
		golden := filepath.Join("testdata", "help", strings.ReplaceAll("varve "+line, " ", "_")+".txt")
		golden = strings.Replace(golden, "varve_.txt", "varve.txt", 1)
		if *update {
			if err := os.WriteFile(golden, []byte(o.stdout), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if o.stdout != string(want) {
			t.Errorf("help of \"varve %s\" changed; if it should, run: go test ./cmd/internal/cli -run Help -update\ngot\n%s\nwant\n%s", line, o.stdout, want)
		}
	}
}

func TestAGroupAloneShowsItsHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"topic"}, {"bucket"}, {"wal"}, {"bench"}} {
		command{}.run(t, args...).expect(t, cli.ExitOK, "Available Commands:")
	}
}

func TestCompletionKnowsTheShellsAndTheChoices(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		command{}.run(t, "completion", shell).expect(t, cli.ExitOK, "varve")
	}
	for line, want := range map[string]string{
		"produce t --compression ":               "snappy\nlz4\nzstd\n",
		"serve --log-level ":                     "debug\ninfo\n",
		"bucket verify --bucket ":                "file:///\ns3://\n",
		"topic alter t --config max.message":     "max.message.bytes=\tlargest",
		"topic alter t --delete-config max.mess": "max.message.bytes\tlargest",
	} {
		command{}.run(t, append([]string{"__complete"}, strings.Split(line, " ")...)...).expect(t, cli.ExitOK, want)
	}
}

func TestCompletionAsksTheBrokerForNames(t *testing.T) {
	c := counted(t, 1, 1)
	c.run(t, "topic", "create", "other").expect(t, cli.ExitOK)
	c.run(t, "consume", "t", "--group", "readers", "--until-end").expect(t, cli.ExitOK)
	for line, want := range map[string]string{
		"topic describe ":         "other\nt\n:4\n",
		"topic describe other ":   "t\n:4\n",
		"topic delete o":          "other\n:4\n",
		"topic create ":           ":4\n",
		"consume ":                "other\nt\n:4\n",
		"produce ":                "other\nt\n:4\n",
		"produce t ":              ":0\n", // files
		"group describe ":         "readers\n:4\n",
		"group reset-offsets r":   "readers\n:4\n",
		"consume t --group ":      "readers\n:4\n",
		"topic delete-records t ": ":4\n",
	} {
		o := c.run(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if o.expect(t, cli.ExitOK); o.stdout != want {
			t.Errorf("%q: got %q, want %q", line, o.stdout, want)
		}
	}
	gone := command{environ: []string{"VARVE_BOOTSTRAP=127.0.0.1:1"}}
	if o := gone.run(t, "__complete", "topic", "describe", ""); o.stdout != ":4\n" {
		t.Errorf("without a broker: got %q", o.stdout)
	}
}

var quoted = regexp.MustCompile(`'[^']*'`)

// Every command except those listed has an example in its help. Every command
// that prints results can print JSON.
func TestEveryCommandHasExamplesAndJSON(t *testing.T) {
	noJSON := []string{"varve completion", "varve help"}
	var walk func(args []string)
	walk = func(args []string) {
		o := command{}.run(t, append(args, "--help")...)
		line := strings.Join(append([]string{"varve"}, args...), " ")
		_, rest, isGroup := strings.Cut(o.stdout, "Available Commands:\n")
		if !isGroup {
			_, examples, has := strings.Cut(o.stdout, "Examples:\n")
			if !has {
				t.Errorf("%s has no example", line)
			}
			examples, _, _ = strings.Cut(examples, "\n\n")
			for example := range strings.Lines(quoted.ReplaceAllString(examples, "")) {
				if strings.ContainsAny(example, "?*[&") {
					t.Errorf("%s: a shell makes something else of it, quote it: %s", line, example)
				}
			}
			if line != "varve bench consume" && !strings.Contains(o.stdout, "json") {
				t.Errorf("%s cannot print JSON", line)
			}
			return
		}
		list, _, _ := strings.Cut(rest, "\n\n")
		for entry := range strings.Lines(list) {
			if name := strings.Fields(entry)[0]; !slices.Contains(noJSON, line+" "+name) {
				walk(append(slices.Clone(args), name))
			}
		}
	}
	walk(nil)
}

func TestTheHelpOfExitCodesNamesThoseThereAre(t *testing.T) {
	o := command{}.run(t, "help", "exit-codes")
	o.expect(t, cli.ExitOK)
	var listed []string
	for line := range strings.Lines(o.stdout) {
		if code, ok := strings.CutPrefix(line, "  "); ok && code[0] >= '0' && code[0] <= '9' {
			listed = append(listed, strings.Fields(code)[0])
		}
	}
	if got := strings.Join(listed, " "); got != "0 1 2 3 4 5 130" {
		t.Fatalf("help lists %s", got)
	}
	cluster, c := control(t, kfake.SeedTopics(1, "t"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	interrupted := c
	interrupted.ctx = ended
	for _, tc := range []struct {
		command
		args []string
		code int
	}{
		{c, []string{"topic", "list"}, 0},
		{c, []string{"topic", "describe", "absent"}, 1},
		{c, []string{"topic", "describe"}, 2},
		{interrupted, []string{"topic", "list"}, 130},
	} {
		tc.run(t, tc.args...).expect(t, tc.code)
	}
	failProduce(cluster, kerr.TopicAuthorizationFailed.Code)
	c.reading("a\n").run(t, "produce", "t").expect(t, 3)
}

func TestNotesNameConfigsWithoutEffect(t *testing.T) {
	c := broker(t)
	o := c.run(t, "topic", "create", "a", "--config", "segment.bytes=1048576", "--config", "max.message.bytes=1000")
	o.expect(t, cli.ExitOK, "segment.bytes has no effect")
	if strings.Contains(o.stderr, "max.message.bytes") {
		t.Errorf("got %q", o.stderr)
	}
	command{}.run(t, "help", "topic-configs").expect(t, cli.ExitOK, "applied:", "max.message.bytes", "1048588", "ignored:")
}
