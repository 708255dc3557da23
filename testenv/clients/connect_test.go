package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/proc"
)

// worker is a worker of Kafka Connect, and its REST interface.
type worker struct {
	t       *testing.T
	process *proc.Process
	rest    string
}

func startWorker(t *testing.T, j java, broker string) worker {
	t.Helper()
	rest := testenv.FreeAddr(t)
	values := map[string]string{
		"bootstrap.servers": broker, "group.id": "connect", "listeners": "http://" + rest,
		"key.converter":                           "org.apache.kafka.connect.storage.StringConverter",
		"value.converter":                         "org.apache.kafka.connect.storage.StringConverter",
		"offset.flush.interval.ms":                "300",
		"session.timeout.ms":                      "6000", // another worker takes over after that
		"heartbeat.interval.ms":                   "1000",
		"scheduled.rebalance.max.delay.ms":        "0",
		"offset.storage.partitions":               "3",
		"status.storage.partitions":               "2",
		"connector.client.config.override.policy": "All",
	}
	for _, kind := range []string{"config", "offset", "status"} {
		values[kind+".storage.topic"] = "connect-" + kind
		values[kind+".storage.replication.factor"] = "1"
		values[kind+".storage.min.cleanable.dirty.ratio"] = "0.01"
		values[kind+".storage.delete.retention.ms"] = "0"
	}
	w := worker{t: t, rest: "http://" + rest}
	w.process = j.start(t, "connect", nil, nil, "org.apache.kafka.connect.cli.ConnectDistributed", properties(t, values))
	return w
}

// request sends a request and reads the answer into result, which may be nil.
func (w worker) request(method, path string, body, result any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(deadline(w.t), method, w.rest+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := once.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode > 299 {
		return fmt.Errorf("%s %s: %s %s %v", method, path, answer.Status, text, err)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(text, result)
}

// running returns nil once both connectors and their tasks run.
func (w worker) running() error {
	for _, name := range []string{"source", "sink"} {
		var status struct {
			Connector struct{ State string }
			Tasks     []struct{ State, Trace string }
		}
		if err := w.request(http.MethodGet, "/connectors/"+name+"/status", nil, &status); err != nil {
			return err
		}
		if status.Connector.State != "RUNNING" || len(status.Tasks) != 1 || status.Tasks[0].State != "RUNNING" {
			return fmt.Errorf("connector %s: %+v", name, status)
		}
	}
	return nil
}

// position returns the position in the file that the worker has in the offsets topic.
func (w worker) position() (int64, error) {
	var offsets struct {
		Offsets []struct {
			Offset struct{ Position int64 }
		}
	}
	err := w.request(http.MethodGet, "/connectors/source/offsets", nil, &offsets)
	if err != nil || len(offsets.Offsets) != 1 {
		return 0, fmt.Errorf("offsets %+v: %v", offsets, err)
	}
	return offsets.Offsets[0].Offset.Position, nil
}

// connect copies a file into a topic, and the topic into another file. Configurations,
// positions and states of the connectors are in three compacted topics.
func connect(t *testing.T, j java) {
	node := startNode(t)
	dir := folder(t, "files")
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	want := map[string]bool{}
	write := func(n int) {
		var text strings.Builder
		for range n {
			line := fmt.Sprintf("line %06d", len(want))
			want[line] = true
			text.WriteString(line + "\n")
		}
		appendTo(t, in, text.String())
	}
	write(500)
	w := startWorker(t, j, node.Kafka)
	lasting(t, w.process, func() error { return w.request(http.MethodGet, "/connectors", nil, nil) })
	for name, config := range map[string]map[string]string{
		"source": {"connector.class": "FileStreamSource", "file": in, "topic": "lines"},
		"sink":   {"connector.class": "FileStreamSink", "file": out, "topics": "lines"},
	} {
		config["tasks.max"] = "1"
		lasting(t, w.process, func() error { return w.request(http.MethodPut, "/connectors/"+name+"/config", config, nil) })
	}
	copied := func() error { return unlike(linesOf(out), want) }
	lasting(t, w.process, copied)
	wantCompacted(t, node.Kafka, "connect-config", "connect-offset", "connect-status")

	crash(t, node, func() { write(500) })
	lasting(t, w.process, copied)
	lasting(t, w.process, w.running)

	// The next worker knows connectors and positions from the topics alone.
	lasting(t, w.process, func() error {
		size := info(t, in).Size()
		if at, err := w.position(); err != nil || at != size {
			return fmt.Errorf("the position kept is %d of %d: %v", at, size, err)
		}
		return nil
	})
	eventually(t, func() error { return hasCompacted(node) })
	before, err := readAll(node.Kafka, "lines")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.process.Kill(); err != nil {
		t.Fatal(err)
	}
	crash(t, node, func() { write(500) })
	w = startWorker(t, j, node.Kafka)
	lasting(t, w.process, w.running)
	lasting(t, w.process, copied)
	after, err := readAll(node.Kafka, "lines")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(after) - len(before); n != 500 {
		t.Errorf("the next worker wrote %d lines of 500: it did not go on where the first one ended", n)
	}
}

func info(t *testing.T, path string) os.FileInfo {
	t.Helper()
	i, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// linesOf returns the whole lines of a file.
func linesOf(path string) map[string]bool {
	text, _ := os.ReadFile(path) // not there yet
	lines := map[string]bool{}
	for line := range bytes.Lines(text) {
		if whole, ok := bytes.CutSuffix(line, []byte("\n")); ok {
			lines[string(whole)] = true
		}
	}
	return lines
}
