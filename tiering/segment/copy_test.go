package segment

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
)

func testCopy() Copy {
	return Copy{State: CopyDone, Cluster: byteID(1), Object: byteID(2), Incarnation: byteID(3), Number: 4, TimeMs: 1_700_000_000_000,
		Objects: 5, Bytes: 6, Source: "s3://events/prod"}
}

func TestMarksOfCopiesKeepTheirBytes(t *testing.T) {
	text, err := os.ReadFile("testdata/v1-copy.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := EncodeCopy(testCopy()); err != nil || !bytes.Equal(b, want) {
		t.Errorf("EncodeCopy gives %x and %v, the file has %x", b, err, want)
	}
	if c, err := DecodeCopy(want); err != nil || c != testCopy() {
		t.Errorf("DecodeCopy gives %+v and %v", c, err)
	}
	s := bytemap.Of(want, copyFixedSize, map[string]any{
		"magic": []byte(magic), "version": uint16(Version), "kind": KindCopy, "cluster id": byteID(1), "object id": byteID(2), "incarnation": byteID(3),
		"number": uint64(4), "time": int64(1_700_000_000_000), "objects": uint64(5), "bytes": uint64(6), "state": uint8(2), "source length": uint16(16),
	})
	bytemap.Read(t, "FORMAT.md").Check(t, map[string]bytemap.Structure{"Copy": s})
	for i := range want {
		b := bytes.Clone(want)
		b[i] ^= 1
		if _, err := DecodeCopy(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for name, spoil := range map[string]func(*Copy){
		"no cluster": func(c *Copy) { c.Cluster = ID{} }, "no object": func(c *Copy) { c.Object = ID{} }, "no number": func(c *Copy) { c.Number = 0 },
		"no state": func(c *Copy) { c.State = 0 }, "state 4": func(c *Copy) { c.State = 4 }, "no text": func(c *Copy) { c.Source = "\xff" },
		"long source": func(c *Copy) { c.Source = strings.Repeat("s", maxCopySource+1) }, "early": func(c *Copy) { c.TimeMs = -1 },
	} {
		c := testCopy()
		spoil(&c)
		if b, err := EncodeCopy(c); !errors.Is(err, ErrInvalid) || b != nil {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzDecodeCopy(f *testing.F) {
	good, err := EncodeCopy(testCopy())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealSmall(b)
		if c, err := DecodeCopy(b); err == nil {
			if again, err := EncodeCopy(c); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%+v encodes to %x (%v), not %x", c, again, err, b)
			}
		}
	})
}
