package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome is the result of one command line.
type outcome struct {
	code           int
	stdout, stderr string
}

// command is a command line to run.
type command struct {
	ctx     context.Context
	stdin   io.Reader
	environ []string
	serve   func(context.Context, config.Serve, io.Writer, io.Writer) error
	stdout  io.Writer // instead of the outcome's
	stderr  io.Writer // likewise
}

func (c command) run(t *testing.T, args ...string) outcome {
	t.Helper()
	if c.ctx == nil {
		c.ctx = t.Context()
	}
	if c.stdin == nil {
		c.stdin = strings.NewReader("")
	}
	var stdout, stderr bytes.Buffer
	if c.stdout == nil {
		c.stdout = &stdout
	}
	if c.stderr == nil {
		c.stderr = &stderr
	}
	code := cli.Run(c.ctx, cli.Env{
		Args: args, Environ: c.environ, Stdin: c.stdin, Stdout: c.stdout, Stderr: c.stderr, Serve: c.serve,
	})
	return outcome{code, stdout.String(), stderr.String()}
}

// expect fails the test unless the command ended with code and its output, on
// either stream, has every word.
func (o outcome) expect(t *testing.T, code int, words ...string) {
	t.Helper()
	all := o.stdout + o.stderr
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Errorf("no %q in the output", w)
		}
	}
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	if t.Failed() {
		t.Fatalf("stdout:\n%s\nstderr:\n%s", clip(o.stdout), clip(o.stderr))
	}
}

func clip(s string) string { return s[:min(len(s), 2000)] }

// broker starts a Kafka test double and returns a command that talks to it.
func broker(t *testing.T, opts ...kfake.Opt) command {
	t.Helper()
	_, c := control(t, opts...)
	return c
}

// control is broker, with the test double to interfere with.
func control(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, command) {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster, command{environ: []string{"VARVE_BOOTSTRAP=" + strings.Join(cluster.ListenAddrs(), ",")}}
}

func (c command) reading(input string) command {
	c.stdin = strings.NewReader(input)
	return c
}

func TestUsageErrorsSayWhatToDoAndEndWith2(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":         {[]string{"serv"}, `did you mean "serve"`},
		"unknown subcommand":      {[]string{"topic", "remove"}, `see "varve topic --help"`},
		"unknown flag":            {[]string{"version", "--all"}, "--all"},
		"removed flag":            {[]string{"serve", "--flush-early-bytes", "1"}, "flush-puts-per-second"},
		"too few arguments":       {[]string{"topic", "create"}, "takes one topic name"},
		"surplus argument":        {[]string{"serve", "now"}, "takes no arguments"},
		"partitions zero":         {[]string{"topic", "create", "t", "--partitions", "0"}, "at least one"},
		"config without a value":  {[]string{"topic", "create", "t", "--config", "a"}, "key=value"},
		"config twice":            {[]string{"topic", "create", "t", "--config", "a=1", "--config", "a=2"}, "twice"},
		"delete without a yes":    {[]string{"topic", "delete", "t"}, "--yes"},
		"unknown acks":            {[]string{"produce", "t", "--acks", "2"}, "0, 1 or all"},
		"unknown compression":     {[]string{"produce", "t", "--compression", "lzma"}, "zstd"},
		"two keys":                {[]string{"produce", "t", "--key-separator", ":", "--key-field", "k"}, "use only one"},
		"plain lines with a time": {[]string{"produce", "t", "--key-separator", ":", "--timestamp-field", "k"}, "--key-field"},
		"negative partition":      {[]string{"produce", "t", "--partition", "-4"}, "from 0"},
		"tiny batches":            {[]string{"produce", "t", "--batch-bytes", "10"}, "1KiB"},
		"batch bytes no size":     {[]string{"produce", "t", "--batch-bytes", "big"}, "8MiB"},
		"endless linger":          {[]string{"produce", "t", "--linger", "2h"}, "1m"},
		"hasty delivery":          {[]string{"produce", "t", "--delivery-timeout", "1ms"}, "from 1s"},
		"from nonsense":           {[]string{"consume", "t", "--from", "yesterday"}, "earliest, latest"},
		"from negative offset":    {[]string{"consume", "t", "--from", "-5"}, "earliest, latest"},
		"from before 1970":        {[]string{"consume", "t", "--from", "1969-01-01"}, "1970"},
		"from a century ago":      {[]string{"consume", "t", "--from", "-36500d"}, "1970"},
		"max zero":                {[]string{"consume", "t", "--max", "0"}, "from 1"},
		"key twice in json":       {[]string{"consume", "t", "-o", "json", "--print-key"}, "raw output"},
		"group and partition":     {[]string{"consume", "t", "--group", "g", "--partition", "1"}, "exclude each other"},
		"session without group":   {[]string{"consume", "t", "--session-timeout", "9s"}, "needs --group"},
		"session of no time":      {[]string{"consume", "t", "--group", "g", "--session-timeout", "0s"}, "from 1s"},
		"group without a name":    {[]string{"consume", "t", "--group", ""}, "needs a name"},
		"nothing to alter":        {[]string{"topic", "alter", "t"}, "--delete-config or --partitions"},
		"altered and deleted":     {[]string{"topic", "alter", "t", "--config", "a=1", "--delete-config", "a"}, "both name a"},
		"deleted with a value":    {[]string{"topic", "alter", "t", "--delete-config", "a=1"}, "key alone"},
		"altered to nothing":      {[]string{"topic", "alter", "t", "--partitions", "0"}, "at least one"},
		"delete without before":   {[]string{"topic", "delete-records", "t"}, "--before is missing"},
		"delete before nonsense":  {[]string{"topic", "delete-records", "t", "--before", "soon"}, "--before"},
		"reset to nowhere":        {[]string{"group", "reset-offsets", "g"}, "--shift-by"},
		"reset to two":            {[]string{"group", "reset-offsets", "g", "--to", "latest", "--shift-by", "0"}, "Give one of"},
		"reset to nonsense":       {[]string{"group", "reset-offsets", "g", "--to", "soon"}, "--to"},
		"reset a bad partition":   {[]string{"group", "reset-offsets", "g", "--to", "latest", "--topic", "t:x"}, "events:0,1"},
		"reset a topic twice":     {[]string{"group", "reset-offsets", "g", "--to", "latest", "--topic", "t:1", "--topic", "t:2"}, "given twice"},
		"reset from no file":      {[]string{"group", "reset-offsets", "g", "--from-file", "/does/not/exist"}, "--from-file"},
		"delete a group unasked":  {[]string{"group", "delete", "g"}, "--yes"},
		"separator without key":   {[]string{"consume", "t", "--key-separator", ":"}, "--print-key"},
		"a node without a number": {[]string{"node", "drain", "two"}, "varve node list"},
		"remove a node unasked":   {[]string{"node", "remove", "2"}, "--yes"},
		"a drain without time":    {[]string{"node", "drain", "2", "--timeout", "0s"}, "from 1s"},
		"no journals":             {[]string{"cluster", "journals", "0"}, "from 1 to"},
		"journals without number": {[]string{"cluster", "journals", "--yes"}, "raise to"},
		"events of no address":    {[]string{"cluster", "events", "--http", "x"}, "host:port"},
		"bootstrap with a scheme": {[]string{"topic", "list", "--bootstrap", "kafka://h:1"}, "host:port"},
		"bootstrap with a hole":   {[]string{"topic", "list", "--bootstrap", "h:1,,h:2"}, "host:port"},
		"no bucket":               {[]string{"bucket", "probe"}, "VARVE_BUCKET"},
		"unknown bucket":          {[]string{"bucket", "probe", "--bucket", "ftp://x"}, "minio://"},
		"bad setting":             {[]string{"serve", "--flush-interval", "0s"}, "flush-interval"},
		"no config file":          {[]string{"serve", "--config", "/does/not/exist"}, "--config"},
	} {
		t.Run(name, func(t *testing.T) {
			o := command{}.run(t, tc.args...)
			o.expect(t, cli.ExitUsage, tc.want)
			if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.HasPrefix(o.stderr, "varve: ") {
				t.Fatalf("want one line on standard error; stdout %q, stderr %q", o.stdout, o.stderr)
			}
		})
	}
}

func TestServePassesTheResolvedConfigurationOn(t *testing.T) {
	var got config.Serve
	c := command{
		environ: []string{"VARVE_RACK=north"},
		serve: func(_ context.Context, s config.Serve, _, stderr io.Writer) error {
			got = s
			_, err := io.WriteString(stderr, "a log line\n")
			return err
		},
	}
	c.run(t, "serve", "--listen", "127.0.0.1:0").expect(t, cli.ExitOK, "a log line")
	if got.Rack != "north" || got.Listeners[0].Address != "127.0.0.1:0" {
		t.Fatalf("got %+v", got)
	}
}

func TestServeThatFailsEndsWith1AndOneLine(t *testing.T) {
	c := command{serve: func(context.Context, config.Serve, io.Writer, io.Writer) error {
		return errors.New("listen on 127.0.0.1:9092:\naddress in use")
	}}
	o := c.run(t, "serve")
	o.expect(t, cli.ExitFailure)
	if o.stderr != "varve: listen on 127.0.0.1:9092: address in use\n" {
		t.Fatalf("stderr %q", o.stderr)
	}
}

func TestPrintConfigStartsNothing(t *testing.T) {
	o := command{}.run(t, "serve", "--print-config", "--rack", "r1")
	o.expect(t, cli.ExitOK, "SETTING", "flag --rack")
	o = command{}.run(t, "serve", "--print-config", "-o", "json")
	o.expect(t, cli.ExitOK, `"source": "default"`)
}

func TestNoBrokerAtTheBootstrapAddressIsAPlainError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, args := range [][]string{
		{"topic", "list"}, {"topic", "describe", "t"}, {"produce", "t"}, {"consume", "t"},
	} {
		o := command{}.run(t, append(args, "--bootstrap", address)...)
		o.expect(t, cli.ExitFailure, address, "varve serve", "--bootstrap", "connection refused")
	}
}

func TestVersionNamesTheProgram(t *testing.T) {
	o := command{}.run(t, "version")
	o.expect(t, cli.ExitOK, "varve ")
	if flag := (command{}).run(t, "--version"); flag != o {
		t.Fatalf("--version prints %+v, version %+v", flag, o)
	}
}

func TestHelpOfWhatThereIsNotIsAUsageError(t *testing.T) {
	for line, want := range map[string]string{
		"help nonsense":         `unknown command "nonsense" for "varve"; see "varve --help"`,
		"help serv":             `did you mean "serve"`,
		"help exit":             `did you mean "exit-codes"`,
		"help topic nonsense":   `unknown command "nonsense" for "varve topic"`,
		"help topic descrbe":    `did you mean "describe"`,
		"help topic create now": `unknown command "now"`,
		"completion nonsense":   `unknown command "nonsense" for "varve completion"`,
		"bench nonsense":        `unknown command "nonsense" for "varve bench"`,
		"wal exprt":             `did you mean "export"`,
	} {
		o := command{}.run(t, strings.Fields(line)...)
		o.expect(t, cli.ExitUsage, want)
		if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: want one line on standard error; stdout %q, stderr %q", line, o.stdout, o.stderr)
		}
	}
	for line, want := range map[string]string{
		"help": "Available Commands:", "help topic": "varve topic [command]", "help topic create": "varve topic create NAME", "help exit-codes": "Exit codes of varve",
		"help completion": "completion", "help completion zsh": "zsh", "help help": "varve help",
	} {
		command{}.run(t, strings.Fields(line)...).expect(t, cli.ExitOK, want)
	}
	command{}.run(t, "__complete", "help", "topic", "cr").expect(t, cli.ExitOK, "create\t")
	command{}.run(t, "__complete", "help", "exit").expect(t, cli.ExitOK, "exit-codes\t")
}

func TestBucketProbePrintsTheResult(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "bucket")
	url := "file://" + folder
	command{}.run(t, "bucket", "probe", "--bucket", url).expect(t, cli.ExitFailure, "--create-bucket")
	c := command{environ: []string{"VARVE_BUCKET=" + url}}
	o := c.run(t, "bucket", "probe", "--create-bucket", "--thorough", "-o", "json")
	o.expect(t, cli.ExitOK, `"verdict": "safe"`, `"done": 50`)
	if !json.Valid([]byte(o.stdout)) || o.stderr != "" {
		t.Fatalf("want JSON alone: %s, %s", o.stdout, o.stderr)
	}
	c.run(t, "bucket", "probe").expect(t, cli.ExitOK, "racing creators have one winner           16 of 16", "can hold a log")
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
}
