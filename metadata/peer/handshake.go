package peer

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
)

// NonceSize is the size of the random bytes that each end adds, in bytes.
const NonceSize = 32

// Identity is one run of a node.
type Identity struct {
	Node  segment.ID // of its data folder
	Start segment.ID // of its process
}

// Peer is the other end of a connection, as it has proved itself.
type Peer struct {
	Identity
	Key segment.PeerRole // of the key that it has
}

// Errors of a handshake.
var (
	// ErrProof: the other end does not have the key.
	ErrProof = errors.New("the peer did not prove itself")
	// ErrStranger: it is another node, or of another cluster, than the one that was asked for.
	ErrStranger = errors.New("another node answers")
)

// hello begins a handshake.
type hello struct {
	Identity
	cluster segment.ID
	expects segment.ID // the node that is called; zero for any
	role    segment.PeerRole
	key     uint64 // its number
	nonce   [NonceSize]byte
}

// challenge answers a hello.
type challenge struct {
	Identity
	nonce [NonceSize]byte
}

// The ends of a handshake. A proof of one is none of the other.
const (
	callerEnd = "varve peer: caller"
	calleeEnd = "varve peer: callee"
)

// secret is that of a key.
type secret [segment.PeerSecretSize]byte

// proof is known only to an end that has the key, and belongs to one handshake. The messages
// count as they were sent, so a later version may append fields that an older reader skips.
func (s *secret) proof(end string, hello, claims, channel []byte) []byte {
	mac := hmac.New(sha256.New, s[:])
	for _, part := range [][]byte{[]byte(end), hello, claims, channel} {
		sum := sha256.Sum256(part) // so that no bytes can move from one part to the next
		mac.Write(sum[:])
	}
	return mac.Sum(nil)
}

// Call is the calling end of a handshake under way.
type Call struct {
	expects segment.ID
	role    segment.PeerRole
	secret  secret
	hello   []byte
}

// NewCall begins a handshake, with a nonce that was never used before, and returns the first
// message. expects is the node that is called; zero for any.
func NewCall(self Identity, key segment.PeerKey, expects segment.ID, nonce [NonceSize]byte) (*Call, []byte) {
	h := hello{Identity: self, cluster: key.Cluster, expects: expects, role: key.Role, key: key.Number, nonce: nonce}
	c := &Call{expects: expects, role: key.Role, secret: key.Secret, hello: h.encode()}
	return c, c.hello
}

// Check checks the answer, and returns the last message and the node that answered. channel
// are bytes that both ends of a TLS connection know, and no other; empty without TLS.
func (c *Call) Check(answer, channel []byte) (last []byte, p Peer, err error) {
	proof, claims, err := cutProof(answer)
	if err != nil {
		return nil, Peer{}, err
	}
	if !hmac.Equal(proof, c.secret.proof(calleeEnd, c.hello, claims, channel)) {
		return nil, Peer{}, ErrProof
	}
	got, err := decodeChallenge(claims)
	switch {
	case err != nil:
		return nil, Peer{}, err
	case c.expects != (segment.ID{}) && got.Node != c.expects:
		return nil, Peer{}, fmt.Errorf("%w: node %s, and not %s", ErrStranger, got.Node, c.expects)
	}
	return c.secret.proof(callerEnd, c.hello, claims, channel), Peer{got.Identity, c.role}, nil
}

// Answer is the called end of a handshake under way.
type Answer struct {
	caller Peer // if the proof is right
	want   []byte
}

// NewAnswer answers the first message of a handshake. find returns the key of a role and
// number.
func NewAnswer(self Identity, cluster segment.ID, find func(segment.PeerRole, uint64) (segment.PeerKey, error), first []byte, nonce [NonceSize]byte, channel []byte) (*Answer, []byte, error) {
	h, err := decodeHello(first)
	switch {
	case err != nil:
		return nil, nil, err
	case h.cluster != cluster:
		return nil, nil, fmt.Errorf("%w: this is a node of cluster %s", ErrStranger, cluster.Base64())
	case h.expects != segment.ID{} && h.expects != self.Node:
		return nil, nil, fmt.Errorf("%w: this is node %s", ErrStranger, self.Node)
	}
	key, err := find(h.role, h.key)
	if err != nil {
		return nil, nil, err
	}
	s, c := secret(key.Secret), challenge{Identity: self, nonce: nonce}
	claims := c.encode()
	a := &Answer{caller: Peer{h.Identity, h.role}, want: s.proof(callerEnd, first, claims, channel)}
	return a, append(s.proof(calleeEnd, first, claims, channel), claims...), nil
}

// Check checks the last message, and returns the node that called.
func (a *Answer) Check(last []byte) (Peer, error) {
	proof, _, err := cutProof(last)
	if err != nil {
		return Peer{}, err
	}
	if !hmac.Equal(proof, a.want) {
		return Peer{}, ErrProof
	}
	return a.caller, nil
}
