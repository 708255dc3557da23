package segment

import (
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
)

var peerKeys = codec[PeerKey]{EncodePeerKey, DecodePeerKey}

func testPeerKey() PeerKey {
	return PeerKey{Cluster: byteID(1), Object: byteID(2), Role: PeerFetch, Number: 3, CreatedMs: 1_700_000_000_000, Secret: [PeerSecretSize]byte{0: 4, 31: 5}}
}

func TestPeerKeysKeepTheirBytes(t *testing.T) {
	peerKeys.keepsBytes(t, testPeerKey(), "v1-peerkey.hex")
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
	peerKeys.noticesDamage(t, good)
	peerKeys.refuses(t, testPeerKey(), map[string]func(*PeerKey){
		"no cluster":   func(k *PeerKey) { k.Cluster = ID{} },
		"no object":    func(k *PeerKey) { k.Object = ID{} },
		"no role":      func(k *PeerKey) { k.Role = 0 },
		"unknown role": func(k *PeerKey) { k.Role = 3 },
		"no number":    func(k *PeerKey) { k.Number = 0 },
		"no secret":    func(k *PeerKey) { k.Secret = [PeerSecretSize]byte{} },
	})
}

func FuzzDecodePeerKey(f *testing.F) { peerKeys.fuzz(f, testPeerKey()) }
