package history

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Kind names a check by its finding.
type Kind string

// The kinds of anomalies.
const (
	// LostWrite: acknowledged at an offset below the end of the log, and not there.
	LostWrite Kind = "lost-write"
	// Unseen: acknowledged, and not in the log after it was read to its end.
	Unseen Kind = "unseen"
	// OffsetReuse: acknowledged at an offset that holds another value.
	OffsetReuse Kind = "offset-reuse"
	// InconsistentOffset: two values were read at one offset, by any consumers
	// at any times.
	InconsistentOffset Kind = "inconsistent-offset"
	// Duplicate: a value of an idempotent producer is in the log twice.
	Duplicate Kind = "duplicate"
	// AbortedRead: a value was read that the log had refused (G1a of Adya).
	AbortedRead Kind = "aborted-read"
	// Phantom: a value was read that no producer had sent, or not to that
	// partition.
	Phantom Kind = "phantom"
	// Corrupt: a record's bytes differ from those sent.
	Corrupt Kind = "corrupt"
	// PollSkip: a consumer did not get an offset between two that it got.
	PollSkip Kind = "poll-skip"
	// NonmonotonicPoll: a consumer got an offset that it was past.
	NonmonotonicPoll Kind = "nonmonotonic-poll"
	// NonmonotonicSend: values of a producer that keeps order are in another
	// one.
	NonmonotonicSend Kind = "nonmonotonic-send"
	// EndWentBack: an end offset was listed below one that was known to be
	// committed before the look-up began.
	EndWentBack Kind = "end-went-back"
	// StartWentBack: a start offset was listed below an earlier one.
	StartWentBack Kind = "start-went-back"
	// Truncated: a full read ended before an offset that had been read earlier.
	Truncated Kind = "truncated"
	// Stuck: an expected event did not come in time. Clients report it by Note.
	Stuck Kind = "stuck"
	// Refused: a client got an answer that it never may get. Clients report it
	// by Note.
	Refused Kind = "refused"
)

// Anomaly is one broken promise.
type Anomaly struct {
	Kind   Kind   `json:"kind"`
	Detail string `json:"detail"`
}

// maxDetails limits the anomalies of one kind that are kept with their details.
const maxDetails = 20

// History holds the reports of clients about the partitions 0 to n-1 of one topic.
// Its methods and those of its producers and consumers may be called
// concurrently.
type History struct {
	elapsed func() time.Duration

	mu struct {
		sync.Mutex
		logs      []partitionLog
		producers []*Producer // from index 1
		losses    []*loss
		counts    map[Kind]int
		anomalies []Anomaly
		excused   int
		reads     int
	}
}

// loss is the loss of a disk.
type loss struct {
	endMs     uint32  // the last moment of it
	committed []int64 // by partition: known to be in the bucket when it began, up to here
}

// partitionLog is a partition as read.
type partitionLog struct {
	values    []Value // by offset; 0: not read yet
	committed int64   // the end is known to be at least this
	start     int64   // highest start offset listed
}

// New returns an empty history. elapsed is the time since its beginning.
func New(partitions int, elapsed func() time.Duration) *History {
	h := &History{elapsed: elapsed}
	h.mu.logs = make([]partitionLog, partitions)
	h.mu.producers = make([]*Producer, 1)
	h.mu.counts = map[Kind]int{}
	return h
}

func (h *History) nowMs() uint32 { return uint32(h.elapsed().Milliseconds()) }

// Note adds an anomaly that a client has found itself.
func (h *History) Note(kind Kind, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteLocked(kind, format, args...)
}

func (h *History) noteLocked(kind Kind, format string, args ...any) {
	h.mu.counts[kind]++
	if h.mu.counts[kind] > maxDetails {
		return
	}
	at := time.Duration(h.nowMs()) * time.Millisecond
	h.mu.anomalies = append(h.mu.anomalies, Anomaly{Kind: kind, Detail: fmt.Sprintf("at %v: ", at) + fmt.Sprintf(format, args...)})
}

// DiskLost notes that the node's disk is lost by now. Records acknowledged by
// that disk alone may be lost too, if their offset lies beyond all that are
// known to be committed.
func (h *History) DiskLost() { h.Losing()() }

// Losing is DiskLost for a while, until end is called: a node may acknowledge records by its
// disk after another one has taken its journals, which gives their offsets away.
func (h *History) Losing() (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &loss{endMs: math.MaxUint32}
	for i := range h.mu.logs {
		l.committed = append(l.committed, h.mu.logs[i].committed)
	}
	h.mu.losses = append(h.mu.losses, l)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		l.endMs = h.nowMs()
	}
}

// Committed returns an offset that is known to be below or at the end of the
// partition, from records that were read, listed, or acknowledged by all
// replicas.
func (h *History) Committed(partition int32) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.logs[partition].committed
}

// Acknowledged returns the first offset after all that were acknowledged or
// read in the partition: a reader must reach it.
func (h *History) Acknowledged(partition int32) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := h.mu.logs[partition].committed
	for _, p := range h.mu.producers[1:] {
		if s := p.sent(p.last[partition]); s != nil && !h.excusableLocked(p, s) {
			end = max(end, s.offset+1)
		}
	}
	return end
}
