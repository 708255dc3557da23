package history

import (
	"fmt"
	"time"
)

// Promise is the guarantees that a producer asks of the log.
type Promise struct {
	Name       string
	Acks       int  // -1: in the bucket, 1: on the leader's disk
	Idempotent bool // no value twice
	InOrder    bool // the values of a partition in the order in which they were sent
}

type outcome uint8

const (
	pending outcome = iota
	acked
	refused // certainly not in the log
	unknown
)

func (o outcome) String() string {
	return [...]string{"under way", "acknowledged", "refused", "of unknown outcome"}[o]
}

// send is one value under way.
type send struct {
	offset    int64 // -1: not known
	invokedMs uint32
	endedMs   uint32
	partition int32
	outcome   outcome
}

// Producer is one client that sends.
type Producer struct {
	Promise
	history *History
	index   int
	sends   []send  // by number
	last    []Value // by partition: the one acknowledged at the highest offset; 0: none
	counts  [unknown + 1]int
}

// NewProducer adds a producer.
func (h *History) NewProducer(promise Promise) *Producer {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &Producer{Promise: promise, history: h, index: len(h.mu.producers), last: make([]Value, len(h.mu.logs))}
	h.mu.producers = append(h.mu.producers, p)
	return p
}

// Send notes that a new value is about to be sent, and returns it. It must be
// called in the order of sending.
func (p *Producer) Send(partition int32) Value {
	h := p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	v := valueOf(p.index, uint64(len(p.sends)))
	p.sends = append(p.sends, send{offset: -1, invokedMs: h.nowMs(), partition: partition})
	return v
}

// Acked notes that the value was acknowledged, at an offset or, if the client
// does not report it, at -1.
func (p *Producer) Acked(v Value, offset int64) {
	h := p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	s := p.end(v, acked)
	s.offset = offset
	if offset < 0 {
		return
	}
	log := &h.mu.logs[s.partition]
	if other := log.at(offset); other != 0 && other != v && !h.excusableLocked(p, s) {
		h.noteLocked(OffsetReuse, "%s, but there %v had been read", h.describeLocked(v), other)
	}
	if best := p.sent(p.last[s.partition]); best == nil || offset > best.offset {
		p.last[s.partition] = v
	}
	if p.Acks == -1 {
		log.committed = max(log.committed, offset+1)
	}
}

// Failed notes that the value was refused: it must never be read.
func (p *Producer) Failed(v Value) { p.ended(v, refused) }

// Unknown notes that the client has given up on a value and does not know its
// outcome.
func (p *Producer) Unknown(v Value) { p.ended(v, unknown) }

func (p *Producer) ended(v Value, o outcome) {
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	p.end(v, o)
}

func (p *Producer) end(v Value, o outcome) *send {
	s := p.sent(v)
	if s == nil {
		panic(fmt.Sprintf("history: producer %d got the outcome of %v, which it has not sent", p.index, v))
	}
	s.outcome, s.endedMs = o, p.history.nowMs()
	p.counts[o]++
	return s
}

// sent returns the state of one of the producer's values, nil if it is not one.
func (p *Producer) sent(v Value) *send {
	if v.producer() != p.index || v.number() >= uint64(len(p.sends)) {
		return nil
	}
	return &p.sends[v.number()]
}

// Pending returns how many values have no outcome yet.
func (p *Producer) Pending() int {
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	return len(p.sends) - p.counts[acked] - p.counts[refused] - p.counts[unknown]
}

// findLocked returns the producer of a value, and its state; nil if there is
// none.
func (h *History) findLocked(v Value) (*Producer, *send) {
	i := v.producer()
	if i < 1 || i >= len(h.mu.producers) {
		return nil, nil
	}
	p := h.mu.producers[i]
	return p, p.sent(v)
}

// excusableLocked reports whether the value was acknowledged by a disk that was
// lost since, and is not known to have been in the bucket by then.
func (h *History) excusableLocked(p *Producer, s *send) bool {
	if p.Acks == -1 {
		return false
	}
	for _, l := range h.mu.losses {
		if s.invokedMs <= l.endMs && s.offset >= l.committed[s.partition] {
			return true
		}
	}
	return false
}

// describeLocked describes the history of a value.
func (h *History) describeLocked(v Value) string {
	p, s := h.findLocked(v)
	if s == nil {
		return fmt.Sprintf("%v (not sent by any producer)", v)
	}
	at := func(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }
	text := fmt.Sprintf("%v (%s, acks=%d) sent at %v to partition %d is %v", v, p.Name, p.Acks, at(s.invokedMs), s.partition, s.outcome)
	if s.outcome != pending {
		text += fmt.Sprintf(" since %v", at(s.endedMs))
	}
	if s.offset >= 0 {
		text += fmt.Sprintf(", at offset %d", s.offset)
	}
	return text
}
