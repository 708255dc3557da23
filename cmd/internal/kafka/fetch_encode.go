package kafka

import (
	"encoding/binary"
	"net"
	"slices"
)

// fetchAnswer is a Fetch response, v4 to v18. It is encoded by hand: the record
// batches go from their memory to the socket without being copied.
//
//	throttle ms      i32
//	error            i16           v7+
//	session id       i32           v7+
//	topics           array
//	  name           string        to v12
//	  id             uuid          v13+
//	  partitions     array
//	    index        i32
//	    error        i16
//	    high watermark, last stable offset i64
//	    log start    i64           v5+
//	    aborted transactions  array or null
//	    preferred read replica i32 v11+
//	    records      bytes, never null: librdkafka fails the answer on null
//	    tags         v12+: 1 = current leader (i32 id, i32 epoch), v16+
//	  tags           v12+
//	tags             v12+: 0 = node endpoints, v16+
//
// From v12 on, lengths and counts are unsigned varints of the value plus one
// (KIP-482).
type fetchAnswer struct {
	version       int16
	code          int16
	session       int32
	readCommitted bool
	topics        []fetchedTopic
	nodes         []endpoint // of the leaders named
}

type fetchedTopic struct {
	name       string
	id         [16]byte
	partitions []fetchedPartition
}

// fetchedPartition is one partition of the answer. Offsets are -1 while unknown.
type fetchedPartition struct {
	index         int32
	code          int16
	highWatermark int64
	logStart      int64
	records       [][]byte
	preferred     int32 // the node to read from; 0: this one
	leader        int32 // -1: none is named
	leaderEpoch   int32
}

// noReplica is the preferred read replica that keeps the client at this node.
const noReplica = -1

func emptyPartition(index int32) fetchedPartition {
	return fetchedPartition{index: index, highWatermark: -1, logStart: -1, leader: -1, leaderEpoch: -1}
}

func (a *fetchAnswer) addNode(b endpoint) {
	for _, n := range a.nodes {
		if n.id == b.id {
			return
		}
	}
	a.nodes = append(a.nodes, b)
}

func (p *fetchedPartition) recordBytes() int64 {
	n := int64(0)
	for _, b := range p.records {
		n += int64(len(b))
	}
	return n
}

// encode appends the response to head. The first buffer begins with head;
// records stand in buffers of their own.
func (a *fetchAnswer) encode(head []byte) net.Buffers {
	partitions := 0
	for i := range a.topics {
		partitions += len(a.topics[i].partitions)
	}
	e := fetchEncoder{small: slices.Grow(head, 64+32*len(a.topics)+perPartition*partitions), version: a.version, flexible: a.version >= fetchFlexible}
	e.int32(0) // throttle
	if a.version >= 7 {
		e.int16(a.code)
		e.int32(a.session)
	}
	e.length(len(a.topics))
	for i := range a.topics {
		e.topic(&a.topics[i], a.readCommitted)
	}
	if e.flexible {
		e.nodeTags(a.nodes)
	}
	return e.buffers()
}

// perPartition is roughly the size of a partition without its records, in
// bytes.
const perPartition = 56

// fetchEncoder collects everything but the records in one slice, with the
// places of the records.
type fetchEncoder struct {
	small    []byte
	splices  []splice
	version  int16
	flexible bool
}

// splice is records that belong before small[at].
type splice struct {
	at      int
	records [][]byte
}

func (e *fetchEncoder) int16(v int16)   { e.small = binary.BigEndian.AppendUint16(e.small, uint16(v)) }
func (e *fetchEncoder) int32(v int32)   { e.small = binary.BigEndian.AppendUint32(e.small, uint32(v)) }
func (e *fetchEncoder) int64(v int64)   { e.small = binary.BigEndian.AppendUint64(e.small, uint64(v)) }
func (e *fetchEncoder) uvarint(v int64) { e.small = binary.AppendUvarint(e.small, uint64(v)) }

// length writes the count of an array or the length of bytes.
func (e *fetchEncoder) length(n int) {
	if e.flexible {
		e.uvarint(int64(n) + 1)
	} else {
		e.int32(int32(n))
	}
}

func (e *fetchEncoder) null() {
	if e.flexible {
		e.uvarint(0)
	} else {
		e.int32(-1)
	}
}

func (e *fetchEncoder) string(s string) {
	if e.flexible {
		e.uvarint(int64(len(s)) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.small = append(e.small, s...)
}

func (e *fetchEncoder) topic(t *fetchedTopic, readCommitted bool) {
	if e.version >= fetchTopicIDs {
		e.small = append(e.small, t.id[:]...)
	} else {
		e.string(t.name)
	}
	e.length(len(t.partitions))
	for i := range t.partitions {
		e.partition(&t.partitions[i], readCommitted)
	}
	if e.flexible {
		e.uvarint(0)
	}
}

func (e *fetchEncoder) partition(p *fetchedPartition, readCommitted bool) {
	e.int32(p.index)
	e.int16(p.code)
	e.int64(p.highWatermark)
	e.int64(p.highWatermark) // last stable offset: there are no open transactions
	if e.version >= 5 {
		e.int64(p.logStart)
	}
	if readCommitted {
		e.length(0)
	} else {
		e.null()
	}
	if e.version >= fetchReplicas {
		if p.preferred == 0 {
			e.int32(noReplica)
		} else {
			e.int32(p.preferred)
		}
	}
	e.length(int(p.recordBytes()))
	if len(p.records) > 0 {
		e.splices = append(e.splices, splice{at: len(e.small), records: p.records})
	}
	if e.flexible {
		e.leaderTag(p)
	}
}

// leaderTag writes the tags of a partition: its leader if it is set.
func (e *fetchEncoder) leaderTag(p *fetchedPartition) {
	if p.leader < 0 || e.version < fetchLeaders {
		e.uvarint(0)
		return
	}
	e.uvarint(1) // tags
	e.uvarint(1) // current leader
	e.uvarint(9) // its bytes
	e.int32(p.leader)
	e.int32(p.leaderEpoch)
	e.uvarint(0) // tags of the leader
}

// nodeTags writes the tags of the response: the addresses of the leaders named.
func (e *fetchEncoder) nodeTags(nodes []endpoint) {
	if len(nodes) == 0 || e.version < fetchLeaders {
		e.uvarint(0)
		return
	}
	inner := fetchEncoder{flexible: true}
	inner.length(len(nodes))
	for _, n := range nodes {
		inner.int32(n.id)
		inner.string(n.Host)
		inner.int32(n.Port)
		if n.rack == nil {
			inner.null()
		} else {
			inner.string(*n.rack)
		}
		inner.uvarint(0)
	}
	e.uvarint(1) // tags
	e.uvarint(0) // node endpoints
	e.uvarint(int64(len(inner.small)))
	e.small = append(e.small, inner.small...)
}

func (e *fetchEncoder) buffers() net.Buffers {
	n := 1
	for _, s := range e.splices {
		n += 1 + len(s.records)
	}
	out := make(net.Buffers, 0, n)
	from := 0
	for _, s := range e.splices {
		out = append(out, e.small[from:s.at:s.at])
		out = append(out, s.records...)
		from = s.at
	}
	if from < len(e.small) || from == 0 {
		out = append(out, e.small[from:])
	}
	return out
}
