package fetch

import (
	"runtime"
	"strings"
	"testing"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
)

// TestReplayAllocatesLittle replays a log that is larger than the cache, as twelve
// partitions, and counts the bytes that are allocated for each byte served. The first
// replay fills the pool.
func TestReplayAllocatesLittle(t *testing.T) {
	w := newWorld(t, nil, func(w *world) objstore.Store { return inPlace{w: w} })
	w.far, w.memory = true, cache.MinBytes
	w.restart(nil)
	const partitions, objects = 12, 25
	object := map[partlog.Key][][]byte{}
	for i := range int32(partitions) {
		k := partlog.Key{Topic: testTopic, Index: i}
		for range 6 {
			object[k] = append(object[k], batchOf(1, strings.Repeat("x", 32<<10)))
		}
	}
	for range objects { // 58 MB
		w.commit(object)
	}
	replay := func() (served int64) {
		var offsets [partitions]int64
		for more := true; more; {
			req := Request{MinBytes: 1, MaxBytes: 50 << 20}
			for i, offset := range offsets {
				p := want(partlog.Key{Topic: testTopic, Index: int32(i)}, offset)
				p.MaxBytes = 256 << 10
				req.Partitions = append(req.Partitions, p)
			}
			r := w.reader.Fetch(t.Context(), req)
			more = false
			for i := range r.Results {
				var bytes int64
				for _, b := range r.Results[i].Records {
					bytes += int64(len(b))
				}
				// All batches have the same size.
				offsets[i] += bytes / int64(len(w.log[keyA][0]))
				served, more = served+bytes, more || bytes > 0
			}
			r.Release()
		}
		return served
	}
	replay()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	served := replay()
	runtime.ReadMemStats(&after)
	if all := int64(objects) * partitions * 6 * int64(len(w.log[keyA][0])); served != all {
		t.Fatalf("served %d bytes of %d", served, all)
	}
	bytes, objectsOf := float64(after.TotalAlloc-before.TotalAlloc)/float64(served), float64(after.Mallocs-before.Mallocs)/float64(served>>20)
	t.Logf("%.3f bytes are allocated for each byte, and %.0f objects for each MiB", bytes, objectsOf)
	// Some GETs at the start and at the end are of sizes that are rare.
	if bytes > 0.25 || objectsOf > 450 {
		t.Errorf("%.3f bytes are allocated for each byte, and %.0f objects for each MiB", bytes, objectsOf)
	}
	if s := w.reader.cfg.Cache.Replays(); s.Read < 2*served*9/10 {
		t.Errorf("%d bytes were read for two replays of %d", s.Read, served)
	}
}
