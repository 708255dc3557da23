package peer

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Sizes of the parts of a handshake, in bytes.
const (
	helloSize     = 4*16 + 1 + 8 + NonceSize
	challengeSize = 2*16 + NonceSize
	proofSize     = sha256.Size
)

// ErrMalformed is a message that cannot be read.
var ErrMalformed = errors.New("malformed message of a peer")

// encode returns the first message:
//
//	 0  16  cluster id
//	16  16  node id
//	32  16  start id
//	48  16  id of the node that is called; zero for any
//	64   1  role of the key
//	65   8  number of the key
//	73  32  nonce
//
// The answer to it begins with a proof of 32 bytes and goes on with a challenge; the last
// message is a proof. Later versions may append fields to each, which older readers skip.
func (h *hello) encode() []byte {
	w := wire.Writer{B: make([]byte, 0, helloSize)}
	w.ID(h.cluster)
	w.ID(h.Node)
	w.ID(h.Start)
	w.ID(h.expects)
	w.U8(uint8(h.role))
	w.U64(h.key)
	w.Raw(h.nonce[:])
	return w.B
}

func decodeHello(b []byte) (h hello, err error) {
	r := wire.NewReader(b)
	h.cluster, h.Node, h.Start, h.expects = r.ID(), r.ID(), r.ID(), r.ID()
	h.role, h.key = segment.PeerRole(r.U8()), r.U64()
	copy(h.nonce[:], r.Raw(NonceSize))
	return h, malformed(r)
}

// encode returns the challenge:
//
//	 0  16  node id
//	16  16  start id
//	32  32  nonce
func (c *challenge) encode() []byte {
	w := wire.Writer{B: make([]byte, 0, challengeSize)}
	w.ID(c.Node)
	w.ID(c.Start)
	w.Raw(c.nonce[:])
	return w.B
}

func decodeChallenge(b []byte) (c challenge, err error) {
	r := wire.NewReader(b)
	c.Node, c.Start = r.ID(), r.ID()
	copy(c.nonce[:], r.Raw(NonceSize))
	return c, malformed(r)
}

// cutProof cuts the proof off the front of a message.
func cutProof(b []byte) (proof, rest []byte, err error) {
	if len(b) < proofSize {
		return nil, nil, fmt.Errorf("%w: a proof of %d bytes", ErrMalformed, len(b))
	}
	return b[:proofSize], b[proofSize:], nil
}

func malformed(r *wire.Reader) error {
	if err := r.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
