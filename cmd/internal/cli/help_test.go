package cli_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
)

var update = flag.Bool("update", false, "write the help texts of testdata anew")

func TestHelpIsAsReviewed(t *testing.T) {
	for _, line := range []string{
		"", "serve", "topic", "topic create", "topic list", "topic describe", "topic alter", "topic delete-records", "topic delete",
		"group", "group list", "group describe", "group reset-offsets", "group delete",
		"produce", "consume", "bucket", "bucket probe", "bucket verify", "wal", "wal list", "wal export", "version",
		"bench", "bench produce", "bench consume", "bench latency",
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
	command{}.run(t, "__complete", "produce", "t", "--compression", "").expect(t, cli.ExitOK, "snappy\nlz4\nzstd\n")
}
