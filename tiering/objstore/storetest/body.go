package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// loan is memory that its owner uses for something else once it is released.
type loan struct {
	objstore.Body
	count    atomic.Int32
	released chan struct{}
}

func lend(data []byte) *loan {
	l := &loan{released: make(chan struct{})}
	l.Body = objstore.Plain(bytes.Clone(data))
	l.Release = func() {
		if l.count.Add(1) == 1 {
			for i := range l.Bytes {
				l.Bytes[i] = 0xdb
			}
			close(l.released)
		}
	}
	return l
}

// once waits for the release, and fails the test if there was another.
func (l *loan) once(t *testing.T, what string) {
	t.Helper()
	<-l.released
	if n := l.count.Load(); n != 1 {
		t.Errorf("%s: released %d times", what, n)
	}
}

func createReleasesOnce(t *testing.T, s objstore.Store) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	data := randomBytes(100_000)
	create(t, s, "there", data)
	for _, c := range []struct {
		name string
		ctx  context.Context
		key  string
		data []byte
		ok   bool
	}{
		{"created", t.Context(), "new", data, true},
		{"created with nothing in it", t.Context(), "empty", nil, true},
		{"there already", t.Context(), "there", data, false},
		{"invalid key", t.Context(), "a//b", data, false},
		{"too large", t.Context(), "large", make([]byte, objstore.MaxSize+1), false},
		{"ended context", ended, "ended", data, false},
	} {
		l := lend(c.data)
		if err := s.Create(c.ctx, c.key, l.Body); (err == nil) != c.ok {
			t.Errorf("%s: error %v", c.name, err)
		}
		defer l.once(t, c.name) // at the end, for a release too many
		<-l.released
	}
	for key, want := range map[string][]byte{"new": data, "empty": nil, "there": data} {
		if got := get(t, s, key); !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes than those before the release", key)
		}
	}
}

func racingCreatorsUseMemoryAgain(t *testing.T, s objstore.Store) {
	const creators = 16
	loans, errs := make([]*loan, creators), make([]error, creators)
	want := func(c int) []byte { return bytes.Repeat([]byte{byte(c)}, 200_000) }
	var wg sync.WaitGroup
	for c := range creators {
		loans[c] = lend(want(c))
		wg.Go(func() { errs[c] = s.Create(t.Context(), "journals/1/2", loans[c].Body) })
	}
	wg.Wait()
	for c, l := range loans {
		l.once(t, fmt.Sprintf("creator %d", c))
		if errs[c] == nil && !bytes.Equal(get(t, s, "journals/1/2"), want(c)) {
			t.Errorf("creator %d: other bytes than those before the release", c)
		}
	}
}

func knownChecksum(t *testing.T, s objstore.Store) {
	for _, size := range []int{0, 1, 100_000} {
		body := objstore.Plain(randomBytes(size))
		body.CRC, body.CRCKnown = crc32.Checksum(body.Bytes, crc32.MakeTable(crc32.Castagnoli)), true
		key := fmt.Sprint(size)
		if err := s.Create(t.Context(), key, body); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		} else if got := get(t, s, key); !bytes.Equal(got, body.Bytes) {
			t.Errorf("%d bytes: stored others", size)
		}
	}
}

// rangeStaysInside reads into the middle of a slice, whose other bytes may be in use.
func rangeStaysInside(t *testing.T, s objstore.Store) {
	data := randomBytes(10_000)
	create(t, s, "a", data)
	around := make([]byte, 300)
	dst := around[100:200]
	if err := s.GetRange(t.Context(), "a", 50, dst); err != nil || !bytes.Equal(dst, data[50:150]) {
		t.Errorf("wrong bytes, error %v", err)
	}
	if err := s.GetRange(t.Context(), "a", 9_950, dst); !errors.Is(err, objstore.ErrRange) {
		t.Errorf("a range over the end: %v", err)
	}
	if !bytes.Equal(around[:100], make([]byte, 100)) || !bytes.Equal(around[200:], make([]byte, 100)) {
		t.Error("wrote outside of the destination")
	}
}
