package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

// patience limits every wait for an expected event. It is long because the
// machine may be busy: a test that passes never waits for it.
const patience = 2 * time.Minute

// client is the program of a family, and the broker that it talks to.
type client struct {
	family  family
	broker  string
	command proc.Command // takes an operation and its spec
}

// spec is the task of the program; each operation reads the fields it needs.
// The programs know it as JSON.
type spec struct {
	Bootstrap   string `json:"bootstrap"`
	Client      string `json:"client"` // client.id
	Topic       string `json:"topic"`
	Compression string `json:"compression"`
	Idempotent  bool   `json:"idempotent"` // as the library does it by default where it does
	Partitions  int    `json:"partitions"`
	Since       int64  `json:"since"` // a timestamp; -1: the beginning
	Count       int    `json:"count"`
	Group       string `json:"group"`
	Strategy    string `json:"strategy"` // empty: the library's own choice
	Instance    string `json:"instance"` // group.instance.id; empty: a dynamic member
	Session     int    `json:"session"`  // session.timeout.ms
	Ops         []op   `json:"ops"`
}

// op is one administrative operation.
type op struct {
	Op         string `json:"op"`
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Partition  int    `json:"partition"`
	Offset     int64  `json:"offset"`
	Name       string `json:"name"`
	Value      string `json:"value"`
	At         string `json:"at"` // earliest, latest or a timestamp
	Group      string `json:"group"`
}

// result is the outcome of an op.
type result struct {
	Error       string           `json:"error"`
	Unsupported bool             `json:"unsupported"` // by the library
	Partitions  int              `json:"partitions"`
	Offset      int64            `json:"offset"`
	Value       string           `json:"value"`
	Names       []string         `json:"names"`
	State       string           `json:"state"`
	Members     map[string]int   `json:"members"` // number of partitions by client.id
	Offsets     map[string]int64 `json:"offsets"`
}

// event is a line of output of produce, consume and member.
type event struct {
	Event      string            `json:"event"` // sent, record, assigned, revoked, committed or uncommitted
	Partition  int32             `json:"partition"`
	Offset     int64             `json:"offset"`
	Key        string            `json:"key"`
	Value      string            `json:"value"`
	Timestamp  int64             `json:"timestamp"`
	Headers    map[string]string `json:"headers"`
	Partitions []int32           `json:"partitions"` // after assigned or revoked: all that it has
}

// start starts an operation of the program.
func (c client) start(t *testing.T, operation string, s spec, stdin io.Reader, stdout io.Writer) *proc.Process {
	t.Helper()
	s.Bootstrap = c.broker
	if s.Client == "" {
		s.Client = c.family.name
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	command := c.command
	command.Args = append(slices.Clone(command.Args), operation, string(text))
	command.Stdin, command.Stdout = stdin, stdout
	process, err := proc.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
	})
	return process
}

// run runs an operation to its end and returns the lines it printed.
func run[line any](t *testing.T, c client, operation string, s spec, stdin []byte) (lines []line) {
	t.Helper()
	var stdout bytes.Buffer
	process := c.start(t, operation, s, bytes.NewReader(stdin), &stdout)
	select {
	case <-process.Done():
	case <-time.After(patience):
		t.Fatalf("%s %s did not end within %v; it printed:\n%s", c.family.name, operation, patience, process.Output())
	}
	if err := process.Wait(); err != nil {
		t.Fatalf("%s %s: %v; it printed:\n%s", c.family.name, operation, err, process.Output())
	}
	for decoder := json.NewDecoder(&stdout); ; {
		var one line
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return lines
		} else if err != nil {
			t.Fatalf("%s %s: %v; it printed:\n%s", c.family.name, operation, err, process.Output())
		}
		lines = append(lines, one)
	}
}

// member is a process that is a member of a group.
type member struct {
	name    string
	process *proc.Process
	stdin   io.Closer

	mu struct {
		sync.Mutex
		rest   []byte // of a line that is not whole yet
		events []event
		broken error
	}
}

// join starts a member. Its state is not known until it prints something.
func (c client) join(t *testing.T, s spec) *member {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m := &member{name: s.Client, stdin: out}
	m.process = c.start(t, "member", s, in, m)
	if err := in.Close(); err != nil { // the process has its own
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = out.Close() // closed before, by leave
		if t.Failed() {
			t.Logf("member %s printed:\n%.20000s", m.name, m.process.Output())
		}
	})
	return m
}

// Write takes the output of the process.
func (m *member) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.rest = append(m.mu.rest, b...)
	for {
		line, rest, whole := bytes.Cut(m.mu.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			m.mu.broken = errors.Join(m.mu.broken, err)
		}
		m.mu.events, m.mu.rest = append(m.mu.events, e), rest
	}
}

// events returns the events of the member so far.
func (m *member) events(t *testing.T) []event {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.broken != nil {
		t.Fatalf("%s: %v", m.name, m.mu.broken)
	}
	return slices.Clone(m.mu.events)
}

// has returns the partitions of the member, by its events.
func (m *member) has(t *testing.T) []int32 {
	t.Helper()
	events := m.events(t)
	for _, e := range slices.Backward(events) {
		if e.Event == "assigned" || e.Event == "revoked" {
			return e.Partitions
		}
	}
	return nil
}

// leave ends the member as an application does, and waits for it.
func (m *member) leave(t *testing.T) {
	t.Helper()
	if err := m.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	m.end(t)
}

// end waits for a process that ends by itself.
func (m *member) end(t *testing.T) {
	t.Helper()
	select {
	case <-m.process.Done():
	case <-time.After(patience):
		t.Fatalf("%s did not end within %v", m.name, patience)
	}
	if err := m.process.Wait(); err != nil {
		t.Fatalf("%s: %v; it printed:\n%s", m.name, err, m.process.Output())
	}
}

// eventually waits until problem returns nil.
func eventually(t *testing.T, problem func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := problem()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %v", patience, err)
		}
	}
}
