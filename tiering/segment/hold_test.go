package segment

import (
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
)

var holds = codec[Hold]{EncodeHold, DecodeHold}

func testHold() Hold {
	return Hold{Cluster: byteID(1), Object: byteID(2), CreatedMs: 1_700_000_000_000, UntilMs: 1_700_000_003_600, Reason: "nightly copy"}
}

func TestHoldsKeepTheirBytes(t *testing.T) {
	holds.keepsBytes(t, testHold(), "v1-hold.hex")
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
	holds.noticesDamage(t, good)
	holds.refuses(t, testHold(), map[string]func(*Hold){
		"no cluster":    func(h *Hold) { h.Cluster = ID{} },
		"no object":     func(h *Hold) { h.Object = ID{} },
		"ends too soon": func(h *Hold) { h.UntilMs = h.CreatedMs - 1 },
		"long reason":   func(h *Hold) { h.Reason = strings.Repeat("r", MaxReason+1) },
		"no text":       func(h *Hold) { h.Reason = "\xff" },
	})
}

func FuzzDecodeHold(f *testing.F) { holds.fuzz(f, testHold()) }
