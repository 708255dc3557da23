package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
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
	c := cost(before, after, 2e9, true)
	if c.CPUPerGB != 1 || *c.PutsPerGB != 2 || *c.GetsPerGB != 0 || c.PutSize != 1000 || c.GetSize != 0 || *c.AllocsPerRequest != 50 || c.PeakBytes != 1<<20 {
		t.Fatalf("got %+v", c)
	}
	if c := cost(before, after, 2e9, false); c.PutsPerGB != nil || c.AllocsPerRequest != nil || c.CPUPerGB != 1 {
		t.Fatalf("of a broker without metrics: %+v", c)
	}
}

func TestEveryCaseHasANameOfItsOwn(t *testing.T) {
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, b := range chosen(o.stores, o.only) {
		if seen[b.Name] {
			t.Errorf("%s twice", b.Name)
		}
		seen[b.Name] = true
	}
	if !seen["minio/produce/200B/200p/acks=all"] || !seen["file/latency/200B/12p/acks=1"] || !seen["file/produce/200B/1p/java"] {
		t.Errorf("cases %v", seen)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--list", "--only", "^minio/cold/.*1p$"}, &out, io.Discard); err != nil || out.String() != "minio/cold/200B/1p\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestBadFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--only", "("}, {"--stores", "tape"}, {"--duration", "1ms"}, {"--repeat", "0"}, {"--rate", "0"}, {"--fill", "1"},
		{"--peer", "h:1"}, {"--peer-pid", "3"}, {"--store-delay", "x"}, {"--store-delay", "30ms,20ms"}, {"--store-delay", "0s"}, {"x"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	o, err := parse([]string{"--store-delay", "30ms,150ms"})
	if err != nil || o.delay.Delay != 30*time.Millisecond || o.delay.P99 != 150*time.Millisecond {
		t.Errorf("got %+v, %v", o.delay, err)
	}
}

func TestTheLowestLimitIsTheOneThatCounts(t *testing.T) {
	row := Row{bench: bench{Kind: produceKind}, Ours: Outcome{BytesPerSecond: 30},
		Limits: []limit{{Name: "a", BytesPerSecond: 90}, {Name: "b", BytesPerSecond: 60}, {Name: "c", BytesPerSecond: 1, Aside: true}}}
	row.judge()
	if row.Limit.Name != "b" || row.Ratio != 0.5 {
		t.Fatalf("got %+v", row)
	}
	row = Row{bench: bench{Kind: latencyKind}, Ours: Outcome{EndToEnd: &Quantiles{P50: 30}}, Limits: []limit{{Latency: Quantiles{P50: 10}}}}
	row.judge()
	if row.Ratio != 3 {
		t.Fatalf("got %+v", row)
	}
}

func TestTheReportHasEveryRow(t *testing.T) {
	r := Report{Repeat: 1, System: system{Peer: "h:1"}, Rows: []Row{
		{bench: bench{Name: "p", Kind: produceKind}, Ours: Outcome{RecordsPerSecond: 12345, Cost: Cost{CPUPerGB: 1.25, PutsPerGB: pointer(119)}},
			Peer: &Outcome{BytesPerSecond: 7e6}, Limit: &limit{Name: "fdatasync"}, Ratio: 0.5},
		{bench: bench{Name: "c", Kind: coldKind}},
		{bench: bench{Name: "l", Kind: latencyKind}, Ours: Outcome{Acknowledged: &Quantiles{P50: 1}, EndToEnd: &Quantiles{P999: 98.7}}},
	}}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12345", "1.25", "119", "7.0", "fdatasync", "0.50", "98.7"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	path := filepath.Join(t.TempDir(), "r.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	var again Report
	if err != nil || json.Unmarshal(data, &again) != nil || len(again.Rows) != 3 || again.Rows[0].Ours.CPUPerGB != 1.25 {
		t.Errorf("%v: %s", err, data)
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
		"file PUT":  func() (limit, error) { return rawFilePut(t.Context(), dir, 1<<10, 1) },
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
