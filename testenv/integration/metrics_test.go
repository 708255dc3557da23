package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
)

// get requests a path of a node's HTTP server.
func get(t testing.TB, node *testenv.Node, path string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(deadline(t), http.MethodGet, "http://"+node.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// metric returns the sum of a node's metrics with a name, and with all of some
// labels (`op="create"`); false if there is none.
func metric(t testing.TB, node *testenv.Node, name string, labels ...string) (sum float64, found bool) {
	t.Helper()
	_, text := get(t, node, "/metrics")
lines:
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue lines
			}
		}
		fields := strings.Fields(rest)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			t.Fatalf("metric line %q: %v", line, err)
		}
		sum, found = sum+value, true
	}
	return sum, found
}

func TestMetricsCountTheWorkOfTheNode(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	produce(t, client(t, node.Kafka), numbered("events", 0, "m", 10)...)
	if n := len(readAll(t, node.Kafka, "events")[0]); n != 10 {
		t.Fatalf("read %d records", n)
	}
	for _, want := range []struct {
		name   string
		labels []string
	}{
		{"varve_kafka_requests_total", []string{`api="Produce"`, `code="0"`}},
		{"varve_kafka_requests_total", []string{`api="Fetch"`}},
		{"varve_kafka_request_seconds_count", []string{`api="Produce"`}},
		{"varve_store_requests_total", []string{`op="create"`, `outcome="ok"`}},
		{"varve_store_bytes_total", []string{`op="create"`}},
		{"varve_journal_head", []string{`journal="1"`}},
		{"varve_producers", []string{`journal="1"`}},
		{"varve_producer_bytes", []string{`journal="1"`}},
		{"process_resident_memory_bytes", nil},
	} {
		if value, found := metric(t, node, want.name, want.labels...); !found || value <= 0 {
			t.Errorf("%s%v is %v (found: %t)", want.name, want.labels, value, found)
		}
	}
	produced, _ := metric(t, node, "varve_kafka_requests_total", `api="Produce"`)
	produce(t, client(t, node.Kafka), numbered("events", 0, "more", 1)...)
	for ctx := deadline(t); ; time.Sleep(10 * time.Millisecond) { // it counts after it has answered
		after, _ := metric(t, node, "varve_kafka_requests_total", `api="Produce"`)
		if after > produced {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("Produce requests went from %v to %v", produced, after)
		}
	}
}

func TestHealthAnswersAndUnknownPathsDoNot(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/": 404, "/debug/pprof/": 404} {
		if status, body := get(t, node, path); status != want {
			t.Errorf("%s answers %d, want %d: %.200s", path, status, want, body)
		}
	}
}

func TestProfilesAreServedOnRequest(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, "--pprof")
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
		if status, body := get(t, node, path); status != 200 || body == "" {
			t.Errorf("%s answers %d: %.200s", path, status, body)
		}
	}
}

func TestPrintConfigShowsEachValueAndItsSource(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "flush-interval: 70ms\nrack: of-the-file\nflush-bytes: 1MiB\n")
	out := testenv.Varve{Args: []string{"serve", "--config", file, "--flush-interval", "30ms", "--print-config", "-o", "json"},
		Env: []string{"VARVE_RACK=of-the-environment"}}.Run(t, patience)
	var values []struct{ Name, Value, Source string }
	if err := json.Unmarshal(out.Stdout, &values); out.Code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s", out.Code, err, out.Stderr)
	}
	shown := map[string][2]string{}
	for _, v := range values {
		shown[v.Name] = [2]string{v.Value, v.Source}
	}
	for name, want := range map[string][2]string{
		"flush-interval": {"30ms", "flag"}, "rack": {"of-the-environment", "VARVE_RACK"},
		"flush-bytes": {"1MiB", file}, "listen": {"127.0.0.1:9092", "default"},
	} {
		if got := shown[name]; got[0] != want[0] || !strings.Contains(got[1], want[1]) {
			t.Errorf("%s is shown as %q, want %q", name, got, want)
		}
	}
}
