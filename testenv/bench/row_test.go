package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheLowestLimitIsTheOneThatCounts(t *testing.T) {
	row := Row{Unit: "MB/s"}
	row.add(ours, []Outcome{{Value: 30}}, [][]limit{{
		{Name: "a", BytesPerSecond: 90e6}, {Name: "b", BytesPerSecond: 60e6}, {Name: "c", BytesPerSecond: 1, Aside: true}}})
	if row.Limit.Name != "b" || row.OfLimit != 0.5 {
		t.Fatalf("got %+v", row)
	}
	row = Row{Unit: "ms", LowerIsBetter: true}
	row.add(ours, []Outcome{{Value: 30}}, [][]limit{{{Latency: Quantiles{P50: 10}}}})
	if row.OfLimit != 3 {
		t.Fatalf("got %+v", row)
	}
}

func TestTheMedianRunStandsForASystem(t *testing.T) {
	for _, tt := range []struct {
		lower bool
		ahead float64
	}{{false, 0.5}, {true, 2}} {
		row := Row{LowerIsBetter: tt.lower}
		row.add(ours, []Outcome{{Value: 3}, {Value: 1}, {Value: 2}}, [][]limit{{{Name: "of 3"}}, {{Name: "of 1"}}, {{Name: "of 2"}}})
		row.add("kafka", []Outcome{{Value: 5}, {Value: 4}, {Value: 3}}, nil)
		v, k := row.of(ours), row.of("kafka")
		if v.Value != 2 || v.Low != 1 || v.High != 3 || v.Runs != 3 || row.Limits[0].Name != "of 2" || v.Ahead != 0 {
			t.Errorf("varve: %+v, limits %v", v, row.Limits)
		}
		if k.Value != 4 || k.Low != 3 || k.High != 5 || k.Ahead != tt.ahead {
			t.Errorf("lower is better %v: kafka: %+v", tt.lower, k)
		}
	}
	alone := Row{}
	alone.add("kafka", []Outcome{{Value: 1}}, nil) // varve failed
	if alone.Series[0].Ahead != 0 {
		t.Errorf("ahead of nothing: %+v", alone)
	}
}

func TestTheReportHasEveryRow(t *testing.T) {
	r := Report{Runs: 1, Cold: []string{"cold: that means"}, System: machine{Systems: []string{ours, "kafka"}}, Rows: []Row{
		{bench: bench{Name: "p", Kind: produceKind}, Unit: "MB/s", Per: "GB", Limit: &limit{Name: "fdatasync", BytesPerSecond: 77e6}, OfLimit: 0.51, Series: []Series{
			{System: ours, Outcome: Outcome{Value: 61.5, RecordsPerSecond: 12345, Cost: Cost{CPU: 1.25, Puts: pointer(119)}}, Low: 55, High: 66},
			{System: "kafka", Outcome: Outcome{Value: 7, Cost: Cost{PeakBytes: 1000 << 20}}, Ahead: 8.78}}},
		{bench: bench{Name: "c", Kind: coldKind}, Series: []Series{{System: "kafka"}}},
		{bench: bench{Name: "l", Kind: latencyKind}, Series: []Series{{System: ours, Outcome: Outcome{Acknowledged: &Quantiles{P50: 1}, EndToEnd: &Quantiles{P999: 98.7}}}}},
	}}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12345", "1.25", "119", "7.00", "8.78", "55.0-66.0", "61.5", "fdatasync", "77.0", "0.51", "98.7", "1000", "cold: that means"} {
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
	if err != nil || json.Unmarshal(data, &again) != nil || len(again.Rows) != 3 || again.Rows[0].Series[0].CPU != 1.25 {
		t.Errorf("%v: %s", err, data)
	}
}

func TestNumbersKeepThreeDigits(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 0.0123: "0.012", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 12345: "12345"} {
		if got := short(f); got != want {
			t.Errorf("%v: %s, not %s", f, got, want)
		}
	}
}

func TestTheLastLineOfKafkasProducerIsRead(t *testing.T) {
	const first = "1000 records sent, 10.0 records/sec (0.10 MB/sec), 5.00 ms avg latency, 9.00 ms max latency, 1 ms 50th, 2 ms 95th, 3 ms 99th, 4 ms 99.9th.\n"
	const last = "50000 steady state records sent, 25000.5 records/sec (4.77 MB/sec), 5.61 ms avg latency, 250.00 ms max latency, 7 ms 50th, 20 ms 95th, 30 ms 99th, 40 ms 99.9th.\n"
	res, err := readPerf(first+last, 200)
	if err != nil || res.Figure.RecordsPerSecond != 25000.5 || res.Figure.BytesPerSecond != 5_000_100 || *res.latency != (Quantiles{P50: 7, P99: 30, P999: 40}) {
		t.Fatalf("got %+v %+v, %v", res, res.latency, err)
	}
	if _, err := readPerf("Exception in thread main\n", 200); err == nil {
		t.Fatal("an output without figures is read")
	}
}
