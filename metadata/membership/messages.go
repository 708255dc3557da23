package membership

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// The times of the rules, which metadata/CLUSTER.md explains.
const (
	// HeartbeatEvery is the time between two heartbeats of a node.
	HeartbeatEvery = 500 * time.Millisecond
	// HandshakeLimit bounds a handshake, and a question to another node.
	HandshakeLimit = time.Second
	// LookLimit bounds a look at the head of a journal.
	LookLimit = 500 * time.Millisecond
	// ProbeLimit bounds a probe of the store.
	ProbeLimit = 2 * time.Second
	// TickEvery is the longest time between two events of a core: a Tick if there is no
	// other.
	TickEvery = 100 * time.Millisecond
)

// Outcome is how a handshake ended. A handshake proves the cluster, the data folder and the
// start; a connection that is merely accepted proves nothing.
type Outcome uint8

// The outcomes.
const (
	Proved   Outcome = 1 + iota
	Refused          // no process listens at the address
	Replaced         // another cluster, data folder or start answers
	TimedOut         // neither within HandshakeLimit
)

// Leader is a leadership of a journal, as a node claims it. A reader of the bucket checks it
// by an object that was sent once the leadership was settled, or settled it. A fence alone may
// lie where the log has ended long ago.
type Leader struct {
	Journal uint32
	Node    segment.ID
	Epoch   uint32
	Settled segment.Ref // the last filler of its window, or data of it that was committed since
	Head    uint64      // committed; only shown
}

// Heartbeat is the report of a node to the controller.
type Heartbeat struct {
	Node, Start segment.ID
	Applied     uint64 // seq of journal 0
	Leaving     bool   // the run is to end, and hands its journals over before
	Journals    []Report
}

// Report is a journal that a node leads or takes.
type Report struct {
	Leader
	Leads      bool          // false: it takes the journal
	Taking     time.Duration // since when; 0 if it leads
	Idle       time.Duration // since the loop of the journal last ran
	Blocked    bool          // it has something to commit or to take, and a probe of the store fails
	Reconciled uint64        // seq of journal 0 that it has followed
	Load       uint64        // bytes a second
	Declined   uint32        // it leads, and keeps the journal in spite of this assignment; 0: of none
}

// Answer is the controller's answer to a heartbeat.
type Answer struct {
	Claims  bool     // false: the node leads journal 0 no more, or not yet
	Seq     uint64   // the newest of journal 0
	Leaders []Leader // of all journals, 0 too, as far as the node believes them
}

// Opinion is an answer about the controller to a node that asks. The zero value is
// no opinion.
type Opinion uint8

// The opinions.
const (
	Alive    Opinion = 1 + iota // it answered lately, the connection stands, it claims journal 0
	Dead                        // refused, replaced, or it resigned
	Silent                      // none of both
	Standing                    // the node that is asked stands for controller itself
)

// Reply is the answer of a node to a question about the controller.
type Reply struct {
	Opinion    Opinion
	Controller Leader // about whom; zero: it knows of none
}

// HandOver asks the node of the last fence of a journal to end its leadership. The node that
// asks has the journal by this assignment.
type HandOver struct{ Journal, Number uint32 }

// Handing is the answer to HandOver.
type Handing uint8

// The answers.
const (
	Hands  Handing = 1 + iota // it ends its leadership as soon as it has flushed
	Keeps                     // it leads, and does not know this assignment or declines
	Denies                    // it does not lead the journal
)

// Event is something that happened: one of the types below.
type Event interface{ event() }

// Events of more than one core.
type (
	// Tick lets time pass.
	Tick struct{}
	// Applied is a new state of journal 0.
	Applied struct{ Cluster *metadata.Cluster }
	// Dialed is the end of a handshake that Dial asked for.
	Dialed struct {
		Token   uint64
		Outcome Outcome
	}
	// Looked is the end of a Look. Head is the highest seq of the journal that was seen.
	Looked struct {
		Journal uint32
		Head    uint64
		Failed  bool
	}
	// Probed is the end of a Probe.
	Probed struct {
		Token uint64
		OK    bool
	}
)

// Action is something to do: one of the types below.
type Action interface{ action() }

// Actions of more than one core.
type (
	// Dial asks for a handshake with a run of a node, within HandshakeLimit; Dialed follows.
	Dial struct {
		Token uint64
		Node  segment.ID
		Run   metadata.Run
	}
	// Look asks how far a journal has come, within LookLimit; Looked follows. It must not
	// read the next object: its key may be locked.
	Look struct{ Journal uint32 }
	// Probe asks whether a node can write to the store, within ProbeLimit and at a key of
	// its own; Probed follows.
	Probe struct {
		Token uint64
		Node  segment.ID
	}
)

func (Tick) event()    {}
func (Applied) event() {}
func (Dialed) event()  {}
func (Looked) event()  {}
func (Probed) event()  {}

func (Dial) action()  {}
func (Look) action()  {}
func (Probe) action() {}
