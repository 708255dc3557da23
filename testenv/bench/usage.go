package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// clockTicks is the unit of times in /proc/<pid>/stat: a second has 100 of them
// on every Linux that Go runs on.
const clockTicks = 100

// cpuSeconds returns the processor time that a process has used, read from the
// text of its /proc/<pid>/stat.
func cpuSeconds(stat string) (float64, error) {
	// The second field is the program's name in brackets, with any characters
	// in it.
	_, rest, found := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 13 {
		return 0, errors.New("stat of a process has too few fields")
	}
	user, err := strconv.ParseUint(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("user time: %w", err)
	}
	system, err := strconv.ParseUint(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("system time: %w", err)
	}
	return float64(user+system) / clockTicks, nil
}

// peakBytes returns the most memory that a process has had, read from the text
// of its /proc/<pid>/status.
func peakBytes(status string) (int64, error) { return statusBytes(status, "VmHWM:") }

// statusBytes returns a size in the text of a /proc/<pid>/status.
func statusBytes(status, field string) (int64, error) {
	for line := range strings.Lines(status) {
		if text, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("status of a process has no %s", field)
}

// counters are the counters of a broker at one moment. Those of varve's own
// metrics are 0 for another broker.
type counters struct {
	cpu      float64 // seconds
	peak     int64   // bytes
	puts     float64
	putBytes float64
	gets     float64
	getBytes float64
	requests float64 // of Kafka clients: Produce and Fetch
	mallocs  float64
	debt     float64 // bytes that are not merged
	jobs     float64 // of merging, so far
	tidied   float64 // bytes that tiering has read and written
	journal  float64 // bytes written to data journals
	deletes  float64 // of objects
	replays  float64 // GETs of replays
	replayed float64 // bytes of these
	pending  float64 // bytes of write-ahead records that are not in the bucket
}

// process reads the system's counters of a process.
func (c *counters) process(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return fmt.Errorf("read the broker's CPU time: %w", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return fmt.Errorf("read the broker's memory: %w", err)
	}
	if c.cpu, err = cpuSeconds(string(stat)); err != nil {
		return err
	}
	c.peak, err = peakBytes(string(status))
	return err
}

// resetPeak makes the peak begin again. If that is not allowed, it remains that
// of the process's whole life.
func resetPeak(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// families are the metrics of a varve at one moment.
type families map[string]*dto.MetricFamily

// total is the sum of a metric over all labels.
func (f families) total(name string) float64 { return sum(f[name], "", nil) }

// scrape reads varve's /metrics.
func scrape(ctx context.Context, address string) (families, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	f, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return f, nil
}

// metrics reads varve's counters.
func (c *counters) metrics(ctx context.Context, address string) error {
	f, err := scrape(ctx, address)
	if err != nil {
		return err
	}
	get := map[string]bool{"get": true, "get_range": true, "get_tail": true}
	c.puts = sum(f["varve_store_requests_total"], "op", map[string]bool{"create": true})
	c.putBytes = sum(f["varve_store_bytes_total"], "op", map[string]bool{"create": true})
	c.gets = sum(f["varve_store_requests_total"], "op", get)
	c.getBytes = sum(f["varve_store_bytes_total"], "op", get)
	c.requests = sum(f["varve_kafka_requests_total"], "api", map[string]bool{"Produce": true, "Fetch": true})
	c.mallocs = f.total("go_memstats_mallocs_total")
	c.debt = f.total("varve_merge_debt_bytes")
	c.jobs = f.total("varve_merge_jobs_total")
	c.tidied = f.total("varve_tiering_read_bytes_total") + f.total("varve_tiering_written_bytes_total")
	c.journal = f.total("varve_journal_written_bytes_total")
	c.replays, c.replayed = f.total("varve_replay_gets_total"), f.total("varve_replay_read_bytes_total")
	c.deletes = f.total("varve_deleted_objects_total")
	c.pending = f.total("varve_wal_pending_bytes")
	return nil
}

// sum adds up the metrics of a family whose label has one of the values.
func sum(family *dto.MetricFamily, label string, values map[string]bool) (total float64) {
	for _, m := range family.GetMetric() {
		wanted := label == ""
		for _, pair := range m.GetLabel() {
			wanted = wanted || pair.GetName() == label && values[pair.GetValue()]
		}
		if wanted {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

// Cost is the cost of a load to the broker, for the amount that its kind
// defines: a GB, 1,000 operations, a second, a start. Nil: not known of this
// broker.
type Cost struct {
	CPU       float64  `json:"broker_cpu_seconds"`
	PeakBytes int64    `json:"broker_peak_bytes"`
	Puts      *float64 `json:"puts,omitempty"`
	Gets      *float64 `json:"gets,omitempty"`
	// AllocsPerRequest counts all of the process's allocations, for Produce and
	// Fetch requests.
	AllocsPerRequest *float64 `json:"allocations_per_request,omitempty"`
	PutSize          int64    `json:"put_bytes,omitempty"` // on average
	GetSize          int64    `json:"get_bytes,omitempty"`
}

// cost is the difference between two moments, divided by an amount.
func cost(before, after counters, amount float64, metrics bool) Cost {
	c := Cost{PeakBytes: after.peak}
	if amount == 0 {
		return c
	}
	c.CPU = (after.cpu - before.cpu) / amount
	if !metrics {
		return c
	}
	puts, gets := after.puts-before.puts, after.gets-before.gets
	c.Puts, c.Gets = pointer(puts/amount), pointer(gets/amount)
	if puts > 0 {
		c.PutSize = int64((after.putBytes - before.putBytes) / puts)
	}
	if gets > 0 {
		c.GetSize = int64((after.getBytes - before.getBytes) / gets)
	}
	if requests := after.requests - before.requests; requests > 0 {
		c.AllocsPerRequest = pointer((after.mallocs - before.mallocs) / requests)
	}
	return c
}

func pointer(f float64) *float64 { return &f }
