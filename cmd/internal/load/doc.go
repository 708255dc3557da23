// Package load puts a Kafka cluster under load and measures the result. It
// measures how many records a second the cluster takes and returns. It also
// measures how long a record takes from the moment it was due until it was
// acknowledged and read.
//
// It owns the making of records, the pace, and the arithmetic of the figures.
// It promises that a figure counts only records that were acknowledged or read,
// and that a failed record ends the measurement with an error. Latencies are
// measured from when a record was due by the plan, however late it was sent: a
// cluster that stalls cannot hide it by slowing its client.
//
// It knows nothing of varve: the caller passes in clients, of any broker. It
// never makes, changes or deletes a topic.
package load

import (
	"sync/atomic"
	"time"
)

// Progress is the progress of a measurement, for a watcher to read during it.
type Progress struct {
	Records, Bytes atomic.Int64
}

func (p *Progress) add(records, bytes int64) {
	p.Records.Add(records)
	p.Bytes.Add(bytes)
}

// Rate is the throughput of a period.
type Rate struct {
	Records          int64   `json:"records"`
	Bytes            int64   `json:"bytes"` // of keys and values
	Seconds          float64 `json:"seconds"`
	RecordsPerSecond float64 `json:"records_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
}

func (p *Progress) rate(took time.Duration) Rate {
	r := Rate{Records: p.Records.Load(), Bytes: p.Bytes.Load(), Seconds: took.Seconds()}
	if took > 0 {
		r.RecordsPerSecond = float64(r.Records) / r.Seconds
		r.BytesPerSecond = float64(r.Bytes) / r.Seconds
	}
	return r
}
