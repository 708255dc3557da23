package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// Benchmark measures Create and Get of a small, a usual and a full segment, one
// call at a time and with four under way, as a journal's leader has them.
func Benchmark(b *testing.B, s objstore.Store) {
	var n atomic.Int64
	newKey := func() string { return fmt.Sprintf("journals/1/%020d", n.Add(1)) }
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 8 << 20} {
		data := randomBytes(size)
		name := fmt.Sprintf("%dKiB", size>>10)
		b.Run("Create/"+name, func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := s.Create(b.Context(), newKey(), objstore.Plain(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("Create/"+name+"/pipelined", func(b *testing.B) {
			b.SetBytes(int64(size))
			slots := make(chan error, 4)
			for range cap(slots) {
				slots <- nil
			}
			for b.Loop() {
				if err := <-slots; err != nil {
					b.Fatal(err)
				}
				go func() { slots <- s.Create(b.Context(), newKey(), objstore.Plain(data)) }()
			}
			for range cap(slots) {
				if err := <-slots; err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("Get/"+name, func(b *testing.B) {
			key := newKey()
			if err := s.Create(b.Context(), key, objstore.Plain(data)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := s.Get(b.Context(), key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
