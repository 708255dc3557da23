package integration

import (
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv"
)

func TestCommandsSayWhatToDoAboutWhatTheBrokerRefuses(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	run := func(input string, code int, args []string, words ...string) {
		t.Helper()
		out := testenv.Varve{Args: append(args, "--bootstrap", node.Kafka), Stdin: strings.NewReader(input)}.Run(t, patience)
		for _, w := range words {
			if !strings.Contains(string(out.Stderr), w) {
				t.Errorf("%q: no %q in %s", args, w, out.Stderr)
			}
		}
		if out.Code != code {
			t.Errorf("%q: exit code %d, want %d: %s", args, out.Code, code, out.Stderr)
		}
	}
	mustRun(t, node, "topic", "create", "recent", "--config", "message.timestamp.before.max.ms=3600000")
	run(`{"at":"2001-02-03 04:05:06,789 +0100"}`+"\n", 3, []string{"produce", "recent", "--timestamp-field", "at"},
		"line 1", "INVALID_TIMESTAMP", "message.timestamp.before.max.ms", "varve topic describe")
	mustRun(t, node, "topic", "create", "small", "--config", "max.message.bytes=2000")
	run(strings.Repeat("x", 5000)+"\n", 3, []string{"produce", "small"}, "line 1", "MESSAGE_TOO_LARGE", "max.message.bytes", "--batch-bytes")
	mustRun(t, node, "topic", "create", "compacted", "--config", "cleanup.policy=compact")
	run("x\n", 3, []string{"produce", "compacted"}, "INVALID_RECORD", "--key-field")
	run("", 0, []string{"group", "reset-offsets", "g", "--to", "earliest", "--topic", "recent", "--execute"})
	run("x\n", 3, []string{"produce", "__consumer_offsets"}, "INVALID_TOPIC_EXCEPTION", "cannot be written")
	for _, command := range []string{"produce", "consume"} {
		run("x\n", 1, []string{command, "a b"}, "INVALID_TOPIC_EXCEPTION", "249 letters, digits, dots, dashes and underscores")
	}
	run("x\n", 1, []string{"topic", "create", "a b"}, "INVALID_TOPIC_EXCEPTION")

	// This node creates topics when clients ask for them.
	run("", 1, []string{"produce", "mistyped"}, "topic does not exist", "varve topic create mistyped", "--create-topic")
	run("", 1, []string{"consume", "mistyped", "--until-end"}, "topic does not exist")
	if topics := string(mustRun(t, node, "topic", "list", "-o", "json")); strings.Contains(topics, "mistyped") {
		t.Errorf("topics: %s", topics)
	}
	run("x\n", 0, []string{"produce", "wanted", "--create-topic"}, `created topic "wanted"`)
}
