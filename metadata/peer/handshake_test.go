package peer

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

func id(b byte) segment.ID { return segment.ID{15: b} }

func nonce(b byte) [NonceSize]byte { return [NonceSize]byte{b} }

var (
	caller = Identity{Node: id(1), Start: id(2)}
	callee = Identity{Node: id(3), Start: id(4)}
	theKey = segment.PeerKey{Cluster: id(9), Object: id(8), Role: segment.PeerIngest, Number: 7, Secret: [32]byte{6}}
)

func find(role segment.PeerRole, number uint64) (segment.PeerKey, error) {
	if role == theKey.Role && number == theKey.Number {
		return theKey, nil
	}
	return segment.PeerKey{}, ErrNoKey
}

// shake makes a handshake in which change may alter each message under way.
func shake(change func(n int, message []byte) []byte) (server, client Peer, err error) {
	call, first := NewCall(caller, theKey, callee.Node, nonce(1))
	answer, second, err := NewAnswer(callee, theKey.Cluster, find, change(0, first), nonce(2), nil)
	if err != nil {
		return Peer{}, Peer{}, err
	}
	last, server, err := call.Check(change(1, second), nil)
	if err != nil {
		return Peer{}, Peer{}, err
	}
	client, err = answer.Check(change(2, last))
	return server, client, err
}

func TestBothEndsProveThemselves(t *testing.T) {
	server, client, err := shake(func(_ int, m []byte) []byte { return m })
	if err != nil || server != (Peer{callee, segment.PeerIngest}) || client != (Peer{caller, segment.PeerIngest}) {
		t.Fatalf("the callee is %+v, the caller %+v, error %v", server, client, err)
	}
}

// Later versions append fields.
func TestAppendedFieldsAreSkipped(t *testing.T) {
	call, first := NewCall(caller, theKey, callee.Node, nonce(1))
	call.hello = append(first, "more"...)
	answer, second, err := NewAnswer(callee, theKey.Cluster, find, call.hello, nonce(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	last, _, err := call.Check(second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := answer.Check(append(last, "more"...)); err != nil {
		t.Fatal(err)
	}
}

func TestEachBitOfEachMessageCounts(t *testing.T) {
	for n := range 3 {
		for at := 0; ; at++ {
			done := false
			_, _, err := shake(func(i int, m []byte) []byte {
				if i != n {
					return m
				}
				if at == 8*len(m) {
					done = true
					return m
				}
				m = bytes.Clone(m)
				m[at/8] ^= 1 << (at % 8)
				return m
			})
			if done {
				break
			}
			if err == nil {
				t.Fatalf("bit %d of message %d changed, without an error", at, n)
			}
		}
	}
}

func TestCutMessagesAreRefused(t *testing.T) {
	for n, size := range []int{helloSize, proofSize + challengeSize, proofSize} {
		for length := range size {
			_, _, err := shake(func(i int, m []byte) []byte {
				if i == n {
					return m[:length]
				}
				return m
			})
			if err == nil {
				t.Fatalf("message %d of %d bytes is cut to %d, without an error", n, size, length)
			}
		}
	}
}

// An end without the key cannot prove itself by messages of others.
func TestMessagesOfOthersProveNothing(t *testing.T) {
	call, first := NewCall(caller, theKey, segment.ID{}, nonce(1))
	answer, second, err := NewAnswer(callee, theKey.Cluster, find, first, nonce(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	last, _, err := call.Check(second, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("on another connection", func(t *testing.T) {
		again, _, err := NewAnswer(callee, theKey.Cluster, find, first, nonce(3), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Check(last); !errors.Is(err, ErrProof) {
			t.Errorf("the caller's proof counts again: %v", err)
		}
		other, _ := NewCall(caller, theKey, segment.ID{}, nonce(4))
		if _, _, err := other.Check(second, nil); !errors.Is(err, ErrProof) {
			t.Errorf("the callee's proof counts again: %v", err)
		}
	})
	t.Run("sent back", func(t *testing.T) {
		if _, err := answer.Check(second[:proofSize]); !errors.Is(err, ErrProof) {
			t.Errorf("the callee's proof is one of the caller: %v", err)
		}
		if _, _, err := call.Check(append(bytes.Clone(last), second[proofSize:]...), nil); !errors.Is(err, ErrProof) {
			t.Errorf("the caller's proof is one of the callee: %v", err)
		}
	})
	t.Run("on another channel", func(t *testing.T) {
		if _, _, err := call.Check(second, []byte("tls")); !errors.Is(err, ErrProof) {
			t.Errorf("got %v", err)
		}
	})
}

func TestStrangersAreTurnedAway(t *testing.T) {
	other := theKey
	other.Secret[31]++
	fetch := theKey
	fetch.Role = segment.PeerFetch
	elsewhere := theKey
	elsewhere.Cluster = id(10)
	for name, tc := range map[string]struct {
		key     segment.PeerKey
		expects segment.ID
		want    error
	}{
		"a wrong secret":      {other, callee.Node, ErrProof},
		"another role":        {fetch, callee.Node, ErrNoKey},
		"another cluster":     {elsewhere, callee.Node, ErrStranger},
		"a call for another":  {theKey, id(77), ErrStranger},
		"a key of the future": {segment.PeerKey{Cluster: id(9), Role: segment.PeerIngest, Number: 8}, callee.Node, ErrNoKey},
	} {
		call, first := NewCall(caller, tc.key, tc.expects, nonce(1))
		_, second, err := NewAnswer(callee, theKey.Cluster, find, first, nonce(2), nil)
		if err == nil {
			_, _, err = call.Check(second, nil)
		}
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	// A node that answers for another one, with the key: it is at the address of the other.
	call, first := NewCall(caller, theKey, callee.Node, nonce(1))
	h, _ := decodeHello(first)
	h.expects = segment.ID{}
	call.hello = h.encode()
	_, second, err := NewAnswer(Identity{id(50), id(51)}, theKey.Cluster, find, call.hello, nonce(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := call.Check(second, nil); !errors.Is(err, ErrStranger) {
		t.Errorf("another node: %v", err)
	}
}

func FuzzNewAnswer(f *testing.F) {
	_, first := NewCall(caller, theKey, callee.Node, nonce(1))
	f.Add(first, []byte(nil))
	f.Add([]byte("short"), []byte("shorter"))
	f.Fuzz(func(t *testing.T, first, last []byte) {
		answer, second, err := NewAnswer(callee, theKey.Cluster, find, first, nonce(2), nil)
		if err != nil {
			return
		}
		if len(second) != proofSize+challengeSize {
			t.Fatalf("an answer of %d bytes", len(second))
		}
		if p, err := answer.Check(last); err == nil {
			t.Fatal(fmt.Sprintf("%x proves to be %+v", last, p))
		}
	})
}

func FuzzCallCheck(f *testing.F) {
	call, first := NewCall(caller, theKey, callee.Node, nonce(1))
	_, second, err := NewAnswer(callee, theKey.Cluster, find, first, nonce(2), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(second)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, p, err := call.Check(b, nil); err == nil && !bytes.Equal(b, second) {
			t.Fatalf("%x proves to be %+v", b, p)
		}
	})
}
