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

func testPeerKey() PeerKey {
	return PeerKey{Cluster: byteID(1), Object: byteID(2), Role: PeerFetch, Number: 3, CreatedMs: 1_700_000_000_000, Secret: [PeerSecretSize]byte{0: 4, 31: 5}}
}

func TestPeerKeysKeepTheirBytes(t *testing.T) {
	text, err := os.ReadFile("testdata/v1-peerkey.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := EncodePeerKey(testPeerKey()); err != nil || !bytes.Equal(b, want) {
		t.Errorf("EncodePeerKey gives %x and %v, the file has %x", b, err, want)
	}
	if k, err := DecodePeerKey(want); err != nil || k != testPeerKey() {
		t.Errorf("DecodePeerKey gives %+v and %v", k, err)
	}
}

func TestKeysOfPeerKeys(t *testing.T) {
	for key, want := range map[string]bool{
		PeerKeyKey(PeerIngest, 1):           true,
		PeerKeyKey(PeerFetch, 1<<63):        true,
		PeerKeyKey(PeerIngest, 0):           false,
		PeerKeyKey(PeerRole(3), 1):          false,
		"keys/ingest/1":                     false,
		"keys/ingest/00000000000000000001/": false,
		"holds/00000000000000000001":        false,
	} {
		if got := IsPeerKey(key); got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}

func TestPeerKeyAgreesWithTheFormatPage(t *testing.T) {
	b, err := EncodePeerKey(testPeerKey())
	if err != nil {
		t.Fatal(err)
	}
	s := bytemap.Of(b, peerKeySize, map[string]any{
		"magic": []byte(magic), "version": uint16(Version), "kind": KindPeerKey, "cluster id": byteID(1), "object id": byteID(2),
		"role": PeerFetch, "number": uint64(3), "created": int64(1_700_000_000_000), "secret": testPeerKey().Secret, "CRC": checksum(b[:peerKeySize-4]),
	})
	bytemap.Read(t, "FORMAT.md").Check(t, map[string]bytemap.Structure{"Peer key": s})
}

func TestADamagedPeerKeyIsNoKey(t *testing.T) {
	good, err := EncodePeerKey(testPeerKey())
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if _, err := DecodePeerKey(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
		}
	}
	for name, spoil := range map[string]func(*PeerKey){
		"no cluster":   func(k *PeerKey) { k.Cluster = ID{} },
		"no object":    func(k *PeerKey) { k.Object = ID{} },
		"no role":      func(k *PeerKey) { k.Role = 0 },
		"unknown role": func(k *PeerKey) { k.Role = 3 },
		"no number":    func(k *PeerKey) { k.Number = 0 },
		"no secret":    func(k *PeerKey) { k.Secret = [PeerSecretSize]byte{} },
	} {
		k := testPeerKey()
		spoil(&k)
		if b, err := EncodePeerKey(k); !errors.Is(err, ErrInvalid) || b != nil {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzDecodePeerKey(f *testing.F) {
	good, err := EncodePeerKey(testPeerKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealSmall(b)
		if k, err := DecodePeerKey(b); err == nil {
			if again, err := EncodePeerKey(k); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%+v encodes to %x (%v), not %x", k, again, err, b)
			}
		}
	})
}
