package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/varvelog/varve/cmd/internal/cli"
)

func TestWhatIsProducedIsConsumed(t *testing.T) {
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "line %d \r\x00\xff %s\n", i, strings.Repeat("x", i%97))
	}
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			c := broker(t, kfake.SeedTopics(1, "t"))
			c.reading(lines.String()).run(t, "produce", "t", "--compression", compression).
				expect(t, cli.ExitOK, "5,000 records", "acknowledged")
			o := c.run(t, "consume", "t", "--until-end")
			o.expect(t, cli.ExitOK)
			if o.stdout != lines.String() {
				t.Fatalf("got %d bytes, want %d", len(o.stdout), lines.Len())
			}
		})
	}
}

func TestEveryAcksWrites(t *testing.T) {
	for _, acks := range []string{"0", "1", "all"} {
		c := broker(t, kfake.SeedTopics(1, "t"))
		c.reading("a\nb").run(t, "produce", "t", "--acks", acks).expect(t, cli.ExitOK, "2 records")
		o := c.run(t, "consume", "t", "--max", "2")
		o.expect(t, cli.ExitOK)
		if o.stdout != "a\nb\n" {
			t.Fatalf("acks %s: got %q", acks, o.stdout)
		}
	}
}

// record is a line of `consume -o json`.
type record struct {
	Topic         string
	Partition     int32
	Offset        int64
	Timestamp     *string
	Key, Value    *string
	ValueEncoding string `json:"value_encoding"`
}

func records(t *testing.T, output string) []record {
	t.Helper()
	var list []record
	for line := range strings.Lines(output) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

func TestJSONFieldsBecomeKeyAndTimestamp(t *testing.T) {
	c := broker(t, kfake.SeedTopics(4, "t"))
	input := `{"who":"ann","at":"2024-05-01T12:00:00.25+02:00"}
 { "at" : 1714557600 , "x":{"who":"no"}, "who" : "b\u00f6b" }
{"at":1714557600250,"who":7}
`
	file := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(file, []byte(input), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(t, "produce", "t", file, "--key-field", "who", "--timestamp-field", "at").expect(t, cli.ExitOK)
	o := c.run(t, "consume", "t", "--until-end", "-o", "json")
	o.expect(t, cli.ExitOK)
	got := map[string]string{}
	for _, r := range records(t, o.stdout) {
		got[*r.Key] = *r.Timestamp + " " + *r.Value
	}
	lines := strings.Split(input, "\n")
	for key, want := range map[string]string{
		"ann": "2024-05-01T10:00:00.250Z " + lines[0],
		"böb": "2024-05-01T10:00:00.000Z " + lines[1],
		"7":   "2024-05-01T10:00:00.250Z " + lines[2],
	} {
		if got[key] != want {
			t.Errorf("key %q: got %q, want %q", key, got[key], want)
		}
	}
}

func TestABadLineIsNamedAndTheOnesBeforeItAreWritten(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		input string
		want  string
	}{
		"no separator":  {[]string{"--key-separator", ":"}, "a:1\nb2\n", "line 2: no key separator"},
		"no JSON":       {[]string{"--key-field", "k"}, "{\"k\":1}\n{\"k\":\n", "line 2: not valid JSON"},
		"no object":     {[]string{"--key-field", "k"}, "{\"k\":1}\n[1]\n", "line 2: not a JSON object"},
		"no key":        {[]string{"--key-field", "k"}, "{\"k\":1}\n{}\n", `line 2: no field "k"`},
		"object as key": {[]string{"--key-field", "k"}, "{\"k\":1}\n{\"k\":{}}\n", `line 2: field "k" is no key`},
		"no time":       {[]string{"--timestamp-field", "k"}, "{\"k\":1}\n{}\n", `line 2: no field "k"`},
		"bad time":      {[]string{"--timestamp-field", "k"}, "{\"k\":1}\n{\"k\":\"soon\"}\n", "line 2: field \"k\" is no timestamp: \"soon\""},
		"too long":      {[]string{"--batch-bytes", "2KiB"}, "a\n" + strings.Repeat("x", 3000) + "\n", "line 2: line too long"},
		"endless line":  {[]string{"--batch-bytes", "2KiB"}, "a\n" + strings.Repeat("x", 1<<20), "--batch-bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			c := broker(t, kfake.SeedTopics(1, "t"))
			o := c.reading(tc.input).run(t, append([]string{"produce", "t"}, tc.args...)...)
			o.expect(t, cli.ExitFailure, tc.want, "1 record, ", "acknowledged")
			if o := c.run(t, "consume", "t", "--until-end"); strings.Count(o.stdout, "\n") != 1 {
				t.Fatalf("want the first line alone, got %q", o.stdout)
			}
		})
	}
}

func TestProduceReadsFilesInOrderAndStandardInputAsDash(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "t"))
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("1\n2"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.reading("3\n\n4\n").run(t, "produce", "t", file, "-", file).expect(t, cli.ExitOK, "7 records")
	if o := c.run(t, "consume", "t", "--until-end"); o.stdout != "1\n2\n3\n\n4\n1\n2\n" {
		t.Fatalf("got %q", o.stdout)
	}
	for _, bad := range []string{"/does/not/exist", t.TempDir()} {
		c.run(t, "produce", "t", file, bad).expect(t, cli.ExitFailure, "nothing was written", bad)
	}
	if o := c.run(t, "consume", "t", "--until-end"); strings.Count(o.stdout, "\n") != 7 {
		t.Fatalf("got %q", o.stdout)
	}
}

func TestProduceToAPartition(t *testing.T) {
	c := broker(t, kfake.SeedTopics(3, "t"))
	c.reading("k\tv\n").run(t, "produce", "t", "--partition", "2", "--key-separator", `\t`).expect(t, cli.ExitOK)
	o := c.run(t, "consume", "t", "--until-end", "--partition", "2", "--print-key", "--key-separator", "=")
	o.expect(t, cli.ExitOK)
	if o.stdout != "k=v\n" {
		t.Fatalf("got %q", o.stdout)
	}
	c.reading("x\n").run(t, "produce", "t", "--partition", "3").expect(t, cli.ExitUsage, "0 to 2")
}

func TestProduceToAMissingTopicSaysSo(t *testing.T) {
	broker(t).reading("x\n").run(t, "produce", "t").expect(t, cli.ExitFailure, "topic does not exist", "varve topic create t", "--create-topic")
}

func TestAMistypedTopicIsNamedAsItIs(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "events", "clicks", "t"))
	for name, near := range map[string]string{"evnts": `(is "events" meant?)`, "Events": `(is "events" meant?)`, "click": `(is "clicks" meant?)`} {
		c.run(t, "consume", name, "--until-end").expect(t, cli.ExitFailure, "topic does not exist", near)
	}
	for _, name := range []string{"u", "orders", "evt"} {
		if o := c.run(t, "consume", name, "--until-end"); o.code != cli.ExitFailure || strings.Contains(o.stderr, "meant?") {
			t.Errorf("%s: %s", name, o.stderr)
		}
	}
}

func TestOnlyAWishCreatesATopic(t *testing.T) {
	c := broker(t, kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(2))
	for _, line := range []string{"produce t", "consume t --until-end", "consume t --group g --until-end", "bench produce t", "bench consume t",
		"bench latency t", "topic describe t", "topic alter t --partitions 9", "topic delete-records t --before 1", "group reset-offsets g --to latest --topic t"} {
		for _, input := range []string{"", "x\n"} {
			c.reading(input).run(t, strings.Fields(line)...).expect(t, cli.ExitFailure, "topic does not exist")
		}
	}
	if o := c.run(t, "topic", "list", "-o", "json"); o.stdout != "[]\n" {
		t.Fatalf("topics: %s", o.stdout)
	}
	c.reading("x\n").run(t, "produce", "t", "--create-topic").expect(t, cli.ExitOK, `created topic "t" with 2 partitions`, "1 record,")
	c.reading("x\n").run(t, "produce", "t", "--create-topic").expect(t, cli.ExitOK, "1 record,")
}

func TestByteOrderMarksAndBlankLinesAreNoRecords(t *testing.T) {
	for name, tc := range map[string]struct {
		args        []string
		input, want string
		summary     string
	}{
		"plain":                 {nil, "\uFEFFa\n\n \nb\uFEFF\n", "a\n\n \nb\uFEFF\n", "4 records"},
		"plain, a mark alone":   {nil, "\uFEFF", "", "0 records"},
		"plain, a mark, a line": {nil, "\uFEFF\n", "\n", "1 record,"},
		"JSON":                  {[]string{"--key-field", "k"}, "\uFEFF{\"k\":1}\n\n \t\r\n{\"k\":2}\r\n\n", "{\"k\":1}\n{\"k\":2}\r\n", "acknowledged, 3 blank lines skipped"},
		"a time":                {[]string{"--timestamp-field", "k"}, "\n{\"k\":1}", "{\"k\":1}\n", "acknowledged, 1 blank line skipped"},
		"a separator":           {[]string{"--key-separator", ":"}, "\uFEFFa:1\n\n:\n  \n", "1\n\n", "2 blank lines skipped"},
		"a tab as separator":    {[]string{"--key-separator", `\t`}, "a\t1\n\t\n\n", "1\n\n", "1 blank line skipped"},
		"UTF-16":                {nil, "\xff\xfea\x00\n\x00", "\xff\xfea\x00\n\x00\n", "note: the input looks like UTF-16"},
		"UTF-16, high first":    {nil, "\xfe\xff\x00a\x00\n", "\xfe\xff\x00a\x00\n", "note: the input looks like UTF-16"},
		"a \\r":                 {nil, "a\r\nb\r\n", "a\r\nb\r\n", `note: lines end in \r\n`},
	} {
		t.Run(name, func(t *testing.T) {
			c := broker(t, kfake.SeedTopics(1, "t"))
			c.reading(tc.input).run(t, append([]string{"produce", "t"}, tc.args...)...).expect(t, cli.ExitOK, tc.summary)
			if o := c.run(t, "consume", "t", "--until-end"); o.stdout != tc.want {
				t.Fatalf("got %q, want %q", o.stdout, tc.want)
			}
		})
	}
	c := broker(t, kfake.SeedTopics(1, "t"))
	c.reading("{\"k\":1}\n\n").run(t, "produce", "t", "--key-field", "k", "-o", "json").expect(t, cli.ExitOK, `"skipped": 1`)
	c.reading("\xff\xfe{\x00}\x00\n\x00").run(t, "produce", "t", "--key-field", "k").expect(t, cli.ExitFailure, "line 1", "UTF-16")
}

func TestInputsInUTF16AreNamedOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, []byte("\xff\xfea\x00\n\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := broker(t, kfake.SeedTopics(1, "t")).run(t, "produce", "t", name, name)
	o.expect(t, cli.ExitOK, "4 records", "iconv")
	if strings.Count(o.stderr, "note:") != 1 {
		t.Errorf("got %s", o.stderr)
	}
}

// brokenReader gives a line and then an error.
type brokenReader struct{ given bool }

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.given {
		return 0, errors.New("disk on fire")
	}
	b.given = true
	return copy(p, "a\nb"), nil
}

func TestAnInputThatBreaksIsNoEndOfInput(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "t"))
	c.stdin = &brokenReader{}
	c.run(t, "produce", "t").expect(t, cli.ExitFailure, "read standard input after line 1", "disk on fire")
	if o := c.run(t, "consume", "t", "--until-end"); o.stdout != "a\n" {
		t.Fatalf("got %q: half a line must not be written", o.stdout)
	}
}
