package segment

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/varvelog/varve/tiering/wire"
)

// KindPeerKey is a key by which nodes prove to each other that they belong to the cluster.
const KindPeerKey Kind = 12

// PeerRole is the right of a node among nodes.
type PeerRole uint8

// The roles. Each has keys of its own, which only nodes with access to their prefix can read.
const (
	PeerIngest PeerRole = 1 // it may lead journals
	PeerFetch  PeerRole = 2 // it only reads
)

func (r PeerRole) String() string {
	switch r {
	case PeerIngest:
		return "ingest"
	case PeerFetch:
		return "fetch"
	}
	return "role " + strconv.Itoa(int(r))
}

// PeerSecretSize is the size of a secret, in bytes.
const PeerSecretSize = 32

// PeerKey is one key of a role. It is created once and never changed. The next number takes
// its place.
type PeerKey struct {
	Cluster   ID
	Object    ID
	Role      PeerRole
	Number    uint64 // from 1; its key has it
	CreatedMs int64  // creator's clock, Unix milliseconds
	Secret    [PeerSecretSize]byte
}

// PeerKeyPrefix is the common prefix of the keys of peer keys. It is apart from all data, so
// that a policy of the store may hide it from those that may read the data.
const PeerKeyPrefix = "keys/"

// PeerKeyKey returns the key of a peer key.
func PeerKeyKey(role PeerRole, number uint64) string {
	return fmt.Sprintf("%s%s/%020d", PeerKeyPrefix, role, number)
}

// IsPeerKey reports whether key is that of a peer key.
func IsPeerKey(key string) bool {
	for _, role := range []PeerRole{PeerIngest, PeerFetch} {
		if name, ok := strings.CutPrefix(key, PeerKeyPrefix+role.String()+"/"); ok {
			number, err := strconv.ParseUint(name, 10, 64)
			return err == nil && number > 0 && PeerKeyKey(role, number) == key
		}
	}
	return false
}

const (
	peerKeyObject = "peer key object"
	peerKeySize   = 100
)

// EncodePeerKey returns the peer key object:
//
//	 0   8  magic "VARV", version, kind 12, zero
//	 8  16  cluster id
//	24  16  object id
//	40   1  role
//	41   7  zero
//	48   8  number
//	56   8  created, Unix milliseconds
//	64  32  secret
//	96   4  CRC-32C of the bytes before
func EncodePeerKey(k PeerKey) ([]byte, error) {
	return encodeSmall(peerKeyObject, KindPeerKey, peerKeySize, &k, func(w *wire.Writer) {
		w.ID(k.Cluster)
		w.ID(k.Object)
		w.U8(uint8(k.Role))
		w.Zeros(7)
		w.U64(k.Number)
		w.I64(k.CreatedMs)
		w.Raw(k.Secret[:])
	})
}

// DecodePeerKey decodes a whole peer key object.
func DecodePeerKey(b []byte) (PeerKey, error) {
	var k PeerKey
	err := decodeSmall(peerKeyObject, KindPeerKey, b, &k, func(r *wire.Reader) {
		k = PeerKey{Cluster: r.ID(), Object: r.ID(), Role: PeerRole(r.U8())}
		r.Zeros(7)
		k.Number, k.CreatedMs = r.U64(), r.I64()
		copy(k.Secret[:], r.Raw(PeerSecretSize))
	})
	if err != nil {
		return PeerKey{}, err
	}
	return k, nil
}

func (k *PeerKey) implausible() string {
	switch {
	case k.Cluster.IsZero() || k.Object.IsZero():
		return "cluster or object is zero"
	case k.Role != PeerIngest && k.Role != PeerFetch:
		return fmt.Sprintf("there is no role %d", k.Role)
	case k.Number == 0 || k.CreatedMs < 0:
		return fmt.Sprintf("number %d, created at %d", k.Number, k.CreatedMs)
	case k.Secret == [PeerSecretSize]byte{}:
		return "the secret is zero"
	}
	return ""
}
