package session

import "strings"

// Topic is how a session names a topic: by a name, or by an id.
type Topic struct {
	Name string
	ID   [16]byte
}

// Ask is a client's wish for a partition.
type Ask struct {
	Offset      int64
	MaxBytes    int32
	LeaderEpoch int32
}

// Partition is one partition of a session.
type Partition struct {
	Topic *Topic // shared by the partitions of a topic; nil if the slot is free
	Index int32
	Ask   Ask

	order                   uint64 // see Order
	highWatermark, logStart int64  // as the client knows them; -1 if it does not
}

// Order is lower for partitions to be served earlier.
func (p *Partition) Order() uint64 { return p.order }

// Partitions are those of one session, each in a slot: a small number that stays the same.
type Partitions struct {
	topics  map[Topic]*named
	slots   map[place]int32
	parts   []Partition
	free    []int32
	orders  uint64 // given out so far
	strings int64  // bytes of names
}

type named struct {
	Topic
	partitions int
}

type place struct {
	topic *named
	index int32
}

// NewPartitions returns no partitions.
func NewPartitions() *Partitions {
	return &Partitions{topics: make(map[Topic]*named), slots: make(map[place]int32)}
}

// The charge for a partition, for a topic, and for a session, in bytes: measured, with
// all that package fetch and the journals keep for them.
const (
	partitionCost = 384
	topicCost     = 192
	sessionCost   = 2 << 10
)

// Size is the charge for a session with these partitions.
func (p *Partitions) Size() Size {
	return Size{
		Partitions: len(p.slots),
		Bytes:      sessionCost + partitionCost*int64(len(p.parts)) + topicCost*int64(len(p.topics)) + p.strings,
	}
}

// Growth is the most that new partitions, topics, and bytes of their names add to Size.
func Growth(topics, partitions, names int) Size {
	return Size{
		Partitions: partitions,
		Bytes:      partitionCost*int64(partitions) + topicCost*int64(topics) + int64(names),
	}
}

// Plus returns the sum of two charges.
func (s Size) Plus(o Size) Size {
	return Size{Partitions: s.Partitions + o.Partitions, Bytes: s.Bytes + o.Bytes}
}

// Len returns how many partitions there are.
func (p *Partitions) Len() int { return len(p.slots) }

// Has reports whether a partition is there.
func (p *Partitions) Has(t Topic, index int32) bool {
	_, ok := p.slots[place{p.topics[t], index}]
	return ok
}

// At returns the partition of a slot.
func (p *Partitions) At(slot int32) *Partition { return &p.parts[slot] }

// Each calls fn for each partition.
func (p *Partitions) Each(fn func(slot int32, part *Partition)) {
	for slot := range p.parts {
		if part := &p.parts[slot]; part.Topic != nil {
			fn(int32(slot), part)
		}
	}
}

// Put adds a partition, or changes the wish for it, and returns its slot.
func (p *Partitions) Put(t Topic, index int32, ask Ask) (slot int32) {
	topic := p.topics[t]
	if topic == nil {
		t.Name = strings.Clone(t.Name)
		topic = &named{Topic: t}
		p.topics[t] = topic
		p.strings += int64(len(t.Name))
	}
	at := place{topic, index}
	slot, known := p.slots[at]
	if !known {
		slot = p.newSlot()
		topic.partitions++
		p.slots[at] = slot
		p.parts[slot] = Partition{Topic: &topic.Topic, Index: index, order: p.newOrder(), highWatermark: -1, logStart: -1}
	}
	p.parts[slot].Ask = ask
	return slot
}

func (p *Partitions) newSlot() int32 {
	if last := len(p.free) - 1; last >= 0 {
		slot := p.free[last]
		p.free = p.free[:last]
		return slot
	}
	p.parts = append(p.parts, Partition{})
	return int32(len(p.parts) - 1)
}

func (p *Partitions) newOrder() uint64 {
	p.orders++
	return p.orders
}

// Forget takes a partition out, and returns the slot that it had.
func (p *Partitions) Forget(t Topic, index int32) (slot int32, ok bool) {
	topic := p.topics[t]
	if topic == nil {
		return 0, false
	}
	at := place{topic, index}
	if slot, ok = p.slots[at]; !ok {
		return 0, false
	}
	delete(p.slots, at)
	p.parts[slot] = Partition{}
	p.free = append(p.free, slot)
	if topic.partitions--; topic.partitions == 0 {
		delete(p.topics, t)
		p.strings -= int64(len(t.Name))
	}
	return slot, true
}

// Answer is the present state of a partition.
type Answer struct {
	HighWatermark, LogStart int64
	Records, Failed         bool // it has records, an error or another node to read from
}

// Answered takes the state that an answer shows, and reports whether the answer must have
// the partition. A partition with records is served after all others from then on. An
// error is sent each time, and once it is gone, so is the partition.
func (p *Partitions) Answered(slot int32, a Answer) (send bool) {
	part := &p.parts[slot]
	send = a.Records || a.Failed || a.HighWatermark != part.highWatermark || a.LogStart != part.logStart
	part.highWatermark, part.logStart = a.HighWatermark, a.LogStart
	if a.Failed {
		part.highWatermark = -1
	}
	if a.Records {
		part.order = p.newOrder()
	}
	return send
}
