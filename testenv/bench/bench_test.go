package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestCPUTimeIsReadBehindAnyProgramName(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 250 75 0 0 20 0 9 0 100 0"
	for _, name := range []string{"(varve)", "(a ) b (c) d)"} {
		if got, err := cpuSeconds("42 " + name + rest); err != nil || got != 3.25 {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for _, bad := range []string{"", "42", "42 (varve) S 1 2", "42 (varve) S 1 2 3 4 5 6 7 8 9 10 x 75 0"} {
		if _, err := cpuSeconds(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestTheMachineIsBusyUnlessItIsIdleOrWaits(t *testing.T) {
	if m, err := parseMachineTime("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 9 9 9 9 9 9 9 9 0 0\n"); err != nil || m != (machineTime{busy: 231, all: 255}) {
		t.Errorf("got %+v, %v", m, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 x 5 6 7 8"} {
		if _, err := parseMachineTime(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestPeakMemoryIsThatOfTheStatus(t *testing.T) {
	got, err := peakBytes("Name:\tvarve\nVmPeak:\t  999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n")
	if err != nil || got != 2<<20 {
		t.Fatalf("got %d, %v", got, err)
	}
	if _, err := peakBytes("Name:\tx\n"); err == nil {
		t.Fatal("no memory is read as some")
	}
}

func TestThisProcessHasACost(t *testing.T) {
	var c counters
	if err := c.process(os.Getpid()); err != nil {
		t.Skip(err)
	}
	if c.peak <= 0 || c.cpu < 0 {
		t.Fatalf("got %+v", c)
	}
}

func TestMetricsAreSummedByLabel(t *testing.T) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(`# TYPE r counter
r{op="get",outcome="ok"} 3
r{op="get_tail",outcome="ok"} 4
r{op="create",outcome="ok"} 5
# TYPE g gauge
g 7
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(families["r"], "op", map[string]bool{"get": true, "get_tail": true}); got != 7 {
		t.Errorf("gets: %v", got)
	}
	if got := sum(families["g"], "", nil); got != 7 {
		t.Errorf("gauge: %v", got)
	}
	if got := sum(families["absent"], "", nil); got != 0 {
		t.Errorf("absent: %v", got)
	}
}

func TestCostIsTheDifference(t *testing.T) {
	before := counters{cpu: 1, puts: 10, putBytes: 100, gets: 1, getBytes: 50, requests: 5, mallocs: 1000}
	after := counters{cpu: 3, peak: 1 << 20, puts: 14, putBytes: 4100, gets: 1, getBytes: 50, requests: 15, mallocs: 1500}
	c := cost(before, after, 2, true)
	if c.CPU != 1 || *c.Puts != 2 || *c.Gets != 0 || c.PutSize != 1000 || c.GetSize != 0 || *c.AllocsPerRequest != 50 || c.PeakBytes != 1<<20 {
		t.Fatalf("got %+v", c)
	}
	if c := cost(before, after, 2, false); c.Puts != nil || c.AllocsPerRequest != nil || c.CPU != 1 {
		t.Fatalf("of a broker without metrics: %+v", c)
	}
}

func TestEveryCaseHasANameOfItsOwn(t *testing.T) {
	for _, args := range [][]string{nil, {"--table"}} {
		o, err := parse(args)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, b := range chosen(&o) {
			if seen[b.Name] {
				t.Errorf("%s twice", b.Name)
			}
			seen[b.Name] = true
		}
		if args == nil && (!seen["minio/produce/200B/200p/acks=all"] || !seen["file/latency/200B/12p/acks=1"] || !seen["file/produce/200B/1p/java"]) ||
			args != nil && (!seen["far/sync/200B/1p/acks=all/puts=4"] || !seen["file/ids/200000"] || !seen["minio/offsets/100p"] || !seen["file/start"]) {
			t.Errorf("cases %v", seen)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--list", "--only", "^minio/cold/.*1p$"}, &out, io.Discard); err != nil || out.String() != "minio/cold/200B/1p\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestBadFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--only", "("}, {"--stores", "tape"}, {"--duration", "1ms"}, {"--runs", "0"}, {"--rate", "0"}, {"--fill", "1"},
		{"--peer", "h:1"}, {"--peer-pid", "3"}, {"--peer-logs", "logs"}, {"x"},
		{"--table", "--store-delay", "x"}, {"--table", "--store-delay", "30ms,20ms"}, {"--table", "--store-delay", "0s"},
		{"--store-delay", "30ms"}, {"--table", "--only", "^file", "--store-delay", "30ms"}, // no case has it
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	o, err := parse([]string{"--table", "--store-delay", "3ms,15ms"})
	if err != nil || o.delay.Delay != 3*time.Millisecond || o.delay.P99 != 15*time.Millisecond {
		t.Errorf("got %+v, %v", o.delay, err)
	}
}

func TestTheTrivialBrokerAcknowledgesAndForgets(t *testing.T) {
	for _, keep := range []bool{false, true} {
		in, stop := io.Pipe()
		out, said := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- serveTrivial(in, said, keep) }()
		address := make([]byte, 64)
		n, err := out.Read(address)
		if err != nil {
			t.Fatal(err)
		}
		b := broker{kafka: strings.TrimSpace(string(address[:n]))}
		remove, err := b.createTopic(t.Context(), "t", 1)
		if err != nil {
			t.Fatal(err)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		client.Close()
		remove()
		stop.Close()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

func TestRawLimitsMeasureSomething(t *testing.T) {
	dir := t.TempDir()
	for name, measure := range map[string]func() (limit, error){
		"fdatasync": func() (limit, error) { return rawSync(t.Context(), dir, 1) },
		"file PUT":  func() (limit, error) { return rawFilePut(t.Context(), dir, 1<<10, 1, 1) },
		"file GET":  func() (limit, error) { return rawFileGet(t.Context(), dir, 1<<10, 1) },
		"loopback":  func() (limit, error) { return rawLoopback(t.Context(), 1) },
	} {
		if l, err := measure(); err != nil || l.BytesPerSecond <= 0 || l.Name == "" {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOrderHoldsBackWhatIsTooFarAhead(t *testing.T) {
	o := newOrder(2)
	first, second := o.begin(), o.begin()
	third := make(chan int)
	go func() { third <- o.begin() }()
	o.end(second) // the first is still under way
	select {
	case seq := <-third:
		t.Fatalf("%d begins while %d is under way", seq, first)
	case <-time.After(10 * time.Millisecond):
	}
	o.end(first)
	if seq := <-third; seq != 2 {
		t.Fatalf("then %d begins", seq)
	}
}
