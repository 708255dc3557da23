package node

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/fetch/session"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/sweep"
	"github.com/varvelog/varve/tiering/upkeep"
)

// metrics is the content of /metrics. It implements listener.Metrics and is the
// observer of the store.
type metrics struct {
	registry *prometheus.Registry
	register prometheus.Registerer // the registry, or the part of it for a time

	requests    *prometheus.CounterVec
	requestTime *prometheus.HistogramVec
	requestIn   *prometheus.CounterVec
	requestOut  *prometheus.CounterVec
	connections prometheus.Gauge
	refused     *prometheus.CounterVec

	storeRequests *prometheus.CounterVec
	storeBytes    *prometheus.CounterVec
	storeTime     *prometheus.HistogramVec

	takeOvers    *prometheus.CounterVec
	takeOverTime *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		requests:    counters("varve_kafka_requests_total", "Kafka requests answered, by the first error code of the answer.", "api", "code"),
		requestTime: histograms("varve_kafka_request_seconds", "Time from the last byte of a request to the last byte of its answer.", "api"),
		requestIn:   counters("varve_kafka_request_bytes_total", "Bytes of Kafka requests.", "api"),
		requestOut:  counters("varve_kafka_response_bytes_total", "Bytes of Kafka answers.", "api"),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "varve_kafka_connections", Help: "Open connections of Kafka clients."}),
		refused:     counters("varve_kafka_connections_refused_total", "Connections closed by the node, by reason.", "reason"),

		storeRequests: counters("varve_store_requests_total", "Requests to the object store, by outcome.", "op", "outcome"),
		storeBytes:    counters("varve_store_bytes_total", "Bytes of objects sent to or received from the store.", "op"),
		storeTime:     histograms("varve_store_request_seconds", "Time of requests to the object store.", "op"),

		takeOvers:    counters("varve_takeovers_total", "Journals that this node has begun to lead, by reason.", "why"),
		takeOverTime: histograms("varve_takeover_seconds", "Time from the assignment of a journal to this node until it led, by reason.", "why"),
	}
	m.register = m.registry
	m.registry.MustRegister(m.requests, m.requestTime, m.requestIn, m.requestOut, m.connections, m.refused,
		m.storeRequests, m.storeBytes, m.storeTime, m.takeOvers, m.takeOverTime,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin()
	return m
}

// begin gives series for alerts a value before the first event: to Prometheus,
// a counter that appears with its first failure has not risen.
func (m *metrics) begin() {
	for _, reason := range listener.Refusals() {
		m.refused.WithLabelValues(reason)
	}
	m.beginTakeOvers()
	for _, op := range objstore.Ops {
		m.storeRequests.WithLabelValues(string(op), outcome(errors.New("a failure")))
	}
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17),
	}, labels)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request implements listener.Metrics.
func (m *metrics) Request(o listener.Observation) {
	m.requests.WithLabelValues(o.API, strconv.Itoa(int(o.Code))).Inc()
	m.requestTime.WithLabelValues(o.API).Observe(o.Took.Seconds())
	m.requestIn.WithLabelValues(o.API).Add(float64(o.BytesIn))
	m.requestOut.WithLabelValues(o.API).Add(float64(o.BytesOut))
}

// Connections implements listener.Metrics.
func (m *metrics) Connections(delta int) { m.connections.Add(float64(delta)) }

// Refused implements listener.Metrics.
func (m *metrics) Refused(reason string) { m.refused.WithLabelValues(reason).Inc() }

// storeRequest is an objstore.Observer.
func (m *metrics) storeRequest(op objstore.Op, bytes int64, took time.Duration, err error) {
	m.storeRequests.WithLabelValues(string(op), outcome(err)).Inc()
	m.storeBytes.WithLabelValues(string(op)).Add(float64(bytes))
	m.storeTime.WithLabelValues(string(op)).Observe(took.Seconds())
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, objstore.ErrNotFound):
		return "not_found"
	case errors.Is(err, objstore.ErrExists):
		return "exists"
	case errors.Is(err, objstore.ErrConflict):
		return "conflict"
	case errors.Is(err, objstore.ErrDenied):
		return "denied"
	case errors.Is(err, context.Canceled):
		return "cancelled" // the caller went away, or another GET was faster
	}
	return "error"
}

// health shows the node's troubles: a series for each kind of trouble, 0 while
// there is none.
func (m *metrics) health(b *health.Board) {
	m.gauge("varve_ready", "1 while the node serves clients and no trouble keeps it from its work, as /readyz says.", nil, func() float64 {
		if b.Ready() {
			return 1
		}
		return 0
	})
	for _, kind := range health.Kinds() {
		labels := prometheus.Labels{"kind": string(kind)}
		m.gauge("varve_trouble", "Troubles of a kind that the node has now.", labels, func() float64 {
			n, _ := b.Count(kind)
			return float64(n)
		})
		m.gauge("varve_trouble_since_seconds", "Time since the oldest trouble of a kind began, 0 if there is none.", labels, func() float64 {
			return b.Lasts(kind).Seconds()
		})
	}
}

// gauge registers a value that is read at each scrape.
func (m *metrics) gauge(name, help string, labels prometheus.Labels, read func() float64) {
	m.register.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// counter registers a value that only grows and is read at each scrape.
func (m *metrics) counter(name, help string, labels prometheus.Labels, read func() float64) {
	m.register.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

func journalLabel(id uint32) prometheus.Labels {
	return prometheus.Labels{"journal": strconv.FormatUint(uint64(id), 10)}
}

// journal shows a data journal that is led or followed. A follower may begin again with
// another state.
func (m *metrics) journal(id uint32, state func() *partlog.State) {
	m.gauge("varve_journal_head", "Seq of the last object applied.", journalLabel(id), func() float64 { return float64(state().Head()) })
	m.gauge("varve_producers", "Idempotent producers remembered, each in every partition that it writes to, until 24 hours after its last batch.", journalLabel(id),
		func() float64 { n, _ := state().ProducerUse(); return float64(n) })
	m.gauge("varve_producer_bytes", "Memory that idempotent producers take, about. No setting bounds it.", journalLabel(id),
		func() float64 { _, bytes := state().ProducerUse(); return float64(bytes) })
}

// pool shows the memory that is used again.
func (m *metrics) pool(p *buffer.Pool) {
	help := "Memory for frames and objects, in use or kept for the next ones."
	m.gauge("varve_buffer_bytes", help, prometheus.Labels{"state": "used"}, func() float64 { return float64(p.InUse()) })
	m.gauge("varve_buffer_bytes", help, prometheus.Labels{"state": "free"}, func() float64 { return float64(p.Free()) })
}

// during returns the same metrics for values that are shown for a time, until forget is
// called.
func (m *metrics) during() (timed *metrics, forget func() error) {
	var shown shownMetrics
	shown.Registerer = m.register
	copied := *m
	copied.register = &shown
	return &copied, func() error {
		for _, c := range shown.all {
			m.register.Unregister(c)
		}
		return nil
	}
}

// shownMetrics remembers all that is registered. One goroutine uses it.
type shownMetrics struct {
	prometheus.Registerer
	all []prometheus.Collector
}

// MustRegister implements prometheus.Registerer.
func (s *shownMetrics) MustRegister(cs ...prometheus.Collector) {
	s.Registerer.MustRegister(cs...)
	s.all = append(s.all, cs...)
}

// leader shows a leadership of a data journal.
func (m *metrics) leader(id uint32, l *ingest.Leader) {
	m.gauge("varve_wal_pending_bytes", "Bytes of record batches in the write-ahead log not known to be in the bucket.", journalLabel(id),
		func() float64 { return float64(l.Pending()) })
	m.gauge("varve_wal_file_bytes", "Disk that write-ahead files take, with or without records.", journalLabel(id),
		func() float64 { return float64(l.WALFileBytes()) })
	m.gauge("varve_wal_set_aside_records", "Records in write-ahead logs set aside that the journal does not have, until they are exported or deleted.", journalLabel(id),
		func() float64 { return float64(l.SetAside()) })
}

// sweep shows the objects that are garbage, and their deletion.
func (m *metrics) sweep(id uint32, s *partlog.State, r *sweep.Releaser, d *sweep.Deleter, p *sweep.PageRemover) {
	journal := journalLabel(id)
	m.gauge("varve_garbage_items", "Objects, and ranges of journal objects, that are listed for their first deletion.", journal, func() float64 {
		n := 0
		for _, g := range s.Garbage() {
			if !g.Deleted {
				n++
			}
		}
		return float64(n)
	})
	m.gauge("varve_unreleased_objects", "Merged objects that no record is read from any more and that are not listed for deletion.", journal, func() float64 { return float64(len(s.Unreleased())) })
	m.gauge("varve_release_lost_pages", "Index pages that cannot be read, so that objects that they may name are not released.", journal, func() float64 { return float64(r.LostPages()) })
	m.counter("varve_deleted_objects_total", "Objects deleted, those that were deleted a second time included.", journal, func() float64 { n, _ := d.Counts(); return float64(n) })
	m.counter("varve_removed_index_objects_total", "Index objects removed that no floor keeps, copies included.", journal, func() float64 { return float64(p.Removed()) })
	m.counter("varve_retained_bytes_total", "Bytes of deleted objects that the bucket keeps as versions.", journal, func() float64 { return float64(d.Retained()) })
	m.counter("varve_delete_failures_total", "Deletions of objects that failed. Each is tried again.", journal, func() float64 { _, n := d.Counts(); return float64(n) })
}

// tiering shows how a journal is tidied.
func (m *metrics) tiering(id uint32, g *merge.Merger, written *upkeep.Flow) {
	journal := journalLabel(id)
	m.gauge("varve_merge_debt_bytes", "Bytes of record batches that are not merged yet.", journal, func() float64 { return float64(g.Debt().Bytes) })
	m.gauge("varve_merge_debt_objects", "Journal objects from the first one that is not merged to the head.", journal, func() float64 { return float64(g.Debt().Objects) })
	m.gauge("varve_merge_debt_seconds", "Time for which the first object that is not merged has been the first.", journal, func() float64 { return g.Debt().Age.Seconds() })
	for _, c := range []struct {
		name, help string
		of         func(merge.Stats) int64
	}{
		{"varve_tiering_read_bytes_total", "Bytes that tiering read from the bucket.", func(s merge.Stats) int64 { return s.ReadBytes }},
		{"varve_tiering_written_bytes_total", "Bytes that tiering wrote to the bucket.", func(s merge.Stats) int64 { return s.WrittenBytes }},
		{"varve_tiering_gets_total", "GETs of tiering.", func(s merge.Stats) int64 { return s.ReadObjects }},
		{"varve_tiering_puts_total", "PUTs of tiering.", func(s merge.Stats) int64 { return s.WrittenObjects }},
		{"varve_recompressed_before_bytes_total", "Bytes of batches that were compressed in another way, before.", func(s merge.Stats) int64 { return s.RecompressedFrom }},
		{"varve_recompressed_after_bytes_total", "Bytes of batches that were compressed in another way, after.", func(s merge.Stats) int64 { return s.RecompressedTo }},
		{"varve_merge_failed_total", "Jobs of merging that failed. Each is tried again.", func(s merge.Stats) int64 { return s.Failed }},
		{"varve_merge_mismatches_total", "Merged objects that differed from their sources, and were not used. Each is a bug of varve.", func(s merge.Stats) int64 { return s.Mismatches }},
		{"varve_merge_damaged_sources_total", "Records that could not be read when they were to be merged, and were left where they are.", func(s merge.Stats) int64 { return s.DamagedSources }},
	} {
		m.counter(c.name, c.help, journal, func() float64 { return float64(c.of(g.Stats())) })
	}
	for entry, of := range map[string]func(merge.Stats) int64{
		"intent":  func(s merge.Stats) int64 { return s.Intents },
		"result":  func(s merge.Stats) int64 { return s.Results },
		"abandon": func(s merge.Stats) int64 { return s.Abandons },
	} {
		labels := journalLabel(id)
		labels["entry"] = entry
		m.counter("varve_merge_entries_total", "Entries of merging that were committed.", labels, func() float64 { return float64(of(g.Stats())) })
	}
	for level := 1; level < len(merge.Stats{}.Jobs); level++ {
		labels := journalLabel(id)
		labels["level"] = strconv.Itoa(level)
		m.counter("varve_merge_jobs_total", "Jobs of merging that succeeded, by level.", labels, func() float64 { return float64(g.Stats().Jobs[level]) })
	}
	m.counter("varve_journal_written_bytes_total", "Bytes of objects written to a journal.", journal, func() float64 { return float64(written.Total()) })
	m.gauge("varve_write_amplification", "Bytes written by merging for each byte that was merged since the start of the leadership, or could be merged again then.", journal, func() float64 {
		if done := g.Debt().Done; done > 0 {
			return float64(g.Stats().WrittenBytes) / float64(done)
		}
		return 0
	})
}

// damage shows the damage in the bucket that readers have found, and removals that are none.
func (m *metrics) damage(r *fetch.Reader, p *restore.Removed) {
	m.counter("varve_removed_index_found_total", "Times that an index object was gone because no floor keeps it, and the newest floor's checkpoint had its content.", nil, func() float64 { return float64(p.Found()) })
	m.counter("varve_damaged_reads_total", "Reads that found records damaged or missing in the bucket.", nil, func() float64 { return float64(r.DamagedReads()) })
	m.counter("varve_undecodable_batches_total", "Batches found by look-ups that are stored as a client wrote them, and whose records cannot be decoded.", nil, func() float64 { return float64(r.Undecodable()) })
	m.gauge("varve_damaged_stretches", "Stretches of records that readers have found damaged or missing, and that are not restored yet.", nil, func() float64 { return float64(r.Damaged()) })
}

// replays shows the cost of reads far from the tail.
func (m *metrics) replays(c *cache.Cache) {
	for _, s := range []struct {
		name, help string
		of         func(cache.ReplayStats) int64
	}{
		{"varve_replay_gets_total", "GETs for reads far from the tail.", func(s cache.ReplayStats) int64 { return s.Gets }},
		{"varve_replay_read_bytes_total", "Bytes read from the bucket for reads far from the tail.", func(s cache.ReplayStats) int64 { return s.Read }},
		{"varve_read_ahead_bytes_total", "Bytes of these that were read before a consumer asked.", func(s cache.ReplayStats) int64 { return s.Ahead }},
		{"varve_read_ahead_used_bytes_total", "Bytes that were read ahead and that a consumer asked for later.", func(s cache.ReplayStats) int64 { return s.Used }},
		{"varve_read_ahead_wasted_bytes_total", "Bytes that were read ahead and dropped unused.", func(s cache.ReplayStats) int64 { return s.Wasted }},
	} {
		m.counter(s.name, s.help, nil, func() float64 { return float64(s.of(c.Replays())) })
	}
	m.counter("varve_hedged_gets_total", "GETs that were sent a second time, because the answer took unusually long.", nil, func() float64 { return float64(c.Hedges().Sent) })
	m.counter("varve_hedged_gets_won_total", "GETs whose second sending was answered first.", nil, func() float64 { return float64(c.Hedges().Won) })
}

// requestMemory shows the memory that requests hold.
func (m *metrics) requestMemory(memory func() []listener.PartUse) {
	for p, use := range memory() {
		label := prometheus.Labels{"part": use.Part}
		m.gauge("varve_request_memory_limit_bytes", "Memory for requests, by part.", label, func() float64 { return float64(use.Size) })
		m.gauge("varve_request_memory_bytes", "Memory taken by requests, by part.", label, func() float64 { return float64(memory()[p].Taken) })
		m.gauge("varve_request_memory_waiting", "Requests that wait for memory, by part.", label, func() float64 { return float64(memory()[p].Waiting) })
	}
}

// fetchSessions shows the fetch sessions, under Kafka's names.
func (m *metrics) fetchSessions(use func() session.Use) {
	m.gauge("varve_incremental_fetch_sessions", "Fetch sessions (Kafka's NumIncrementalFetchSessions).", nil, func() float64 { return float64(use().Sessions) })
	m.gauge("varve_incremental_fetch_partitions_cached", "Partitions in fetch sessions (Kafka's NumIncrementalFetchPartitionsCached).", nil, func() float64 { return float64(use().Partitions) })
	m.gauge("varve_incremental_fetch_session_bytes", "Memory taken by fetch sessions.", nil, func() float64 { return float64(use().Bytes) })
	m.counter("varve_incremental_fetch_session_evictions_total", "Fetch sessions dropped for others (Kafka's IncrementalFetchSessionEvictionsPerSec).", nil, func() float64 { return float64(use().Evictions) })
}

func (m *metrics) bus(b *announce.NATS) {
	m.gauge("varve_nats_connected", "1 while NATS is connected.", nil, func() float64 {
		if b.Stats().Connected {
			return 1
		}
		return 0
	})
	m.counter("varve_announcements_published_total", "Announcements handed to NATS.", nil, func() float64 { return float64(b.Stats().Published) })
	m.counter("varve_announcements_dropped_total", "Announcements dropped while NATS was away.", nil, func() float64 { return float64(b.Stats().Dropped) })
	m.counter("varve_announcements_received_total", "Announcements received.", nil, func() float64 { return float64(b.Stats().Received) })
}
