package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// source is a file of which a Create may read each byte until it releases it.
type source struct {
	io.ReaderAt
	closed atomic.Bool
	late   atomic.Int32 // reads after the release
}

func (s *source) ReadAt(p []byte, at int64) (int, error) {
	if s.closed.Load() {
		s.late.Add(1)
		return 0, errors.New("file already closed")
	}
	return s.ReaderAt.ReadAt(p, at)
}

// stream returns a body that is sent from a file, and the file.
func stream(from io.ReaderAt, length int64, crc uint32) (objstore.Body, *source) {
	s := &source{ReaderAt: from}
	return objstore.Body{
		Source: s, Length: length, CRC: crc, CRCKnown: true,
		Release: func() { s.closed.Store(true) },
	}, s
}

func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

func createStreams(t *testing.T, s objstore.Store) {
	for _, size := range []int{0, 1, 100_000, 1 << 20, 1<<20 + 7, 3 << 20} {
		data := randomBytes(size)
		body, src := stream(bytes.NewReader(data), int64(size), checksum(data))
		key := fmt.Sprintf("merged/1/%d", size)
		if err := s.Create(t.Context(), key, body); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		} else if got := get(t, s, key); !bytes.Equal(got, data) {
			t.Errorf("%d bytes: stored %d others", size, len(got))
		}
		body, second := stream(bytes.NewReader(data), int64(size), checksum(data))
		wantErr(t, "second Create", s.Create(t.Context(), key, body), objstore.ErrExists)
		for _, src := range []*source{src, second} {
			if !src.closed.Load() || src.late.Load() != 0 {
				t.Errorf("%d bytes: released %v, %d reads after that", size, src.closed.Load(), src.late.Load())
			}
		}
	}
}

// failing is a file with a bad sector.
type failing struct {
	io.ReaderAt
	from int64
}

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.from {
		return 0, errors.New("input/output error")
	}
	return f.ReaderAt.ReadAt(p, at)
}

// brokenSources are refused, and nothing is stored at the key: neither a part of the
// source nor other bytes than its owner means.
func brokenSources(t *testing.T, s objstore.Store) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	const size = 3<<20 + 5
	data := randomBytes(size)
	whole, crc := bytes.NewReader(data), checksum(data)
	with := func(change func(*objstore.Body)) objstore.Body {
		b, _ := stream(whole, size, crc)
		change(&b)
		return b
	}
	for name, body := range map[string]objstore.Body{
		"shorter": with(func(b *objstore.Body) { b.Source = bytes.NewReader(data[:size-1]) }),
		"shorter than its length": with(func(b *objstore.Body) {
			b.Source, b.CRC = bytes.NewReader(data[:size-1]), checksum(data[:size-1])
		}),
		"other bytes": with(func(b *objstore.Body) { b.CRC++ }),
		"bad sector":  with(func(b *objstore.Body) { b.Source = failing{whole, 2 << 20} }),
		"no CRC":      with(func(b *objstore.Body) { b.CRCKnown = false }),
		"two bodies":  with(func(b *objstore.Body) { b.Bytes = data }),
		"no length":   with(func(b *objstore.Body) { b.Length = -1 }),
		"too large":   with(func(b *objstore.Body) { b.Length = objstore.MaxSize + 1 }),
		"ended":       with(func(*objstore.Body) {}),
	} {
		ctx := t.Context()
		if name == "ended" {
			ctx = ended
		}
		released := 0
		body.Release = func() { released++ }
		if err := s.Create(ctx, "merged/"+name, body); err == nil || errors.Is(err, objstore.ErrExists) {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := s.Get(t.Context(), "merged/"+name); !errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("%s: Get: %v", name, err)
		}
		if released != 1 {
			t.Errorf("%s: released %d times", name, released)
		}
	}
}

// pattern is a file of which nothing is in memory.
type pattern struct{}

func (pattern) ReadAt(p []byte, at int64) (int, error) {
	for i := range p {
		p[i] = byte(at >> 12)
		at++
	}
	return len(p), nil
}

// BoundedMemory tests that a large object is streamed: a Create of it allocates less than a
// quarter of its size. The store must keep its objects outside of this process.
func BoundedMemory(t *testing.T, s objstore.Store) {
	const size = 64 << 20
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(sum, io.NewSectionReader(pattern{}, 0, size)); err != nil {
		t.Fatal(err)
	}
	body, _ := stream(pattern{}, size, sum.Sum32())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := s.Create(t.Context(), "merged/large", body)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > size/4 {
		t.Errorf("a Create of %d bytes allocates %d", size, n)
	}
	tail, n, err := s.GetTail(t.Context(), "merged/large", 1)
	if want := byte((size - 1) >> 12 & 0xff); err != nil || n != size || tail[0] != want {
		t.Errorf("stored %d bytes that end with %x, error %v", n, tail, err)
	}
}
