package buffer

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestMemoryIsUsedAgainAfterTheLastRelease(t *testing.T) {
	p := NewPool(1 << 20)
	b := p.Get(5000)
	first := &b.Bytes()[0]
	b.Retain().Release()
	if other := p.Get(5000); &other.Bytes()[0] == first {
		t.Fatal("memory with a holder was given out")
	}
	b.Release()
	if p.Free() == 0 {
		t.Fatal("nothing came back")
	}
	if again := p.Get(5001); &again.Bytes()[0] != first || len(again.Bytes()) != 5001 {
		t.Errorf("%d bytes of other memory", len(again.Bytes()))
	}
}

func TestMisusePanics(t *testing.T) {
	for name, misuse := range map[string]func(*Buffer){
		"release":            func(b *Buffer) { b.Release() },
		"retain":             func(b *Buffer) { b.Retain() },
		"read":               func(b *Buffer) { b.Bytes() },
		"retain and release": func(b *Buffer) { b.Retain().Release() },
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPool(1 << 20)
			b := p.Get(1000)
			b.Release()
			holder := p.Get(1000) // has the memory now
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				if len(holder.Bytes()) != 1000 {
					t.Error("the next holder lost the memory")
				}
			}()
			misuse(b)
		})
	}
}

func TestNothingIsKeptOfASizeWithoutClass(t *testing.T) {
	p := NewPool(1 << 40)
	for _, n := range []int{0, 1, smallest - 1, 128<<20 + 1} {
		b := p.Get(n)
		if len(b.Bytes()) != n || p.InUse() != int64(n) {
			t.Errorf("%d bytes, %d in use, want %d", len(b.Bytes()), p.InUse(), n)
		}
		b.Release()
		if p.Free() != 0 || p.InUse() != 0 {
			t.Errorf("%d bytes: %d free, %d in use", n, p.Free(), p.InUse())
		}
	}
	var none *Pool
	b := none.Get(1000)
	if len(b.Bytes()) != 1000 {
		t.Error("a nil pool gives nothing")
	}
	b.Release()
	var nothing *Buffer
	nothing.Retain().Release()
}

func TestClassesHoldTheirSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(smallest, 128<<20).Draw(t, "n")
		class, size := classOf(n)
		if class < 0 || class >= classes || size < n || (size-n)*9 >= size {
			t.Fatalf("%d bytes are of class %d with %d bytes", n, class, size)
		}
		if c, s := classOf(size); c != class || s != size {
			t.Fatalf("class %d has %d bytes, and those are class %d with %d", class, size, c, s)
		}
		if c, _ := classOf(size + 1); c != class+1 && size < 128<<20 {
			t.Fatalf("class %d comes after class %d", c, class)
		}
	})
}

// The runtime places large memory so.
func TestLargeBuffersBeginAtAPage(t *testing.T) {
	p := NewPool(1 << 30)
	for n := 32 << 10; n < 32<<20; n += n/3 + 1 {
		b := p.Get(n)
		if at := uintptr(unsafe.Pointer(&b.Bytes()[0])); at%4096 != 0 {
			t.Errorf("%d bytes are at %#x", n, at)
		}
		b.Release()
	}
}

func TestFreeBytesAreBounded(t *testing.T) {
	p := NewPool(100 << 10)
	fill := func(n, size int) {
		var held []*Buffer
		for range n {
			held = append(held, p.Get(size))
		}
		for _, b := range held {
			b.Release()
		}
	}
	fill(1000, 4<<10)
	if p.Free() != 100<<10 {
		t.Errorf("%d bytes are free", p.Free())
	}
	fill(2, 40<<10) // wanted more recently: the small ones make room
	if p.Free() > 100<<10 || len(p.mu.lists[mustClass(40<<10)].free) != 2 {
		t.Errorf("%d bytes are free, %d large ones", p.Free(), len(p.mu.lists[mustClass(40<<10)].free))
	}
	fill(1, 200<<10)
	if p.Free() > 100<<10 || len(p.mu.lists[mustClass(200<<10)].free) != 0 {
		t.Error("more is kept than the limit")
	}
}

func mustClass(n int) int {
	class, _ := classOf(n)
	return class
}

func TestTrimGivesUpTheMemoryOfAPeak(t *testing.T) {
	p := NewPool(1 << 30)
	use := func(n int) {
		var held []*Buffer
		for range n {
			held = append(held, p.Get(1<<20))
		}
		for _, b := range held {
			b.Release()
		}
	}
	use(100)
	for range 10 {
		p.Trim()
		use(10)
	}
	if free := p.Free() >> 20; free < 10 || free > 12 {
		t.Errorf("%d buffers are free, and 10 are wanted", free)
	}
	for range 10 {
		p.Trim()
	}
	if p.Free() != 0 {
		t.Errorf("%d bytes are free after a pause", p.Free())
	}
}

func TestReleasedMemoryIsPoisoned(t *testing.T) {
	b := NewPool(1 << 20).Get(1000)
	seen := b.Bytes()
	copy(seen, bytes.Repeat([]byte{1}, 1000))
	b.Release()
	if (seen[0] != 1) != poisoned || (seen[999] != 1) != poisoned {
		t.Errorf("after the last release, byte 0 is %#x; poisoned is %v", seen[0], poisoned)
	}
}

// TestHoldersAreAlone: many goroutines write their own mark into each buffer that they
// get, hand references around, and look for marks of others.
func TestHoldersAreAlone(t *testing.T) {
	p := NewPool(1 << 20)
	var holders sync.WaitGroup
	for mark := range byte(8) {
		holders.Go(func() {
			random := rand.New(rand.NewPCG(uint64(mark), 0))
			for range 200 {
				b := p.Get(1 + random.IntN(10<<10))
				for i := range b.Bytes() {
					b.Bytes()[i] = mark
				}
				b.Retain()
				holders.Go(func() {
					defer b.Release()
					if n := bytes.Count(b.Bytes(), []byte{mark}); n != len(b.Bytes()) {
						t.Errorf("%d of %d bytes are of another holder", len(b.Bytes())-n, len(b.Bytes()))
					}
				})
				b.Release()
				if random.IntN(50) == 0 {
					p.Trim()
				}
			}
		})
	}
	holders.Wait()
	if p.InUse() != 0 || p.Free() > 1<<20 {
		t.Errorf("%d bytes in use, %d free", p.InUse(), p.Free())
	}
}

func BenchmarkGetAndRelease(b *testing.B) {
	p := NewPool(64 << 20)
	for b.Loop() {
		p.Get(1 << 20).Release()
	}
	b.ReportAllocs()
}
