package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestMergedModel merges and compacts partitions at random, deletes replaced objects at
// once, and reads from a leader and from a follower that lags. It compares all answers with
// a plain list of the records.
func TestMergedModel(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: runMerged, Must: []string{
		"merged", "merged again", "compacted", "paged", "deleted records", "follower", "object deleted",
		"answer from a merged segment", "looked again", "read to the end", "time found",
	}}, 100, 20)
}

// record is one of the plain list.
type record struct {
	offset, ts int64
	value      string
	gone       bool // a compaction removed it, or it is deleted: a reader may still get it
}

// mergedModel is a world with a list of all records that there ever were.
type mergedModel struct {
	*world
	t       *seeded.T
	rng     *rand.Rand // of the step
	keys    []partlog.Key
	records map[partlog.Key][]record
	starts  map[partlog.Key]int64
	damaged int
}

func runMerged(t *seeded.T, _ struct{}) {
	m := &mergedModel{t: t, records: map[partlog.Key][]record{}, starts: map[partlog.Key]int64{}, keys: []partlog.Key{keyA, keyB}}
	m.world = newWorld(t, func(c *Config) { c.OnDamaged = func(Damage) { m.damaged++ } })
	m.memory = 16 << 20
	m.far = t.Rand.IntN(2) == 0
	m.restart(func(c *Config) { c.OnDamaged = func(Damage) { m.damaged++ } })
	defer func() { m.reader.cfg.Cache.Close() }()
	m.rng = t.Rand
	m.write()
	t.Steps(80, m.step)
	if m.damaged > 0 {
		t.Fatalf("%d reports of damage", m.damaged)
	}
}

func (m *mergedModel) step(rng *rand.Rand) {
	m.rng = rng
	k := m.keys[rng.IntN(len(m.keys))]
	switch n := rng.IntN(24); {
	case n < 5:
		m.write()
	case n < 8:
		m.mergeFirst()
	case n < 10:
		m.mergeAgain(k, rng.IntN(2) == 0)
	case n == 10 && m.ahead == nil:
		if m.page(1+rng.IntN(3)) != "" {
			m.t.Count("paged")
		}
	case n == 11:
		m.deleteRecords(k)
	case n == 12 && m.ahead == nil:
		m.follow()
		m.t.Count("follower")
	case n == 13 && m.ahead != nil:
		m.catchUp(rng.IntN(len(m.behind) + 1))
	case n < 16:
		before := len(m.others)
		m.deleteUnnamed()
		if len(m.others) < before {
			m.t.Count("object deleted")
		}
	case n < 20:
		m.fetchSome()
	case n == 20:
		m.readToEnd(k)
	case n == 21:
		m.scanSome(k)
	default:
		m.findTime(k)
	}
}

// write commits an object with a few batches of each partition.
func (m *mergedModel) write() {
	if m.rng.IntN(6) == 0 {
		m.fence()
	}
	object := map[partlog.Key][][]byte{}
	for _, k := range m.keys {
		next := m.ends[k]
		for range 1 + m.rng.IntN(3) {
			s := batchtest.Spec{Codec: []batch.Codec{batch.None, batch.Zstd, batch.LZ4}[m.rng.IntN(3)]}
			for range 1 + m.rng.IntN(4) {
				value, ts := fmt.Sprint(k.Index, ":", next), 1+m.rng.Int64N(60)
				if m.rng.IntN(20) == 0 {
					value += strings.Repeat("x", 700<<10)
				}
				s.Records = append(s.Records, batchtest.Record{Value: []byte(value), Timestamp: ts})
				m.records[k] = append(m.records[k], record{offset: next, ts: ts, value: value})
				next++
			}
			object[k] = append(object[k], batchtest.Build(s))
		}
	}
	m.commit(object)
}

// mergeFirst merges journal objects of both partitions into a shared segment, up to a
// batch that ends an object.
func (m *mergedModel) mergeFirst() {
	var parts []merging
	for _, k := range m.keys {
		merged, _ := m.leader().Compacted(k)
		view, _ := m.leader().Lookup(k)
		from := merged
		if view.Start > merged {
			if extents := m.extentsIn(k, view.Start, view.Start+1); len(extents) > 0 {
				from = extents[0].Base
			}
		}
		extents := m.extentsIn(k, max(from, view.Start), view.End)
		if len(extents) == 0 || m.rng.IntN(3) == 0 {
			continue
		}
		to := extents[m.rng.IntN(len(extents))].Last + 1
		if p := (merging{k, from, to}); len(m.batchesIn(p)) > 0 {
			parts = append(parts, p)
		}
	}
	if len(parts) > 0 {
		m.merge(len(parts) == 1 && m.rng.IntN(2) == 0, parts...)
		m.t.Count("merged")
	}
}

// mergeAgain merges neighbouring extents below the merged offset into an own segment, and
// may remove records of them.
func (m *mergedModel) mergeAgain(k partlog.Key, compact bool) {
	merged, _ := m.leader().Compacted(k)
	view, _ := m.leader().Lookup(k)
	extents := m.extentsIn(k, view.Start, merged)
	if len(extents) == 0 {
		return
	}
	first := m.rng.IntN(len(extents))
	last := min(len(extents)-1, first+m.rng.IntN(4))
	p := merging{k, extents[first].Base, extents[last].Last + 1}
	if compact {
		before := slices.Clone(m.log[k])
		m.compact(p, m.rng, 0.4)
		if len(m.batchesIn(p)) == 0 {
			m.log[k] = before
			return
		}
		m.forgetRemoved(k)
		m.t.Count("compacted")
	}
	if len(m.batchesIn(p)) > 0 {
		m.merge(true, p)
		m.t.Count("merged again")
	}
}

// forgetRemoved marks the records that the log has no more.
func (m *mergedModel) forgetRemoved(k partlog.Key) {
	left := map[int64]bool{}
	for _, b := range m.log[k] {
		_ = batch.Records(b, 8<<20, func(r batch.Record) bool { left[r.Offset] = true; return true })
	}
	for i := range m.records[k] {
		r := &m.records[k][i]
		r.gone = r.gone || !left[r.offset]
	}
}

func (m *mergedModel) deleteRecords(k partlog.Key) {
	start := m.starts[k] + m.rng.Int64N(max(1, (m.ends[k]-m.starts[k])/3))
	m.deleteBefore(k, start)
	m.starts[k] = start
	for i := range m.records[k][:start] {
		m.records[k][i].gone = true
	}
	m.t.Count("deleted records")
}

// check holds the records of an answer to a read from an offset on against the list. It
// returns the offset after the last batch.
func (m *mergedModel) check(k partlog.Key, from int64, b []byte) int64 {
	next, got := from, map[int64]bool{}
	err := batch.Walk(b, func(pos int, h batch.Header) error {
		next = h.LastOffset() + 1
		return batch.Records(b[pos:], 8<<20, func(r batch.Record) bool {
			if want := m.records[k][r.Offset]; want.value != string(r.Value) || want.ts != r.Timestamp {
				m.t.Fatalf("%v: offset %d has %.20q at %d, want %.20q at %d", k.Index, r.Offset, r.Value, r.Timestamp, want.value, want.ts)
			}
			got[r.Offset] = true
			return true
		})
	})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range m.records[k][from:next] {
		if !r.gone && !got[r.offset] {
			m.t.Fatalf("%v: an answer from offset %d to %d lacks the record of offset %d", k.Index, from, next, r.offset)
		}
	}
	return next
}

// has reports whether the list has a record in a range that is not gone.
func (m *mergedModel) has(k partlog.Key, from, to int64) bool {
	return slices.ContainsFunc(m.records[k], func(r record) bool { return !r.gone && r.offset >= from && r.offset < to })
}

func (m *mergedModel) fetchSome() {
	var req Request
	req.MaxBytes = 50 << 20
	for _, i := range m.rng.Perm(len(m.keys)) {
		p := want(m.keys[i], m.offset(m.keys[i]))
		p.MaxBytes = []int32{1, 300, 5000, 1 << 20, 10 << 20}[m.rng.IntN(5)]
		req.Partitions = append(req.Partitions, p)
	}
	proofs := m.prover.calls.Load()
	first := true // no partition before has records
	for i, r := range m.fetch(req) {
		p := req.Partitions[i]
		if r.Err != nil {
			m.t.Fatalf("%v from offset %d, start %d: %v", p.Key.Index, p.Offset, m.starts[p.Key], r.Err)
		}
		b := bytes.Join(r.Records, nil)
		m.check(p.Key, p.Offset, b)
		if m.has(p.Key, p.Offset, r.HighWatermark) && (first || len(b) > 0) && !useful(b, p.Offset) {
			m.t.Fatalf("%v: an answer of %d bytes from offset %d has no record", p.Key.Index, len(b), p.Offset)
		}
		first = first && len(b) == 0
	}
	if m.prover.calls.Load() > proofs {
		m.t.Count("looked again")
	}
	if e := m.extentsIn(req.Partitions[0].Key, req.Partitions[0].Offset, req.Partitions[0].Offset+1); len(e) > 0 && e[0].Object.Kind == segment.KindMerged {
		m.t.Count("answer from a merged segment")
	}
}

// offset draws one to read from, often that of a record that is gone.
func (m *mergedModel) offset(k partlog.Key) (offset int64) {
	for range 4 {
		offset = m.starts[k] + m.rng.Int64N(m.ends[k]-m.starts[k]+1)
		if offset < m.ends[k] && m.records[k][offset].gone {
			return offset
		}
	}
	return offset
}

// useful reports whether batches have a record at an offset or after it.
func useful(b []byte, offset int64) (found bool) {
	_ = batch.Walk(b, func(pos int, _ batch.Header) error {
		return batch.Records(b[pos:], 8<<20, func(r batch.Record) bool { found = found || r.Offset >= offset; return true })
	})
	return found
}

// readToEnd reads a partition as a consumer does, while it is merged away and deleted.
func (m *mergedModel) readToEnd(k partlog.Key) {
	limit := []int32{2000, 1 << 20, 20 << 20}[m.rng.IntN(3)]
	for offset := m.starts[k]; offset < m.ends[k]; {
		p := want(k, max(offset, m.starts[k]))
		p.MaxBytes = limit
		r := m.fetchOne(p)
		if r.Err != nil {
			m.t.Fatalf("%v from offset %d: %v", k.Index, p.Offset, r.Err)
		}
		next := m.check(k, p.Offset, bytes.Join(r.Records, nil))
		switch {
		case next > offset:
			offset = next
		case m.ahead != nil && r.HighWatermark < m.ends[k]:
			m.catchUp(len(m.behind))
		default:
			m.t.Fatalf("%v: no progress at offset %d of %d", k.Index, offset, m.ends[k])
		}
		if m.rng.IntN(3) == 0 {
			m.mergeFirst()
			m.mergeAgain(k, m.rng.IntN(2) == 0)
			m.deleteUnnamed()
		}
	}
	m.t.Count("read to the end")
}

func (m *mergedModel) scanSome(k partlog.Key) {
	from := m.starts[k] + m.rng.Int64N(m.ends[k]-m.starts[k]+1)
	var b []byte
	next, err := m.reader.Scan(m.t.Context(), k, from, func(_ batch.Header, batch []byte) error {
		if m.rng.IntN(10) == 0 {
			m.mergeFirst()
			m.deleteUnnamed()
		}
		b = append(b, batch...)
		return nil
	})
	if err != nil || next != m.ends[k] {
		m.t.Fatalf("scan of %v from offset %d ends at %d of %d: %v", k.Index, from, next, m.ends[k], err)
	}
	if m.check(k, from, b); m.has(k, from, next) && !useful(b, from) {
		m.t.Fatalf("scan of %v from offset %d gives nothing", k.Index, from)
	}
}

// findTime looks for a time, and for the greatest one.
func (m *mergedModel) findTime(k partlog.Key) {
	ts := m.rng.Int64N(64) - 1
	if ts < 1 {
		ts = MaxTimestamp
	}
	at, err := m.reader.Offsets().ListOffset(m.t.Context(), k, -1, ts)
	if err != nil && !errors.Is(err, ErrNotReady) {
		m.t.Fatalf("time %d of %v: %v", ts, k.Index, err)
	}
	if at != nowhere {
		if r := m.records[k][at.Offset]; r.ts != at.Timestamp || ts > r.ts {
			m.t.Fatalf("time %d of %v: offset %d has time %d, not %d", ts, k.Index, at.Offset, r.ts, at.Timestamp)
		}
		m.t.Count("time found")
	}
	for _, r := range m.records[k] {
		better := ts == MaxTimestamp && (r.ts > at.Timestamp || r.ts == at.Timestamp && r.offset < at.Offset) ||
			ts != MaxTimestamp && r.ts >= ts && (at == nowhere || r.offset < at.Offset)
		if !r.gone && better {
			m.t.Fatalf("time %d of %v: %+v, but offset %d has time %d", ts, k.Index, at, r.offset, r.ts)
		}
	}
}
