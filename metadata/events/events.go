// Package events keeps the last changes of a cluster of nodes, for people who ask what
// happened.
//
// It owns a Log: the starts of nodes, their states and fences, the assignments of journals,
// and which node led a journal and for how long that took. The caller feeds it with the states
// of journal 0 in their order, and with the leaderships that it learns of. It promises a
// bounded memory, and that feeding it waits for no output: Write writes a line for each event
// into the log of the process. Events begin with the process, and their times are those at
// which the process learnt of them. It decides nothing.
package events

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// Kind is the kind of an event.
type Kind string

// The kinds.
const (
	Started  Kind = "started"  // a run of a node was registered
	State    Kind = "state"    // a node serves, leaves, is drained or removed: Why
	Fenced   Kind = "fenced"   // the cluster does not count on a node any more; Why is the evidence
	Unfenced Kind = "unfenced" // it counts on it again
	Assigned Kind = "assigned" // a journal has another node, or home
	Led      Kind = "led"      // a node leads a journal; Took is the time since the assignment
	Ended    Kind = "ended"    // a leadership has ended
	Journals Kind = "journals" // there are more data journals: Journal is the last one
	Level    Kind = "level"    // the feature level was raised, to Epoch
)

// WhyController is the reason for the leadership of journal 0, which has no assignment.
const WhyController = "controller"

// Event is a change of a cluster.
type Event struct {
	Number  uint64 // counts the events of the process, from 1
	At      time.Time
	Kind    Kind
	Node    int32  // broker id; 0: none
	Journal uint32 // of Assigned, Led, Ended and Journals
	Epoch   uint32 // of Led and Ended; the number of Assigned; the level of Level
	Why     string
	Took    time.Duration // 0: not known
}

// maxEvents limits the events that are kept: those of some hours of restarts.
const maxEvents = 1000

// Options describe a Log.
type Options struct {
	Self segment.ID // the data folder of this node
	Now  func() time.Time
	Log  *slog.Logger
	// OnTakeOver is called when this node leads a journal, with the reason and the time since
	// the assignment, 0 if that is not known. It must not block, and may be left out.
	OnTakeOver func(why string, took time.Duration)
}

// Log keeps events. It is safe for concurrent use.
type Log struct {
	opt     Options
	written uint64 // number of the last event in the log of the process, of Write

	mu       sync.Mutex
	ring     []Event // the last ones, oldest first
	count    uint64
	cluster  *metadata.Cluster        // the last state; nil: none yet
	fenced   map[segment.ID]time.Time // since when, of those fenced since the first state
	journals map[uint32]*journal
}

// journal is the knowledge of one journal.
type journal struct {
	assigned time.Time // zero: before the first state, or its leader is there
	leader   segment.ID
	epoch    uint32 // of leader
	ended    time.Time
}

// New returns an empty Log.
func New(opt Options) *Log {
	return &Log{opt: opt, fenced: map[segment.ID]time.Time{}, journals: map[uint32]*journal{}}
}

// Since returns the events after a number, oldest first. Those that are no longer kept are
// left out. A number that was not reached is one of an earlier process: all are returned.
func (l *Log) Since(number uint64) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number > l.count {
		number = 0
	}
	kept := uint64(len(l.ring))
	left := min(l.count-number, kept)
	return append([]Event(nil), l.ring[kept-left:]...)
}

// FencedSince returns when a node was fenced; zero if it is not, or was before the first
// state.
func (l *Log) FencedSince(node segment.ID) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced[node]
}

// Write writes the events since the last call into the log of the process. One goroutine
// calls it.
func (l *Log) Write() {
	for _, e := range l.Since(l.written) {
		l.written = e.Number
		l.opt.Log.Log(context.Background(), slog.LevelInfo, "cluster", e.attrs()...)
	}
}

// addLocked adds an event.
func (l *Log) addLocked(e Event) {
	l.count++
	e.Number, e.At = l.count, l.opt.Now()
	if len(l.ring) >= maxEvents {
		l.ring = append(l.ring[:0:0], l.ring[1+maxEvents/10:]...)
	}
	l.ring = append(l.ring, e)
}

// attrs is the event for the log of the process.
func (e *Event) attrs() []any {
	attrs := []any{"event", string(e.Kind), "at", e.At.UTC().Format("15:04:05.000")}
	if e.Node != 0 {
		attrs = append(attrs, "node", e.Node)
	}
	switch e.Kind {
	case Assigned:
		attrs = append(attrs, "journal", e.Journal, "number", e.Epoch)
	case Led, Ended:
		attrs = append(attrs, "journal", e.Journal, "epoch", e.Epoch)
	case Journals:
		attrs = append(attrs, "last", e.Journal)
	case Level:
		attrs = append(attrs, "level", e.Epoch)
	}
	if e.Why != "" {
		attrs = append(attrs, "why", e.Why)
	}
	if e.Took > 0 {
		attrs = append(attrs, "took", e.Took.Round(time.Millisecond))
	}
	return attrs
}

// of returns the knowledge of a journal.
func (l *Log) of(id uint32) *journal {
	j := l.journals[id]
	if j == nil {
		j = &journal{}
		l.journals[id] = j
	}
	return j
}
