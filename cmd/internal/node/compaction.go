package node

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/compact"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// compaction is the step that compacts the partitions of a journal.
func (n *node) compaction(id uint32, j *dataJournal) *compact.Step {
	return compact.NewStep(compact.Options{
		State: j.state, Carry: j.leader.Carry, Scan: j.merger.Scan, Rewrite: j.merger.Compact, Page: n.readPage,
		Topic: n.compactedTopic, Now: time.Now, Round: n.retention.clocks.Round, Begins: n.retentionBegins, Log: n.log.With("journal", id),
		Secret: func() (s compact.Secret) {
			rand.Read(s[:]) // never fails: crypto/rand ends the process instead
			return s
		},
		Memory: n.cfg.CompactionMemory, JobBytes: n.cfg.MergeBytes, Every: min(15*time.Second, n.cfg.MergeAge),
		OnUnclean: n.onUnclean,
	})
}

// compactedTopic is how a topic is compacted; false if it is not.
func (n *node) compactedTopic(id segment.ID) (compact.Policy, bool) {
	t, ok := n.meta.TopicByID(id)
	if !ok || t.Deleting || !t.Values.Compact {
		return compact.Policy{}, false
	}
	v := &t.Values
	return compact.Policy{
		MinDirtyRatio: v.MinDirtyRatio, MinLag: milliseconds(v.MinCompactionLagMs), MaxLag: milliseconds(v.MaxCompactionLagMs),
		DeleteRetention: milliseconds(v.DeleteRetentionMs),
	}, true
}

// milliseconds is a duration, as long as there can be if it is longer.
func milliseconds(n int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(n, most)) * time.Millisecond
}

// compression is how a topic's configuration asks for batches to be stored; false if they
// stay as producers sent them.
func compression(v *topicconfig.Values) (codec batch.Codec, level int, asked bool) {
	switch v.Compression {
	case "uncompressed":
		return batch.None, 0, true
	case "gzip":
		return batch.Gzip, v.GzipLevel, true
	case "snappy":
		return batch.Snappy, 0, true
	case "lz4":
		return batch.LZ4, v.LZ4Level, true
	case "zstd":
		return batch.Zstd, v.ZstdLevel, true
	}
	return batch.None, 0, false
}

// onUnclean notes a partition whose compaction cannot be completed; nil: it was.
func (n *node) onUnclean(k partlog.Key, err error) {
	name := k.Topic.String()
	if t, ok := n.meta.TopicByID(k.Topic); ok {
		name = t.Name
	}
	about := fmt.Sprintf("compaction of %s-%d", name, k.Index)
	if err == nil {
		n.board.Clear(health.Tiering, about)
		return
	}
	n.board.Raise(health.Tiering, about, false, fmt.Sprintf("partition %d of topic %s is compacted only in part: %v; records with older values and tombstones stay until the records can be read, "+
		"\"varve bucket verify --records\" names them", k.Index, name, err))
}

// compaction shows what compaction does to a journal.
func (m *metrics) compaction(id uint32, s *compact.Step) {
	journal := journalLabel(id)
	for _, c := range []struct {
		name, help string
		of         func(compact.Stats) int64
	}{
		{"varve_compaction_passes_total", "Passes of log compaction that were completed.", func(s compact.Stats) int64 { return s.Passes }},
		{"varve_compaction_removed_records_total", "Records that log compaction left out.", func(s compact.Stats) int64 { return s.RecordsRemoved }},
		{"varve_compaction_before_bytes_total", "Bytes of records that log compaction wrote again, before.", func(s compact.Stats) int64 { return s.BytesBefore }},
		{"varve_compaction_after_bytes_total", "Bytes of records that log compaction wrote again, after.", func(s compact.Stats) int64 { return s.BytesAfter }},
		{"varve_compaction_failed_total", "Passes of log compaction that failed. Each begins again.", func(s compact.Stats) int64 { return s.Failed }},
		{"varve_compaction_unclean_total", "Passes of log compaction that met records which cannot be decoded.", func(s compact.Stats) int64 { return s.Unclean }},
	} {
		m.counter(c.name, c.help, journal, func() float64 { return float64(c.of(s.Stats())) })
	}
}
