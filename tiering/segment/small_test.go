package segment

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// codec is how an object of a few fields is written and read.
type codec[T comparable] struct {
	encode func(T) ([]byte, error)
	decode func([]byte) (T, error)
}

// keepsBytes wants an object to have the bytes of a file, and returns these.
func (c codec[T]) keepsBytes(t *testing.T, v T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := c.encode(v); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%+v encodes to %x and %v, the file has %x", v, b, err, want)
	}
	if got, err := c.decode(want); err != nil || got != v {
		t.Errorf("the file decodes to %+v and %v", got, err)
	}
	return want
}

// noticesDamage wants each flipped bit to be an error.
func (c codec[T]) noticesDamage(t *testing.T, good []byte) {
	t.Helper()
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if _, err := c.decode(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
		}
	}
}

// refuses wants objects that were spoiled, one in each way, not to be written.
func (c codec[T]) refuses(t *testing.T, good T, ways map[string]func(*T)) {
	t.Helper()
	for name, spoil := range ways {
		v := good
		spoil(&v)
		if b, err := c.encode(v); !errors.Is(err, ErrInvalid) || b != nil {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// fuzz wants each object that can be read to be written as it was.
func (c codec[T]) fuzz(f *testing.F, v T) {
	good, err := c.encode(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealSmall(b)
		if v, err := c.decode(b); err == nil {
			if again, err := c.encode(v); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%+v encodes to %x (%v), not %x", v, again, err, b)
			}
		}
	})
}
