package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/proc"
)

// repositoryVariable names an environment variable with the path of a clone of
// a git repository whose history is then the events, instead of a made one.
const repositoryVariable = "VARVE_TEST_REPO"

// The main job: events are written, everything but the bucket is lost, and the
// events are read back byte-equal, from any point that a reader chooses.
func TestTheHistoryOfARepositoryOutlivesProcessAndDataFolder(t *testing.T) {
	t.Parallel()
	full(t)
	events := gitEvents(t)
	b := minioBucket(t)
	node := b.start(t, "--auto-create-topics=false")
	mustRun(t, node, "topic", "create", "commits")
	mustRun(t, node, "topic", "create", "by-author", "--partitions", "4")
	for _, topic := range []string{"commits", "by-author"} {
		stream(t, io.Discard, node, "produce", topic, events.path, "--key-field", "author", "--timestamp-field", "timestamp",
			"--compression", "zstd", "--delivery-timeout", "60s")
	}
	node.Kill(t)

	began := time.Now()
	node = b.startFresh(t, node)
	t.Logf("%d events; ready %v after the loss of the data folder", len(events.offsets), time.Since(began))
	consume := func(from string) {
		t.Helper()
		want := events.from(t, events.index(t, from))
		defer want.Close()
		got := &comparison{want: bufio.NewReader(want)}
		stream(t, got, node, "consume", "commits", "--until-end", "--from", from)
		got.end(t, from)
	}
	consume("earliest")
	consume(strconv.Itoa(len(events.offsets) / 2))
	for _, part := range []int{0, 1, 3, 7, 8, 9} {
		consume(events.date(part * (len(events.offsets) - 1) / 9))
	}
	consume("2100-01-01") // later than all of them
	wantOrderOfAuthors(t, node, events)
}

// wantOrderOfAuthors wants each author's events in one partition, in order.
func wantOrderOfAuthors(t *testing.T, node *testenv.Node, events *events) {
	t.Helper()
	want, got := authors{}, authors{}
	whole := events.from(t, 0)
	defer whole.Close()
	lines := bufio.NewScanner(whole)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		want.add(t, lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for partition := range 4 {
		before := len(got)
		reader, writer := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			lines := bufio.NewScanner(reader)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				got.add(t, lines.Bytes())
			}
		}()
		stream(t, writer, node, "consume", "by-author", "--until-end", "--partition", strconv.Itoa(partition))
		writer.Close()
		<-done
		if len(got) == before && len(want) > 20 {
			t.Errorf("partition %d is empty", partition)
		}
	}
	if len(got) != len(want) {
		t.Errorf("events of %d authors, want %d", len(got), len(want))
	}
	for author, d := range want {
		if got[author] == nil || got[author].String() != d.String() {
			t.Errorf("%s: read %s, want %s", author, got[author], d)
		}
	}
}

// authors are the checksums of each author's events.
type authors map[string]*digest

func (a authors) add(t *testing.T, line []byte) {
	var event struct {
		Author string `json:"author"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		t.Errorf("%v in %q", err, line)
		return
	}
	if a[event.Author] == nil {
		a[event.Author] = &newDigests(1)[0]
	}
	a[event.Author].add(nil, line)
}

// events is a file of lines, too large to keep in memory.
type events struct {
	path    string
	offsets []int64 // where each line begins
	times   []int64 // of each, in milliseconds
}

// gitEvents turns a repository into events with gitlog.
func gitEvents(t *testing.T) *events {
	t.Helper()
	git := testenv.LookTool(t, "git")
	repository := os.Getenv(repositoryVariable)
	if repository == "" {
		repository = generatedRepository(t, git, 4000)
	}
	gitlog := filepath.Join(t.TempDir(), "gitlog")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", gitlog, "github.com/varvelog/varve/testenv/gitlog").CombinedOutput(); err != nil {
		t.Fatalf("build gitlog: %v\n%s", err, out)
	}
	e := &events{path: filepath.Join(t.TempDir(), "commits.jsonl")}
	file, err := os.Create(e.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var stderr bytes.Buffer
	cmd := exec.Command(gitlog, repository)
	cmd.Stdout, cmd.Stderr = file, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("gitlog: %v\n%s", err, &stderr)
	}
	e.scan(t)
	return e
}

func (e *events) scan(t *testing.T) {
	t.Helper()
	file, err := os.Open(e.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, position := bufio.NewScanner(file), int64(0)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Timestamp int64 `json:"timestamp"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatal(err)
		}
		e.offsets, e.times = append(e.offsets, position), append(e.times, event.Timestamp)
		position += int64(len(lines.Bytes())) + 1
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// date is the time of an event as --from takes it.
func (e *events) date(i int) string { return time.UnixMilli(e.times[i]).UTC().Format(time.RFC3339) }

// index returns the event that reading begins with: the one with the offset, or
// the first with a timestamp at or after the date. Clocks went back in between,
// so that is not the one the date was taken from.
func (e *events) index(t *testing.T, from string) int {
	t.Helper()
	if from == "earliest" {
		return 0
	}
	if offset, err := strconv.Atoi(from); err == nil {
		return offset
	}
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		at, err = time.Parse(time.DateOnly, from)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, ms := range e.times {
		if ms >= at.UnixMilli() {
			return i
		}
	}
	return len(e.times)
}

// from opens the lines from one on.
func (e *events) from(t *testing.T, index int) *os.File {
	t.Helper()
	file, err := os.Open(e.path)
	if err != nil {
		t.Fatal(err)
	}
	whence, position := io.SeekStart, int64(0)
	if index == len(e.offsets) {
		whence = io.SeekEnd
	} else {
		position = e.offsets[index]
	}
	if _, err := file.Seek(position, whence); err != nil {
		t.Fatal(err)
	}
	return file
}

// comparison is a writer that compares its input with want.
type comparison struct {
	want  *bufio.Reader
	bytes int64
	wrong string
}

func (c *comparison) Write(p []byte) (int, error) {
	want := make([]byte, len(p))
	n, err := io.ReadFull(c.want, want)
	if c.wrong == "" && (err != nil || !bytes.Equal(want, p)) {
		c.wrong = fmt.Sprintf("bytes from %d on differ:\n%.300q, want\n%.300q", c.bytes, p, want[:n])
	}
	c.bytes += int64(len(p))
	return len(p), nil
}

func (c *comparison) end(t *testing.T, what string) {
	t.Helper()
	if c.wrong != "" {
		t.Errorf("from %s: %s", what, c.wrong)
	} else if _, err := c.want.ReadByte(); err != io.EOF {
		t.Errorf("from %s: ends after %d bytes, want more", what, c.bytes)
	}
}

// stream runs a client command with its output going to out, for output that is
// too large for memory.
func stream(t *testing.T, out io.Writer, node *testenv.Node, args ...string) {
	t.Helper()
	var stderr bytes.Buffer
	p, err := proc.Start(proc.Command{Path: testenv.VarveBinary(t), Args: append(args, "--bootstrap", node.Kafka),
		Stdout: out, Stderr: &stderr, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = p.Kill() })() // its end is seen below
	if err := p.Wait(); err != nil {
		t.Fatalf("varve %q: %v\n%s", args, err, &stderr)
	}
}

// generatedRepository makes a repository of n commits by some authors, whose
// clocks do not agree.
func generatedRepository(t *testing.T, git string, n int) string {
	t.Helper()
	var stream strings.Builder
	for i := range n {
		at := 1_200_000_000 + i*3607
		if i%13 == 5 {
			at -= 9 * 24 * 3600 // a clock that is days behind
		}
		author := fmt.Sprintf("Author %d <author%d@example.org> %d +0%d00", i*i%97, i*i%97, at, i%10)
		message := fmt.Sprintf("Change %d: grüße \"quoted\" \\ back\n\n%s\n", i, strings.Repeat("Why it was needed. ", i%40))
		content := fmt.Sprintf("content %d\n", i)
		fmt.Fprintf(&stream, "commit refs/heads/main\nauthor %s\ncommitter %s\ndata %d\n%s\nM 100644 inline file%d\ndata %d\n%s\n",
			author, author, len(message), message, i%50, len(content), content)
	}
	repository := t.TempDir()
	for _, args := range [][]string{{"init", "-q", "--bare", "--initial-branch=main"}, {"fast-import", "--quiet"}} {
		cmd := exec.Command(git, append([]string{"-C", repository}, args...)...)
		cmd.Stdin = strings.NewReader(stream.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	return repository
}
