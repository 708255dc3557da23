package membership

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// The bodies of private requests, and of their answers. MESSAGES.md has the bytes. Later
// versions append fields to each body and to each item of a list, which older readers skip.

// ErrMalformed is a body that cannot be read, or that no node sends.
var ErrMalformed = errors.New("malformed message of a node")

// Sizes of the items of lists, and of parts, in bytes.
const (
	leaderSize = 56
	reportSize = 69
)

// Bits of the flags of a report, and of a heartbeat.
const (
	flagLeads uint8 = 1 << iota
	flagBlocked

	flagLeaving uint8 = 1
)

// bit is a flag that is set or not.
func bit(set bool, flag uint8) uint8 {
	if set {
		return flag
	}
	return 0
}

// AppendRegister appends the request of a run to be registered.
func AppendRegister(b []byte, node segment.ID, run metadata.Run) ([]byte, error) {
	e, err := metadata.Encode(metadata.NodeStarted{Node: node, Run: run})
	return append(b, e.Payload...), err
}

// DecodeRegister reads the request of a run that has proved itself on the connection.
func DecodeRegister(b []byte, node, start segment.ID) (metadata.Run, error) {
	c, err := metadata.Decode(segment.Entry{Kind: metadata.EntryNodeStarted, Payload: b})
	if err != nil {
		return metadata.Run{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s := c.(metadata.NodeStarted)
	if s.Node != node || s.Start != start {
		return metadata.Run{}, fmt.Errorf("%w: node %s asks to register start %s of node %s", ErrMalformed, node, s.Start, s.Node)
	}
	return s.Run, nil
}

// AppendRegistered appends the answer: the broker id of the data folder.
func AppendRegistered(b []byte, id int32) []byte {
	w := wire.Writer{B: b}
	w.I32(id)
	return w.B
}

// DecodeRegistered reads the form of AppendRegistered.
func DecodeRegistered(b []byte) (id int32, err error) {
	r := wire.NewReader(b)
	id = r.I32()
	return id, checked(r, id > 0)
}

// Append appends the heartbeat, without the run that sends it: the connection proves that.
func (h *Heartbeat) Append(b []byte) []byte {
	w := wire.Writer{B: b}
	w.U64(h.Applied)
	w.U8(bit(h.Leaving, flagLeaving))
	w.U16(reportSize)
	w.U32(uint32(len(h.Journals)))
	for i := range h.Journals {
		h.Journals[i].encode(&w)
	}
	return w.B
}

// DecodeHeartbeat reads the heartbeat of a run that has proved itself on the connection.
func DecodeHeartbeat(b []byte, node, start segment.ID) (Heartbeat, error) {
	r := wire.NewReader(b)
	h := Heartbeat{Node: node, Start: start, Applied: r.U64()}
	h.Leaving = r.U8()&flagLeaving != 0
	ok := items(r, reportSize, func(r *wire.Reader) bool {
		report, ok := decodeReport(r, node)
		h.Journals = append(h.Journals, report)
		return ok
	})
	return h, checked(r, ok)
}

// items reads a list of items of one size: the least that this version knows, or more.
func items(r *wire.Reader, least int, read func(*wire.Reader) bool) (ok bool) {
	size, n := int(r.U16()), r.U32()
	if r.Err() != nil || size < least {
		return false
	}
	for range r.Count(n, size) {
		if !read(wire.NewReader(r.Raw(size))) {
			return false
		}
	}
	return true
}

// checked returns why a body was not read.
func checked(r *wire.Reader, ok bool) error {
	switch err := r.Err(); {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case !ok:
		return ErrMalformed
	}
	return nil
}

func (p *Report) encode(w *wire.Writer) {
	w.U32(p.Journal)
	w.U32(p.Epoch)
	w.U64(p.Settled.Seq)
	w.ID(p.Settled.Object)
	w.U64(p.Head)
	w.U8(bit(p.Leads, flagLeads) | bit(p.Blocked, flagBlocked))
	w.U32(millis(p.Taking + time.Millisecond - 1)) // not zero if it takes the journal
	w.U32(millis(p.Idle))
	w.U64(p.Reconciled)
	w.U64(p.Load)
	w.U32(p.Declined)
}

func millis(d time.Duration) uint32 { return uint32(min(d.Milliseconds(), math.MaxUint32)) }

func decodeReport(r *wire.Reader, node segment.ID) (p Report, ok bool) {
	p.Leader = Leader{Journal: r.U32(), Node: node, Epoch: r.U32(), Settled: segment.Ref{Seq: r.U64(), Object: r.ID()}, Head: r.U64()}
	flags := r.U8()
	p.Leads, p.Blocked = flags&flagLeads != 0, flags&flagBlocked != 0
	p.Taking, p.Idle = time.Duration(r.U32())*time.Millisecond, time.Duration(r.U32())*time.Millisecond
	p.Reconciled, p.Load, p.Declined = r.U64(), r.U64(), r.U32()
	return p, !p.Leads || p.settled()
}

// settled reports whether it names an object: a leadership without one is none.
func (l *Leader) settled() bool {
	return l.Epoch > 0 && l.Settled.Seq > 0 && !l.Settled.Object.IsZero()
}

func (l *Leader) encode(w *wire.Writer) {
	w.U32(l.Journal)
	w.ID(l.Node)
	w.U32(l.Epoch)
	w.U64(l.Settled.Seq)
	w.ID(l.Settled.Object)
	w.U64(l.Head)
}

func decodeLeader(r *wire.Reader) Leader {
	return Leader{Journal: r.U32(), Node: r.ID(), Epoch: r.U32(), Settled: segment.Ref{Seq: r.U64(), Object: r.ID()}, Head: r.U64()}
}

// Append appends the answer to a heartbeat.
func (a *Answer) Append(b []byte) []byte {
	w := wire.Writer{B: b}
	w.U8(bit(a.Claims, 1))
	w.U64(a.Seq)
	w.U16(leaderSize)
	w.U32(uint32(len(a.Leaders)))
	for i := range a.Leaders {
		a.Leaders[i].encode(&w)
	}
	return w.B
}

// DecodeAnswer reads the form of Answer.Append.
func DecodeAnswer(b []byte) (a Answer, err error) {
	r := wire.NewReader(b)
	claims := r.U8()
	a.Claims, a.Seq = claims == 1, r.U64()
	ok := items(r, leaderSize, func(r *wire.Reader) bool {
		a.Leaders = append(a.Leaders, decodeLeader(r))
		return true
	})
	return a, checked(r, ok && claims <= 1)
}

// AppendQuestion appends the question of Ask.
func AppendQuestion(b []byte, about Leader) []byte {
	w := wire.Writer{B: b}
	about.encode(&w)
	return w.B
}

// DecodeQuestion reads the form of AppendQuestion.
func DecodeQuestion(b []byte) (about Leader, err error) {
	r := wire.NewReader(b)
	about = decodeLeader(r)
	return about, checked(r, about.Journal == 0)
}

// Append appends the answer to a question.
func (p *Reply) Append(b []byte) []byte {
	w := wire.Writer{B: b}
	w.U8(uint8(p.Opinion))
	p.Controller.encode(&w)
	return w.B
}

// DecodeReply reads the form of Reply.Append.
func DecodeReply(b []byte) (p Reply, err error) {
	r := wire.NewReader(b)
	p.Opinion, p.Controller = Opinion(r.U8()), decodeLeader(r)
	return p, checked(r, p.Opinion >= Alive && p.Opinion <= Standing && p.Controller.Journal == 0)
}

// AppendProbed appends the answer to a request to probe the store, whose body is empty.
func AppendProbed(b []byte, ok bool) []byte {
	return append(b, bit(ok, 1))
}

// DecodeProbed reads the form of AppendProbed.
func DecodeProbed(b []byte) (ok bool, err error) {
	r := wire.NewReader(b)
	v := r.U8()
	return v == 1, checked(r, v <= 1)
}

// Append appends the request for a journal.
func (h HandOver) Append(b []byte) []byte {
	w := wire.Writer{B: b}
	w.U32(h.Journal)
	w.U32(h.Number)
	return w.B
}

// DecodeHandOver reads the form of HandOver.Append.
func DecodeHandOver(b []byte) (h HandOver, err error) {
	r := wire.NewReader(b)
	h = HandOver{Journal: r.U32(), Number: r.U32()}
	return h, checked(r, h.Journal > 0 && h.Number > 0)
}

// Append appends the answer to a request for a journal.
func (h Handing) Append(b []byte) []byte { return append(b, uint8(h)) }

// DecodeHanding reads the form of Handing.Append.
func DecodeHanding(b []byte) (Handing, error) {
	r := wire.NewReader(b)
	h := Handing(r.U8())
	return h, checked(r, h >= Hands && h <= Denies)
}

// AppendInternalTopic appends the request for a topic that the cluster keeps for itself. Its
// answer is the seq of journal 0 that has the topic, of AppendSeq.
func AppendInternalTopic(b []byte, name string) []byte {
	w := wire.Writer{B: b}
	w.String16(name)
	return w.B
}

// DecodeInternalTopic reads the form of AppendInternalTopic.
func DecodeInternalTopic(b []byte) (name string, err error) {
	r := wire.NewReader(b)
	name = r.String16()
	return name, checked(r, metadata.IsInternal(name))
}

// AppendSeq appends a seq of journal 0.
func AppendSeq(b []byte, seq uint64) []byte {
	w := wire.Writer{B: b}
	w.U64(seq)
	return w.B
}

// DecodeSeq reads the form of AppendSeq.
func DecodeSeq(b []byte) (seq uint64, err error) {
	r := wire.NewReader(b)
	seq = r.U64()
	return seq, checked(r, seq > 0)
}

// AppendProducerIDs appends the answer to a request for producer ids, whose body is empty.
func AppendProducerIDs(b []byte, ids metadata.ProducerIDBlock) []byte {
	w := wire.Writer{B: b}
	w.I64(ids.Next)
	w.U32(uint32(ids.End - ids.Next))
	return w.B
}

// DecodeProducerIDs reads the form of AppendProducerIDs.
func DecodeProducerIDs(b []byte) (ids metadata.ProducerIDBlock, err error) {
	r := wire.NewReader(b)
	ids.Next = r.I64()
	n := int64(r.U32())
	ids.End = ids.Next + n
	return ids, checked(r, ids.Next > 0 && n > 0 && ids.End > 0)
}
