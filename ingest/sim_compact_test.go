package ingest

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"slices"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/compact"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/upkeep"
)

// simKeys is how many keys the records of a compacted topic have.
const simKeys = 5

// compacted reports whether a topic is compacted.
func (c *cluster) compacted(id segment.ID) bool {
	return c.shape.Upkeep.Compact && id[0] == simTopics && id[1]%2 == 1
}

// records makes the records of a producer's next batch. Those of a compacted topic have few
// keys, and some are tombstones. Each has a header that no other has.
func (p *producer) records(n int, pad string) []batchtest.Record {
	c := p.c
	records := make([]batchtest.Record, n)
	for i := range records {
		name := fmt.Sprintf("%s#%d.%d", p.name, p.serial, i)
		records[i] = batchtest.Record{Value: []byte(name + pad), Timestamp: c.Now().UnixMilli()}
		if !c.compacted(p.key.Topic) {
			continue
		}
		records[i].Key = fmt.Appendf(nil, "key %d", c.Rand.Intn(simKeys))
		records[i].Headers = []batchtest.Header{{Key: "name", Value: []byte(name)}}
		if c.Rand.Intn(4) == 0 {
			records[i].Value = nil
		}
	}
	return records
}

// compactStep compacts.
func (u *simUpkeep) compactStep() upkeep.Run {
	n, c := u.n, u.n.f.c
	s := &c.shape.Upkeep
	if !s.Compact {
		return quiet
	}
	step := compact.NewStep(compact.Options{
		State: n.state, Carry: u.Carry, Scan: u.merger.Scan, Rewrite: u.merger.Compact, Page: u.page, Now: u.Now,
		Round: u.clocks.Round,
		Topic: func(id segment.ID) (compact.Policy, bool) {
			return compact.Policy{MinDirtyRatio: 0.2, DeleteRetention: s.Grace}, c.compacted(id) && n.view.topic(id).exists() && !n.view.topic(id).deleted
		},
		Secret: func() (secret compact.Secret) { return secret },
		Memory: s.Keys, JobBytes: s.Merge.JobBytes, Every: s.Pause,
		OnUnclean: func(partlog.Key, error) {},
		Log:       slog.New(slog.DiscardHandler),
	})
	return step.Run
}

// simRecord is a record of the log, as it was acknowledged.
type simRecord struct {
	offset int64
	batch.Record
}

// all returns the records of a partition, in offset order. The slice is shared: callers must
// not change it.
func (t *truth) all(k partlog.Key) []simRecord {
	d := &decoded{}
	if known := t.decoded[k]; known != nil {
		d = known
	}
	t.decoded[k] = d
	for _, p := range t.log[k][d.batches:] {
		err := batch.Records(p.a.data, 1<<20, func(r batch.Record) bool {
			d.records = append(d.records, simRecord{p.base + r.Offset, batch.Record{
				Offset: r.Offset, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value),
			}})
			return true
		})
		if err != nil {
			t.w.Fail("decode a batch of %s: %w", p.a.producer.name, err)
		}
	}
	d.batches = len(t.log[k])
	return d.records
}

// decoded are the records of so many batches of a partition.
type decoded struct {
	batches int
	records []simRecord
}

// found returns the offsets of the records in batches of a compacted log. Each must be as it
// was acknowledged.
func (t *truth) found(who string, k partlog.Key, b []byte) (offsets []int64) {
	all := t.all(k)
	err := batch.Walk(b, func(pos int, h batch.Header) error {
		return batch.Records(b[pos:pos+h.Size()], 1<<20, func(r batch.Record) bool {
			i, _ := slices.BinarySearchFunc(all, r.Offset, func(x simRecord, offset int64) int { return cmp.Compare(x.offset, offset) })
			all = all[i:]
			if len(all) == 0 || all[0].offset != r.Offset || all[0].Timestamp != r.Timestamp || !equal(all[0].Key, r.Key) || !equal(all[0].Value, r.Value) {
				t.w.Fail("%s: offset %d of %v has another record than was acknowledged there", who, r.Offset, k)
				return false
			}
			offsets = append(offsets, r.Offset)
			return true
		})
	})
	if err != nil {
		t.w.Fail("%s: batches of %v: %w", who, k, err)
	}
	return offsets
}

// equal compares values, of which nil is not an empty one.
func equal(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// checkCompacted reads the merged part of a compacted log: of each key the last record, or
// none if that is a tombstone that may be missing.
func (a *archive) checkCompacted(who string, s *partlog.Survey) {
	there := map[int64]bool{}
	for i := range s.Segments {
		e := &s.Segments[i]
		if e.Object.Kind != segment.KindMerged || a.store.Rotten(e.Object.Key()) {
			return // damage is gone around
		}
		if _, known := a.offsets[*e]; !known {
			b := a.store.Object(e.Object.Key())
			if int64(len(b)) < int64(e.Position)+int64(e.Length) {
				a.t.w.Fail("%s: %s is not there", who, e.Object.Key())
				return
			}
			a.offsets[*e] = a.t.found(who, s.Key, b[e.Position:e.Position+e.Length])
		}
		for _, offset := range a.offsets[*e] {
			there[offset] = true
		}
	}
	last, read := map[string]simRecord{}, map[string]simRecord{}
	missing := 0
	for _, r := range a.t.all(s.Key) {
		if r.offset >= s.Merged || r.offset < s.View.Start {
			continue
		}
		last[string(r.Key)] = r
		if there[r.offset] {
			read[string(r.Key)] = r
		} else {
			missing++
		}
	}
	if missing > 0 {
		a.t.w.Count("log with gaps read")
	}
	for key, want := range last {
		got, ok := read[key]
		gone := want.Value == nil && want.offset < s.TombstonesBelow && !ok
		if !gone && (!ok || got.offset != want.offset) {
			a.t.w.Fail("%s: %s of %v has its last record at offset %d, and %v, offset %d is read; tombstones may be missing below %d",
				who, key, s.Key, want.offset, ok, got.offset, s.TombstonesBelow)
		}
	}
}
