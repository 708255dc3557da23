package peer

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/wire"
)

// Kind is the key of a private request. Kafka's own keys are far below.
type Kind int16

// The kinds. A number never gets another meaning.
const (
	KindHello Kind = 30001 // first message of a handshake
	KindProof Kind = 30002 // last message of a handshake

	// Those of a cluster. metadata/membership/MESSAGES.md has their bodies.
	KindRegister  Kind = 30003 // to the controller: this run is to be registered
	KindHeartbeat Kind = 30004 // to the controller
	KindQuestion  Kind = 30005 // is there a controller?
	KindProbe     Kind = 30006 // can you write to the store?
	KindHandOver  Kind = 30007 // to the leader of a journal: it is assigned to me

	KindProducerIDs   Kind = 30008 // to the controller: a block of ids for this node's clients
	KindInternalTopic Kind = 30009 // to the controller: a topic that the cluster keeps for itself
)

// Kinds lists all kinds with their names.
var kinds = map[Kind]string{
	KindHello: "PeerHello",
	KindProof: "PeerProof",

	KindRegister: "PeerRegister", KindHeartbeat: "PeerHeartbeat", KindQuestion: "PeerQuestion", KindProbe: "PeerProbe", KindHandOver: "PeerHandOver",
	KindProducerIDs: "PeerProducerIDs", KindInternalTopic: "PeerInternalTopic",
}

func (k Kind) String() string {
	if name, ok := kinds[k]; ok {
		return name
	}
	return fmt.Sprintf("peer request %d", int16(k))
}

// MaxAnswer is the largest answer that a Conn reads, in bytes.
const MaxAnswer = 32 << 20

// Request is a private request. Its body is known to its kind.
type Request struct {
	Kind    Kind
	Version int16
	Body    []byte
}

// Reply answers a Request. Code is one of Kafka's; 0 is none.
type Reply struct {
	Kind    Kind
	Version int16
	Code    int16
	Text    string // for people, if there is a code
	Body    []byte
}

var (
	_ kmsg.Request  = (*Request)(nil)
	_ kmsg.Response = (*Reply)(nil)
)

// Key implements kmsg.Request, and so do all methods below.
func (r *Request) Key() int16                  { return int16(r.Kind) }
func (*Request) MaxVersion() int16             { return 0 }
func (r *Request) SetVersion(v int16)          { r.Version = v }
func (r *Request) GetVersion() int16           { return r.Version }
func (*Request) IsFlexible() bool              { return false }
func (r *Request) ResponseKind() kmsg.Response { return &Reply{Kind: r.Kind, Version: r.Version} }

// AppendTo appends the length of the body, 4 bytes, and the body.
func (r *Request) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Body)))
	return append(b, r.Body...)
}

// ReadFrom reads the form of AppendTo. The body aliases b.
func (r *Request) ReadFrom(b []byte) error {
	in := wire.NewReader(b)
	r.Body = in.Bytes32()
	return malformed(in)
}

// Err is the error of kerr that an answer with a code is; nil without one.
func (r *Reply) Err() error {
	if err := kerr.ErrorForCode(r.Code); err != nil {
		return fmt.Errorf("%s: %w: %s", r.Kind, err, r.Text)
	}
	return nil
}

// Key implements kmsg.Response, and so do all methods below.
func (r *Reply) Key() int16                { return int16(r.Kind) }
func (*Reply) MaxVersion() int16           { return 0 }
func (r *Reply) SetVersion(v int16)        { r.Version = v }
func (r *Reply) GetVersion() int16         { return r.Version }
func (*Reply) IsFlexible() bool            { return false }
func (r *Reply) RequestKind() kmsg.Request { return &Request{Kind: r.Kind, Version: r.Version} }

// maxText is the longest text of a Reply, in bytes.
const maxText = 4096

// AppendTo appends code, text with a length of 2 bytes, and body with one of 4.
func (r *Reply) AppendTo(b []byte) []byte {
	w := wire.Writer{B: b}
	w.I16(r.Code)
	w.String16(r.Text[:min(len(r.Text), maxText)])
	w.Bytes32(r.Body)
	return w.B
}

// ReadFrom reads the form of AppendTo. It keeps nothing of b.
func (r *Reply) ReadFrom(b []byte) error {
	in := wire.NewReader(b)
	r.Code, r.Text, r.Body = in.I16(), in.String16(), slices.Clone(in.Bytes32())
	return malformed(in)
}
