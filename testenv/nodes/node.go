package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/proc"
)

const (
	answerTimeout = 5 * time.Second
	maxAnswer     = 16 << 20
)

// Node is one node of a cluster, which runs or has ended.
type Node struct {
	Name    string
	Ingest  bool   // it writes
	Kafka   string // host:port for clients
	HTTP    string
	DataDir string
	Flags   []string // more flags, from the next start on

	// The proxies around it, nil without proxies: before its listeners of clients and of
	// other nodes, and between it and the store and NATS.
	Clients, Peers *faultproxy.Line
	Store          *faultproxy.Proxy
	Bus            *faultproxy.Line

	command  proc.Command
	watching sync.WaitGroup

	mu struct {
		sync.Mutex
		process *proc.Process // nil before the first start
	}
}

// Start starts the node. It must not run.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("start %s: it still runs", n.Name)
	}
	n.watching.Wait()
	for _, line := range []*faultproxy.Line{n.Clients, n.Peers} {
		if line != nil {
			if err := line.Up(); err != nil {
				return err
			}
		}
	}
	command := n.command
	command.Args = append(slices.Clone(command.Args), n.Flags...)
	process, err := proc.Start(command)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.mu.process = process
	n.mu.Unlock()
	n.watching.Go(func() {
		<-process.Done()
		for _, line := range []*faultproxy.Line{n.Clients, n.Peers} {
			if line != nil {
				line.Down()
			}
		}
	})
	return nil
}

// Process returns the process of the last start, nil before the first.
func (n *Node) Process() *proc.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.process
}

// Running reports whether the node has a process.
func (n *Node) Running() bool { return n.Pid() != 0 }

// Pid returns the process id, 0 if the node does not run.
func (n *Node) Pid() int {
	process := n.Process()
	if process == nil {
		return 0
	}
	select {
	case <-process.Done():
		return 0
	default:
		return process.Pid()
	}
}

// Log returns the last part of the output since the last start.
func (n *Node) Log() string {
	if process := n.Process(); process != nil {
		return process.Output()
	}
	return ""
}

// Kill ends the process as a crash would. No error if it has ended.
func (n *Node) Kill() error {
	process := n.Process()
	if process == nil {
		return nil
	}
	err := process.Kill()
	n.watching.Wait()
	return err
}

// Stop ends the process with SIGTERM and returns the error of its exit code.
func (n *Node) Stop(grace time.Duration) error {
	process := n.Process()
	if process == nil {
		return nil
	}
	err := process.Stop(grace)
	n.watching.Wait()
	return err
}

// Pause stops the process for as long as Continue is not called.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Continue goes on after Pause.
func (n *Node) Continue() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(sig syscall.Signal) error {
	process := n.Process()
	if process == nil {
		return fmt.Errorf("send %v to %s: it was not started", sig, n.Name)
	}
	return process.Signal(sig)
}

// LoseDisk removes the data folder. The node must not run.
func (n *Node) LoseDisk() error { return os.RemoveAll(n.DataDir) }

func (n *Node) close() error {
	err := n.Kill()
	for _, line := range []*faultproxy.Line{n.Clients, n.Peers, n.Bus} {
		if line != nil {
			line.Close()
		}
	}
	if n.Store != nil {
		err = errors.Join(err, n.Store.Close())
	}
	return err
}

// AwaitReady waits until the node serves clients. It returns an error if the node ends before.
func (n *Node) AwaitReady(ctx context.Context) error {
	process := n.Process()
	if process == nil {
		return fmt.Errorf("await %s: it was not started", n.Name)
	}
	if err := process.AwaitReady(ctx, "http://"+n.HTTP+"/readyz"); err != nil {
		return fmt.Errorf("%s %w", n.Name, err)
	}
	return nil
}

// Status is the node's report about itself, as far as tests need it.
type Status struct {
	State        string          `json:"state"`
	ID           *int32          `json:"id"` // broker id; nil until it is known
	UUID         string          `json:"uuid"`
	FeatureLevel int             `json:"feature_level"`
	Announcing   bool            `json:"announcements_connected"`
	Journals     []JournalStatus `json:"journals"`
}

// JournalStatus is a journal as the node sees it.
type JournalStatus struct {
	Journal    uint32 `json:"journal"`
	Leads      bool   `json:"leads"`
	Head       uint64 `json:"head"`
	Epoch      uint32 `json:"epoch"`
	Partitions int    `json:"partitions"`
}

// Leads returns the journals that the node says it leads.
func (s Status) Leads() (journals []uint32) {
	for _, j := range s.Journals {
		if j.Leads {
			journals = append(journals, j.Journal)
		}
	}
	return journals
}

// Status asks the node for its report.
func (n *Node) Status(ctx context.Context) (s Status, err error) {
	text, err := n.get(ctx, "/status")
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// Metric returns the sum of a metric's values over all its labels. It is 0 if the node does
// not have the metric.
func (n *Node) Metric(ctx context.Context, name string) (sum float64, err error) {
	text, err := n.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &value); err != nil {
			return 0, fmt.Errorf("metric %s of %s: %w", name, n.Name, err)
		}
		sum += value
	}
	return sum, nil
}

func (n *Node) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no connection may outlive the test
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s to %s: %.500s", n.Name, response.Status, path, body)
	}
	return body, err
}
