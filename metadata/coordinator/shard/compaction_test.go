package shard

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestCompactionModel lets a compactor remove records and tombstones at any moment, while
// coordinators load from new and old snapshots, write, lose answers and read. It compares
// each read with the last values of the plain log.
func TestCompactionModel(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: runCompaction, Must: []string{
		"tombstone removed", "tombstone removed while a scan is under way", "read answered", "loaded from a snapshot", "restarted",
	}}, 400, 400)
}

// lastValues is a Machine with the last value of each key.
type lastValues struct {
	kept  map[string]string
	onLed func()
}

func (m *lastValues) Apply(_ coordinator.Position, r coordinator.Record) error {
	if r.Value == nil {
		delete(m.kept, string(r.Key))
	} else {
		m.kept[string(r.Key)] = string(r.Value)
	}
	return nil
}

func (m *lastValues) Snapshot() []byte {
	var b bytes.Buffer
	for _, k := range slices.Sorted(maps.Keys(m.kept)) {
		fmt.Fprintf(&b, "%s %s\n", k, m.kept[k])
	}
	return b.Bytes()
}

func (m *lastValues) Restore(snapshot []byte) error {
	m.kept = map[string]string{}
	for line := range strings.Lines(string(snapshot)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		m.kept[key] = value
	}
	return nil
}

func (m *lastValues) Lead(coordinator.Out)                      { m.onLed() }
func (m *lastValues) Resign(error)                              {}
func (m *lastValues) Tick(coordinator.Out)                      {}
func (m *lastValues) Next() time.Time                           { return time.Time{} }
func (m *lastValues) TopicsDeleted(coordinator.Out, [][16]byte) {}

// compacted is the World of a Core, and the partition's log with all that was removed.
type compacted struct {
	*seeded.T
	rng       *rand.Rand // of the step
	now       time.Time
	log       []logged
	removed   [2]int64
	core      *Core
	machine   *lastValues
	outbox    []sent
	scan      *scanned // under way
	published []Snapshot
}

// logged is a record that was committed.
type logged struct {
	batch.Record
	gone bool
}

type scanned struct{ next, end int64 }

func (w *compacted) Now() time.Time                  { return w.now }
func (w *compacted) TopicGone(string, [16]byte) bool { return false }
func (w *compacted) AppendEnd() (int64, bool)        { return int64(len(w.log)), true }
func (w *compacted) Committed() (int64, bool)        { return int64(len(w.log)), true }
func (w *compacted) Compacted() (int64, int64)       { return w.removed[0], w.removed[1] }
func (w *compacted) Trouble(error)                   {}
func (w *compacted) Scan(from int64)                 { w.scan = &scanned{from, int64(len(w.log))} }
func (w *compacted) Publish(s Snapshot)              { w.published = append(w.published, s) }
func (w *compacted) Append(token uint64, data []byte, h batch.Header) {
	w.outbox = append(w.outbox, sent{token, data, h})
}

func runCompaction(t *seeded.T, _ struct{}) {
	w := &compacted{T: t, now: time.Unix(1, 0)}
	w.start(Snapshot{})
	t.Steps(150, w.step)
	for range 1000 { // until it leads, and has all
		if w.core.Phase() == Ended {
			t.Fatal(w.core.Failed())
		}
		if w.core.Phase() == Leading && w.core.Applied() == int64(len(w.log)) && w.scan == nil {
			w.check("at the end")
			return
		}
		w.burst(func() { w.core.doubt() })
		w.commit(false)
		w.page(false)
	}
	t.Fatalf("it does not get to the end: applied %d of %d", w.core.Applied(), len(w.log))
}

func (w *compacted) start(from Snapshot) {
	w.machine = &lastValues{map[string]string{}, func() { w.check("leading") }}
	core, err := NewCore(w.machine, from, w)
	if err != nil {
		w.Fatal(err)
	}
	w.core, w.scan, w.outbox = core, nil, nil
	core.Start()
}

func (w *compacted) burst(event func()) {
	w.now = w.now.Add(time.Minute)
	w.core.lastPublished = -publishAfter // publish whenever it may
	w.core.Burst([]func(){event})
}

func (w *compacted) step(rng *rand.Rand) {
	w.rng = rng
	if err := w.core.Failed(); err != nil {
		w.Fatal(err)
	}
	switch n := rng.IntN(20); {
	case n < 4:
		w.burst(w.write)
	case n < 7:
		w.commit(rng.IntN(5) == 0)
	case n < 12:
		w.page(rng.IntN(10) == 0)
	case n < 15:
		w.compact()
	case n < 16: // another leader's
		w.log = append(w.log, logged{Record: w.record()})
	case n < 19:
		w.burst(w.read)
	default:
		from := Snapshot{}
		if n := len(w.published); n > 0 && rng.IntN(4) > 0 {
			from = w.published[n-1-rng.IntN(min(n, 4))]
			w.Count("loaded from a snapshot")
		}
		w.start(from)
	}
}

func (w *compacted) record() batch.Record {
	r := batch.Record{Timestamp: 1, Key: fmt.Appendf(nil, "k%d", w.rng.IntN(4))}
	if w.rng.IntN(3) > 0 {
		r.Value = fmt.Appendf(nil, "v%d", len(w.log))
	}
	return r
}

func (w *compacted) write() {
	r := w.record()
	w.core.Do(func(out coordinator.Out, err error) {
		if err == nil {
			out.Append([]coordinator.Record{{Key: r.Key, Value: r.Value}}, func(coordinator.Out, error) {})
		}
	})
}

// commit commits the oldest append, or loses it if the answer is lost, too.
func (w *compacted) commit(lose bool) {
	if len(w.outbox) == 0 {
		return
	}
	s := w.outbox[0]
	w.outbox = w.outbox[1:]
	base, err := int64(len(w.log)), error(nil)
	if lose {
		err = coordinator.ErrUnavailable
	}
	if !lose || w.rng.IntN(2) == 0 {
		_ = batch.Records(s.data, maxRecord, func(r batch.Record) bool {
			w.log = append(w.log, logged{Record: batch.Record{Timestamp: 1, Key: clone(r.Key), Value: clone(r.Value)}})
			return true
		})
	}
	w.burst(func() { w.core.Appended(s.token, base, err) })
}

// page goes on with the scan: a few records as the log has them now, or its end.
func (w *compacted) page(fail bool) {
	s := w.scan
	switch {
	case s == nil:
	case fail:
		w.scan = nil
		w.burst(func() { w.core.ScanDone(0, errors.New("away")) })
	case s.next >= s.end:
		w.scan = nil
		before := w.core.Applied()
		w.burst(func() { w.core.ScanDone(s.end, nil) })
		if w.core.Applied() < before {
			w.Count("restarted")
		}
	default:
		var page []byte
		for range 3 {
			if s.next < s.end && !w.log[s.next].gone {
				r := w.log[s.next]
				page = append(page, batchtest.Build(batchtest.Spec{BaseOffset: s.next, Records: []batchtest.Record{
					{Key: r.Key, Value: r.Value, Timestamp: 1},
				}})...)
			}
			s.next++
		}
		w.burst(func() { _ = w.core.Scanned(page) })
	}
}

// compact removes records below a random offset: those with a later one of their key there,
// and tombstones of keys that have no earlier record left. The last record stays.
func (w *compacted) compact() {
	if len(w.log) == 0 {
		return
	}
	w.removed[0] = max(w.removed[0], w.rng.Int64N(int64(len(w.log))))
	last := map[string]int64{}
	for i := range w.removed[0] {
		last[string(w.log[i].Key)] = i
	}
	earlier := map[string]bool{}
	for i := range w.removed[0] {
		r := &w.log[i]
		switch key := string(r.Key); {
		case r.gone:
		case last[key] > i && w.rng.IntN(4) > 0:
			r.gone = true
		case r.Value == nil && !earlier[key] && last[key] == i && w.rng.IntN(2) == 0:
			w.removed[1] = max(w.removed[1], i+1)
			r.gone = true
			w.Count("tombstone removed")
			if w.scan != nil {
				w.Count("tombstone removed while a scan is under way")
			}
		default:
			earlier[key] = true
		}
	}
}

func (w *compacted) read() {
	w.core.Read(func(_ coordinator.Out, err error) {
		if err == nil {
			w.Count("read answered")
			w.check("a read")
		}
	})
}

// check compares the machine with the last values of the log as far as it is applied.
func (w *compacted) check(what string) {
	want := &lastValues{kept: map[string]string{}}
	for _, r := range w.log[:w.core.Applied()] {
		_ = want.Apply(coordinator.Position{}, coordinator.Record{Key: r.Key, Value: r.Value})
	}
	if !maps.Equal(want.kept, w.machine.kept) {
		w.Fatalf("%s after %d of %d records: %v, want %v", what, w.core.Applied(), len(w.log), w.machine.kept, want.kept)
	}
}
