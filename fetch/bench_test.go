package fetch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// BenchmarkFetchHot reads records that are in memory: one partition, up to the limit, in
// batches of 16 KiB.
func BenchmarkFetchHot(b *testing.B) {
	for _, leader := range []bool{false, true} {
		for _, limit := range []int32{16 << 10, 1 << 20, 8 << 20} {
			name := "cache"
			if leader {
				name = "leader"
			}
			b.Run(fmt.Sprintf("%s/%dKiB", name, limit>>10), func(b *testing.B) {
				w := newInPlaceWorld(b)
				value := strings.Repeat("x", 16<<10-100)
				var batches [][]byte
				for range 512 {
					batches = append(batches, batchOf(1, value))
				}
				seq := w.commit(map[partlog.Key][][]byte{keyA: batches})
				if leader {
					recent := NewRecent(testJournal, 64<<20)
					recent.Add(seq, inMemory(w.objects[seq]))
					w.view.Tail = recent
				}
				p := want(keyA, 0)
				p.MaxBytes = limit
				req := request(p)
				var bytes int64
				for _, piece := range w.fetch(req)[0].Records {
					bytes += int64(len(piece))
				}
				b.SetBytes(bytes)
				b.ReportAllocs()
				for b.Loop() {
					r := w.reader.Fetch(b.Context(), req)
					if r.Results[0].Err != nil || len(r.Results[0].Records) == 0 {
						b.Fatal(r.Results[0].Err)
					}
					r.Release()
				}
			})
		}
	}
}

// BenchmarkFetchManyPartitions polls 1000 partitions of which one object holds a
// batch each.
func BenchmarkFetchManyPartitions(b *testing.B) {
	for _, idle := range []bool{false, true} {
		name := "a batch each"
		if idle {
			name = "idle"
		}
		b.Run(name, func(b *testing.B) {
			w := newInPlaceWorld(b)
			object := map[partlog.Key][][]byte{}
			req := Request{MinBytes: 0, MaxBytes: 50 << 20}
			for i := range int32(1000) {
				k := partlog.Key{Topic: testTopic, Index: i}
				object[k] = [][]byte{batchOf(1, "value")}
				p := want(k, 0)
				if idle {
					p.Offset = 1
				}
				req.Partitions = append(req.Partitions, p)
			}
			w.commit(object)
			w.fetch(req)
			b.ReportAllocs()
			for b.Loop() {
				w.reader.Fetch(b.Context(), req).Release()
			}
		})
	}
}

// BenchmarkFetchSequential consumes a partition with one batch in each of many
// objects, all of it in memory; the extents are in the state or in
// pages.
func BenchmarkFetchSequential(b *testing.B) {
	for _, size := range []int{100, 10_000, 100_000} {
		for _, paged := range []bool{false, true} {
			name := "in memory"
			if paged {
				name = "paged"
			}
			b.Run(fmt.Sprintf("batches of %d bytes/%s", size, name), func(b *testing.B) {
				w := newInPlaceWorld(b)
				value := strings.Repeat("x", size)
				const objects = 400
				for range objects {
					w.values(value)
				}
				if paged {
					w.page(1)
				}
				b.SetBytes(int64(objects * size))
				b.ReportAllocs()
				for b.Loop() {
					for offset := int64(0); offset < objects; {
						p := want(keyA, offset)
						r := w.fetch(request(p))[0]
						for _, piece := range r.Records {
							if err := batch.Walk(piece, func(_ int, h batch.Header) error { offset = h.LastOffset() + 1; return nil }); err != nil {
								b.Fatal(err)
							}
						}
						if r.Err != nil || len(r.Records) == 0 {
							b.Fatal(r.Err)
						}
					}
				}
			})
		}
	}
}
