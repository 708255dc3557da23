package main

import (
	"cmp"
	"slices"
)

// Row is the outcome of a case.
type Row struct {
	bench
	Unit          string   `json:"unit"`
	LowerIsBetter bool     `json:"lower_is_better,omitempty"`
	Per           string   `json:"cost_per"`
	Series        []Series `json:"systems"`         // ours first, without those that failed
	Limit         *limit   `json:"limit,omitempty"` // the lowest of Limits
	// OfLimit is our figure divided by that of the limit.
	OfLimit float64 `json:"of_limit,omitempty"`
	Limits  []limit `json:"limits,omitempty"` // of our median run
}

// Series is the runs of one system.
type Series struct {
	System  string  `json:"system"`
	Runs    int     `json:"runs"`
	Outcome         // of the run of median figure
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	// Ahead is how many times better our median is than this one, whether lower
	// or higher is better. 0: it is ours, or ours failed.
	Ahead float64 `json:"varve_ahead,omitempty"`
}

// Outcome is the result of one run on one broker.
type Outcome struct {
	Value            float64 `json:"figure"` // in the unit of the case
	RecordsPerSecond float64 `json:"records_per_second,omitempty"`
	BytesPerSecond   float64 `json:"bytes_per_second,omitempty"`
	ClientCPUPerGB   float64 `json:"client_cpu_seconds_per_gb,omitempty"`
	Operations       int64   `json:"operations,omitempty"`
	Seconds          float64 `json:"seconds,omitempty"`
	Cost
	Acknowledged *Quantiles `json:"acknowledged,omitempty"` // of single operations
	EndToEnd     *Quantiles `json:"end_to_end,omitempty"`
}

// add appends a system's runs. Those of our varve come first, with the limits
// that were measured after each.
func (row *Row) add(system string, runs []Outcome, limits [][]limit) {
	order := make([]int, len(runs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(runs[x].Value, runs[y].Value) })
	middle := order[len(order)/2]
	s := Series{System: system, Runs: len(runs), Outcome: runs[middle], Low: runs[order[0]].Value, High: runs[order[len(order)-1]].Value}
	if system == ours {
		row.Limits = limits[middle]
	} else if len(row.Series) > 0 && row.Series[0].System == ours {
		s.Ahead = row.ahead(row.Series[0].Value, s.Value)
	}
	row.Series = append(row.Series, s)
	if system == ours {
		row.judge()
	}
}

func (row *Row) ahead(ours, theirs float64) float64 {
	if row.LowerIsBetter {
		ours, theirs = theirs, ours
	}
	if theirs == 0 {
		return 0
	}
	return ours / theirs
}

// judge finds the lowest limit.
func (row *Row) judge() {
	for i := range row.Limits {
		l := &row.Limits[i]
		if !l.Aside && (row.Limit == nil || l.BytesPerSecond < row.Limit.BytesPerSecond) {
			row.Limit = l
		}
	}
	if row.Limit == nil {
		return
	}
	if of := row.Limit.figure(row.Unit); of > 0 {
		row.OfLimit = row.Series[0].Value / of
	}
}

// figure is the limit in the unit of a case.
func (l *limit) figure(unit string) float64 {
	if unit == "ms" {
		return l.Latency.P50
	}
	return l.BytesPerSecond / 1e6
}
