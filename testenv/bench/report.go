package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// Report is all figures, as in the JSON file.
type Report struct {
	System   system  `json:"system"`
	Rows     []Row   `json:"rows"`
	Loopback limit   `json:"loopback"`
	Repeat   int     `json:"median_of"`
	Duration float64 `json:"seconds_per_case"`
}

// system is the machine that the figures depend on.
type system struct {
	CPUs       int    `json:"cpus"`
	Go         string `json:"go"`
	OS         string `json:"os"`
	Load       string `json:"load_average_at_start,omitempty"`
	StoreDelay string `json:"store_delay,omitempty"`
	Serve      string `json:"serve_flags,omitempty"`
	Peer       string `json:"peer,omitempty"`
}

func (r *Report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// print writes the table: throughputs first, then latencies.
func (r *Report) print(out io.Writer) error {
	fmt.Fprintf(out, "%d CPUs, %s, %s, load average at the start %s; loopback TCP %.1f GB/s; median of %d runs of %.0f s\n",
		r.System.CPUs, r.System.OS, r.System.Go, cmp.Or(r.System.Load, "unknown"), r.Loopback.BytesPerSecond/1e9, r.Repeat, r.Duration)
	if r.System.StoreDelay != "" {
		fmt.Fprintln(out, "before MinIO, a delay of", r.System.StoreDelay)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	if r.has(func(row *Row) bool { return row.Kind != latencyKind }) {
		r.printRates(w)
	}
	if r.has(func(row *Row) bool { return row.Kind == latencyKind }) {
		r.printLatencies(w)
	}
	return w.Flush()
}

func (r *Report) has(wanted func(*Row) bool) bool {
	for i := range r.Rows {
		if wanted(&r.Rows[i]) {
			return true
		}
	}
	return false
}

func (r *Report) printRates(w io.Writer) {
	peer := r.System.Peer != ""
	fmt.Fprint(w, "\ncase\trecords/s\tMB/s\tlimit MB/s\tof\tratio\tCPU s/GB\tpeak MB\tPUT/GB\tGET/GB\tallocs/req\tclient CPU s/GB\t")
	if peer {
		fmt.Fprint(w, "peer MB/s\tpeer CPU s/GB\tpeer peak MB\t")
	}
	fmt.Fprintln(w)
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Kind == latencyKind {
			continue
		}
		o := &row.Ours
		fmt.Fprintf(w, "%s\t%.0f\t%.1f\t", row.Name, o.RecordsPerSecond, o.BytesPerSecond/1e6)
		if row.Limit != nil {
			fmt.Fprintf(w, "%.1f\t%s\t%.2f\t", row.Limit.BytesPerSecond/1e6, row.Limit.Name, row.Ratio)
		} else {
			fmt.Fprint(w, "-\t-\t-\t")
		}
		fmt.Fprintf(w, "%.2f\t%d\t%s\t%s\t%s\t%.2f\t", o.CPUPerGB, o.PeakBytes>>20,
			known(o.PutsPerGB), known(o.GetsPerGB), known(o.AllocsPerRequest), o.ClientCPUPerGB)
		switch {
		case row.Peer != nil:
			fmt.Fprintf(w, "%.1f\t%.2f\t%d\t", row.Peer.BytesPerSecond/1e6, row.Peer.CPUPerGB, row.Peer.PeakBytes>>20)
		case peer:
			fmt.Fprint(w, "-\t-\t-\t")
		}
		fmt.Fprintln(w)
	}
}

func (r *Report) printLatencies(w io.Writer) {
	peer := r.System.Peer != ""
	fmt.Fprint(w, "\ncase, ms\tack p50\tp99\tp99.9\tend-to-end p50\tp99\tp99.9\tlimit p50\tp99\tof\t")
	if peer {
		fmt.Fprint(w, "peer ack p50\tp99\tp99.9\tpeer end-to-end p50\tp99\tp99.9\t")
	}
	fmt.Fprintln(w)
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Kind != latencyKind {
			continue
		}
		fmt.Fprintf(w, "%s\t", row.Name)
		printQuantiles(w, row.Ours.Acknowledged, row.Ours.EndToEnd)
		if row.Limit != nil {
			fmt.Fprintf(w, "%.1f\t%.1f\t%s\t", row.Limit.Latency.P50, row.Limit.Latency.P99, row.Limit.Name)
		} else {
			fmt.Fprint(w, "-\t-\t-\t")
		}
		if peer && row.Peer != nil {
			printQuantiles(w, row.Peer.Acknowledged, row.Peer.EndToEnd)
		}
		fmt.Fprintln(w)
	}
}

func printQuantiles(w io.Writer, all ...*Quantiles) {
	for _, q := range all {
		fmt.Fprintf(w, "%.1f\t%.1f\t%.1f\t", q.P50, q.P99, q.P999)
	}
}

func known(f *float64) string {
	if f == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f", *f)
}
