package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/wire"
)

// allocCap is how many bytes a decoder may allocate in addition to four times
// its input: for errors, and for the fuzzing engine, which runs at the same
// time.
const allocCap = 1 << 20

func bounded(t *testing.T, b []byte, decode func()) {
	t.Helper()
	if n := allocated(decode); n > 4*uint64(len(b))+allocCap {
		t.Errorf("%d bytes of input made it allocate %d", len(b), n)
	}
}

// seeds adds whole objects and pieces of them.
func seeds(f *testing.F) {
	whole := hostileObject(f)
	f.Add(whole)
	f.Add(whole[:HeaderSize])
	f.Add(whole[len(whole)-600:])
	f.Add([]byte{})
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		f.Fatalf("no snapshots to start from, error %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, reseal(b)} {
			bounded(t, b, func() { Decode(b) })
			checkDecode(t, b)
		}
	})
}

func FuzzDecodeHeader(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) >= HeaderSize {
			binary.BigEndian.PutUint32(b[posHeaderCRC:], checksum(b[:posHeaderCRC]))
		}
		bounded(t, b, func() { DecodeHeader(b) })
		if h, err := DecodeHeader(b); err == nil {
			if again := written(func(w *wire.Writer) { appendHeader(w, h) }); !bytes.Equal(again, b[:HeaderSize]) {
				t.Fatalf("header encodes to %x, was %x", again, b[:HeaderSize])
			}
		}
	})
}

func FuzzDecodeFooterTail(f *testing.F) {
	whole := hostileObject(f)
	for _, n := range []int{0, TrailerSize, 600, len(whole)} {
		f.Add(whole[len(whole)-n:], int64(len(whole)))
	}
	f.Fuzz(func(t *testing.T, tail []byte, size int64) {
		tail = bytes.Clone(tail)
		if n := len(tail) - TrailerSize; n >= 0 { // the footer that the tail begins with
			trailer := tail[n:]
			binary.BigEndian.PutUint64(trailer[8:], uint64(n))
			binary.BigEndian.PutUint64(trailer, uint64(size-int64(len(tail))))
			if n >= footerFixedSize {
				binary.BigEndian.PutUint32(tail[posHeaderCRC:], checksum(tail[:posHeaderCRC]))
			}
			binary.BigEndian.PutUint32(trailer[16:], checksum(tail[:n]))
			binary.BigEndian.PutUint32(trailer[20:], checksum(trailer[:20]))
		}
		bounded(t, tail, func() { DecodeFooterTail(tail, size) })
		footer, need, err := DecodeFooterTail(tail, size)
		if err != nil && (footer != nil || need != 0) || err == nil && (footer == nil) != (need > 0) {
			t.Fatalf("footer %v, need %d, error %v", footer, need, err)
		}
		if err == nil && need > 0 && (need <= int64(len(tail)) || need > size) {
			t.Fatalf("needs %d bytes, has %d of %d", need, len(tail), size)
		}
		if footer != nil {
			// Its position is the length of the part before it.
			at := size - int64(len(tail))
			w := wire.Writer{B: make([]byte, at)}
			if appendFooter(&w, footer); !bytes.Equal(w.B[at:], tail) {
				t.Fatalf("footer encodes to %x, was %x", w.B[at:], tail)
			}
		}
	})
}

func FuzzDecodeEntries(f *testing.F) {
	f.Add(written(func(w *wire.Writer) { appendEntries(w, []Entry{{1, []byte("a")}, {2, nil}}) }))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, func() { DecodeEntries(b) })
		if entries, err := DecodeEntries(b); err == nil {
			if again := written(func(w *wire.Writer) { appendEntries(w, entries) }); !bytes.Equal(again, b) || len(again) != entriesSize(entries) {
				t.Fatalf("entries encode to %x, were %x", again, b)
			}
		}
	})
}

func FuzzDecodeCluster(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealSmall(b)
		bounded(t, b, func() { DecodeCluster(b) })
		if c, err := DecodeCluster(b); err == nil {
			if again, err := EncodeCluster(c); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("cluster encodes to %x and %v, was %x", again, err, b)
			}
		}
	})
}

func FuzzDecodeBlob(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []Kind{KindCheckpoint, KindIndex} {
			bounded(t, b, func() { DecodeBlob(kind, b) })
			if blob, err := DecodeBlob(kind, b); err == nil {
				if again, err := EncodeBlob(blob); err != nil || !bytes.Equal(again, b) {
					t.Fatalf("blob encodes to %x and %v, was %x", again, err, b)
				}
			}
		}
	})
}

func FuzzDecodeFloor(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealSmall(b)
		bounded(t, b, func() { DecodeFloor(b) })
		if c, err := DecodeFloor(b); err == nil {
			if again, err := EncodeFloor(c); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("floor encodes to %x and %v, was %x", again, err, b)
			}
		}
	})
}
