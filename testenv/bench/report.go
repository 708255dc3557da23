package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is all figures, as in the JSON file.
type Report struct {
	System   machine  `json:"system"`
	Cold     []string `json:"cold,omitempty"`
	Rows     []Row    `json:"rows"`
	Loopback limit    `json:"loopback"`
	Runs     int      `json:"median_of"`
	Duration float64  `json:"seconds_per_case"`
}

// machine is the machine, and the systems, that the figures depend on.
type machine struct {
	CPUs       int      `json:"cpus"`
	Go         string   `json:"go"`
	OS         string   `json:"os"`
	Load       string   `json:"load_average_at_start,omitempty"`
	StoreDelay string   `json:"store_delay,omitempty"`
	Serve      string   `json:"serve_flags,omitempty"`
	Systems    []string `json:"systems"`
}

func (r *Report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// print writes the tables: the figures first, then their cost.
func (r *Report) print(out io.Writer) error {
	fmt.Fprintf(out, "%d CPUs, %s, %s, load average at the start %s; loopback TCP %.1f GB/s; median of up to %d runs of %v s, with the lowest and the highest\n",
		r.System.CPUs, r.System.OS, r.System.Go, cmp.Or(r.System.Load, "unknown"), r.Loopback.BytesPerSecond/1e9, r.Runs, r.Duration)
	if r.System.StoreDelay != "" {
		fmt.Fprintln(out, "far: before MinIO, a delay of", r.System.StoreDelay)
	}
	if slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Kind == coldKind }) {
		for _, line := range r.Cold {
			fmt.Fprintln(out, line)
		}
	}
	if len(r.System.Systems) > 1 {
		fmt.Fprintln(out, "ahead: how many times better varve is; below 1 it is behind")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	r.printFigures(w)
	r.printCosts(w)
	return w.Flush()
}

// printFigures writes one line for each case.
func (r *Report) printFigures(w io.Writer) {
	fmt.Fprint(w, "\ncase\tunit\t")
	for _, name := range r.System.Systems {
		fmt.Fprintf(w, "%s\tlow-high\t", name)
		if name != ours {
			fmt.Fprint(w, "ahead\t")
		}
	}
	fmt.Fprintln(w, "limit\tof\tratio\t")
	for i := range r.Rows {
		row := &r.Rows[i]
		fmt.Fprintf(w, "%s\t%s\t", row.Name, row.Unit)
		for _, name := range r.System.Systems {
			s := row.of(name)
			switch {
			case s == nil && name == ours:
				fmt.Fprint(w, "-\t-\t")
			case s == nil:
				fmt.Fprint(w, "-\t-\t-\t")
			case name == ours:
				fmt.Fprintf(w, "%s\t%s-%s\t", short(s.Value), short(s.Low), short(s.High))
			default:
				fmt.Fprintf(w, "%s\t%s-%s\t%s\t", short(s.Value), short(s.Low), short(s.High), short(s.Ahead))
			}
		}
		if row.Limit != nil {
			fmt.Fprintf(w, "%s\t%s\t%.2f\t\n", short(row.Limit.figure(row.Unit)), row.Limit.Name, row.OfLimit)
		} else {
			fmt.Fprintln(w, "-\t-\t-\t")
		}
	}
}

func (row *Row) of(system string) *Series {
	if i := slices.IndexFunc(row.Series, func(s Series) bool { return s.System == system }); i >= 0 {
		return &row.Series[i]
	}
	return nil
}

// printCosts writes one line for each case and system.
func (r *Report) printCosts(w io.Writer) {
	fmt.Fprintln(w, "\ncase, cost to\tsystem\tper\tCPU s\tPUTs\tGETs\tpeak MB\tallocs/req\trecords/s\tms p50\tp99\tp99.9\tend to end p50\tp99\tp99.9\tclient CPU s/GB\t")
	for i := range r.Rows {
		row := &r.Rows[i]
		for j := range row.Series {
			s := &row.Series[j]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t", row.Name, s.System, row.Per, short(s.CPU), known(s.Puts), known(s.Gets),
				s.PeakBytes>>20, known(s.AllocsPerRequest))
			fmt.Fprintf(w, "%s\t%s%s%s\t\n", present(s.RecordsPerSecond), printed(s.Acknowledged), printed(s.EndToEnd), present(s.ClientCPUPerGB))
		}
	}
}

func printed(q *Quantiles) string {
	if q == nil {
		return strings.Repeat("-\t", 3)
	}
	return short(q.P50) + "\t" + short(q.P99) + "\t" + short(q.P999) + "\t"
}

// short writes a number with three digits that count, and all digits before the
// point.
func short(f float64) string {
	digits := 0
	for limit := 100.0; f < limit && digits < 3 && f > 0; limit /= 10 {
		digits++
	}
	return fmt.Sprintf("%.*f", digits, f)
}

func known(f *float64) string {
	if f == nil {
		return "-"
	}
	return short(*f)
}

// present writes a number that a case may lack.
func present(f float64) string {
	if f == 0 {
		return "-"
	}
	return short(f)
}
