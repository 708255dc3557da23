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

func testHold() Hold {
	return Hold{Cluster: byteID(1), Object: byteID(2), CreatedMs: 1_700_000_000_000, UntilMs: 1_700_000_003_600, Reason: "nightly copy"}
}

func TestHoldsKeepTheirBytes(t *testing.T) {
	text, err := os.ReadFile("testdata/v1-hold.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := EncodeHold(testHold()); err != nil || !bytes.Equal(b, want) {
		t.Errorf("EncodeHold gives %x and %v, the file has %x", b, err, want)
	}
	if h, err := DecodeHold(want); err != nil || h != testHold() {
		t.Errorf("DecodeHold gives %+v and %v", h, err)
	}
	if object, ok := ParseHoldKey(HoldKey(byteID(2))); !ok || object != byteID(2) {
		t.Errorf("the key %q is that of %v, %v", HoldKey(byteID(2)), object, ok)
	}
	for _, key := range []string{"holds/", "holds/1", "holds/" + strings.ToUpper(byteID(0xab).String()), "hold/" + byteID(2).String()} {
		if _, ok := ParseHoldKey(key); ok {
			t.Errorf("%q passes for the key of a hold", key)
		}
	}
}

func TestHoldAgreesWithTheFormatPage(t *testing.T) {
	b, err := EncodeHold(testHold())
	if err != nil {
		t.Fatal(err)
	}
	s := bytemap.Of(b, holdFixedSize, map[string]any{
		"magic": []byte(magic), "version": uint16(Version), "kind": KindHold, "cluster id": byteID(1), "object id": byteID(2),
		"created": int64(1_700_000_000_000), "until": int64(1_700_000_003_600), "reason length": uint16(len("nightly copy")),
	})
	bytemap.Read(t, "FORMAT.md").Check(t, map[string]bytemap.Structure{"Hold": s})
}

func TestADamagedHoldIsNoHold(t *testing.T) {
	good, err := EncodeHold(testHold())
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if _, err := DecodeHold(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
		}
	}
	for name, spoil := range map[string]func(*Hold){
		"no cluster":    func(h *Hold) { h.Cluster = ID{} },
		"no object":     func(h *Hold) { h.Object = ID{} },
		"ends too soon": func(h *Hold) { h.UntilMs = h.CreatedMs - 1 },
		"long reason":   func(h *Hold) { h.Reason = strings.Repeat("r", MaxReason+1) },
		"no text":       func(h *Hold) { h.Reason = "\xff" },
	} {
		h := testHold()
		spoil(&h)
		if b, err := EncodeHold(h); !errors.Is(err, ErrInvalid) || b != nil {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzDecodeHold(f *testing.F) {
	good, err := EncodeHold(testHold())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealSmall(b)
		if h, err := DecodeHold(b); err == nil {
			if again, err := EncodeHold(h); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%+v encodes to %x (%v), not %x", h, again, err, b)
			}
		}
	})
}
