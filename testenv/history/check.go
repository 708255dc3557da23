package history

import (
	"fmt"
	"slices"
	"strings"
)

// Result is the outcome of a check.
type Result struct {
	Sent      int          `json:"sent"`
	Acked     int          `json:"acknowledged"`
	Refused   int          `json:"refused"`
	Unknown   int          `json:"unknown"`
	Read      int          `json:"read"`    // by all consumers
	Records   int          `json:"records"` // in the log
	Repeated  int          `json:"repeated"`
	Excused   int          `json:"excused"` // acknowledged by a disk that was lost, and lost with it
	Counts    map[Kind]int `json:"anomalies_by_kind"`
	Anomalies []Anomaly    `json:"anomalies"` // the first of each kind
}

// Check checks the history as a whole. Every value sent must have its outcome,
// or counts as unknown, and consumers must have read each partition completely
// (Complete). It may be called once.
func (h *History) Check() Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	var r Result
	seen := h.scanLogsLocked(&r)
	for _, p := range h.mu.producers[1:] {
		h.scanProducerLocked(p, seen[p.index])
		r.Sent += len(p.sends)
		r.Acked += p.counts[acked]
		r.Refused += p.counts[refused]
		r.Unknown += len(p.sends) - p.counts[acked] - p.counts[refused]
	}
	r.Read, r.Excused, r.Counts, r.Anomalies = h.mu.reads, h.mu.excused, h.mu.counts, h.mu.anomalies
	return r
}

// bitmap holds the numbers of one producer that are in the log.
type bitmap []uint64

func (b bitmap) has(number uint64) bool { return b[number/64]>>(number%64)&1 == 1 }
func (b bitmap) set(number uint64)      { b[number/64] |= 1 << (number % 64) }

// scanLogsLocked checks every value in the logs, in log order. It returns the
// values found, by producer.
func (h *History) scanLogsLocked(r *Result) []bitmap {
	seen := make([]bitmap, len(h.mu.producers))
	for i, p := range h.mu.producers[1:] {
		seen[i+1] = make(bitmap, (len(p.sends)+63)/64)
	}
	for partition := range h.mu.logs {
		highest := make([]Value, len(h.mu.producers)) // first occurrences so far
		for offset, v := range h.mu.logs[partition].values {
			if p, s := h.findLocked(v); s != nil {
				r.Records++
				if seen[p.index].has(v.number()) {
					r.Repeated++
				}
				h.scanValueLocked(int32(partition), int64(offset), v, p, s, seen[p.index], &highest[p.index])
			}
		}
	}
	return seen
}

func (h *History) scanValueLocked(partition int32, offset int64, v Value, p *Producer, s *send, seen bitmap, highest *Value) {
	again := seen.has(v.number())
	seen.set(v.number())
	if s.outcome == refused {
		h.noteLocked(AbortedRead, "%s, but it is at offset %d of partition %d", h.describeLocked(v), offset, partition)
	}
	if again {
		if p.Idempotent {
			h.noteLocked(Duplicate, "%s is at offset %d of partition %d for another time%s",
				h.describeLocked(v), offset, partition, h.aroundLocked(partition, offset))
		}
		return
	}
	// Without idempotence, a value that the client has given up on may still
	// arrive, after later ones.
	if !p.InOrder || !p.Idempotent && s.outcome != acked {
		return
	}
	if v < *highest {
		h.noteLocked(NonmonotonicSend, "%s, at offset %d of partition %d it stands after %v%s",
			h.describeLocked(v), offset, partition, *highest, h.aroundLocked(partition, offset))
	}
	*highest = max(*highest, v)
}

// scanProducerLocked checks that every acknowledgement was kept.
func (h *History) scanProducerLocked(p *Producer, seen bitmap) {
	lastOffset := make([]int64, len(h.mu.logs))
	lastValue := make([]Value, len(h.mu.logs))
	for number := range p.sends {
		s := &p.sends[number]
		if s.outcome != acked {
			continue
		}
		v := valueOf(p.index, uint64(number))
		kept := h.scanAckLocked(p, s, v, seen.has(uint64(number)))
		if !kept || !p.InOrder || s.offset < 0 {
			continue
		}
		if before := lastValue[s.partition]; before != 0 && s.offset <= lastOffset[s.partition] {
			h.noteLocked(NonmonotonicSend, "%s, but %v before it at %d", h.describeLocked(v), before, lastOffset[s.partition])
		}
		lastOffset[s.partition], lastValue[s.partition] = s.offset, v
	}
}

// scanAckLocked reports whether the acknowledgement was kept.
func (h *History) scanAckLocked(p *Producer, s *send, v Value, seen bool) bool {
	log := &h.mu.logs[s.partition]
	found := log.at(s.offset)
	switch {
	case found == v || s.offset < 0 && seen:
		return true
	case h.excusableLocked(p, s):
		h.mu.excused++
	case found != 0:
		h.noteLocked(OffsetReuse, "%s, where %s was read%s", h.describeLocked(v), h.describeLocked(found), h.aroundLocked(s.partition, s.offset))
	case s.offset >= 0 && s.offset < int64(len(log.values)):
		h.noteLocked(LostWrite, "%s, but no consumer got it, though the log goes on to %d", h.describeLocked(v), len(log.values))
	default:
		h.noteLocked(Unseen, "%s, but partition %d ends at %d", h.describeLocked(v), s.partition, len(log.values))
	}
	return false
}

// aroundLocked shows the values near an offset.
func (h *History) aroundLocked(partition int32, offset int64) string {
	var near []string
	for o := max(0, offset-3); o <= offset+3; o++ {
		if v := h.mu.logs[partition].at(o); v != 0 {
			near = append(near, fmt.Sprintf("%d: %v", o, v))
		}
	}
	return "; around it " + strings.Join(near, ", ")
}

// Total is the number of anomalies of all kinds.
func (r Result) Total() int {
	n := 0
	for _, count := range r.Counts {
		n += count
	}
	return n
}

// Kinds returns the kinds found, sorted.
func (r Result) Kinds() []Kind {
	kinds := make([]Kind, 0, len(r.Counts))
	for kind := range r.Counts {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}
