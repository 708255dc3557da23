package drive

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// Env is the process around a Driver. Its methods are called on the goroutine of the Driver
// and return at once. A done is called once, on that goroutine, within the limit or soon
// after; a Driver that gets none waits for it forever.
type Env interface {
	Network
	Bucket
	Journals

	// Now is the time of a clock that never goes back.
	Now() time.Time
	// Refused reports why the controller does not register this run. The run goes on, and
	// asks again.
	Refused(err error)
	// Exit ends the process.
	Exit(err error)
}

// Network reaches other nodes. An address is that of the first listener of a run.
type Network interface {
	// Dial makes a handshake on a new connection, and closes it. Another data folder or
	// another start than that of the run is membership.Replaced.
	Dial(node segment.ID, run metadata.Run, limit time.Duration, done func(membership.Outcome))
	// Call sends a request to a node, of which any start may answer.
	Call(node segment.ID, run metadata.Run, r Request, limit time.Duration, done func(Response))
}

// Request is a private request.
type Request struct {
	Kind peer.Kind
	Body []byte
}

// Response is the end of a Call.
type Response struct {
	Outcome membership.Outcome
	Body    []byte // if the outcome is membership.Proved and Err is nil
	Err     error  // the node has answered with it
}

// Bucket asks the store.
type Bucket interface {
	// Look lists a journal after the head that is known. It never reads the next key.
	Look(journal uint32, limit time.Duration, done func(membership.Looked))
	// Probe writes to a key of this node's own.
	Probe(limit time.Duration, done func(ok bool))
	// Check reads the header of the object that settled a claim. It is right if it is that
	// object, no fence, and of that epoch and node.
	Check(l membership.Leader, done func(right bool))
}

// Journals are the lives of journals in the process.
type Journals interface {
	// Reports are the journals that this node leads or takes, journal 0 among them.
	Reports() []membership.Report
	// Prove asks the leader of a journal here to look for a fence of another. If there is none,
	// Driver.Proved follows.
	Prove(journal uint32)
	// Poke lets journal 0 be read soon: there is more.
	Poke()

	// Stand takes journal 0. Driver.Led, Fenced or Resigned follows. It ends with Fenced,
	// and sends no fence, if it meets one that was not read before.
	Stand()
	// Resign gives journal 0 up. Driver.Resigned follows.
	Resign()
	// Yield ends the leadership of journal 0 in favour of a node. Driver.Fenced follows.
	Yield(to segment.ID)
	// Plan commits changes, all or none. Without the leadership of journal 0 it fails.
	Plan(changes []metadata.Change, done func(error))
	// StartNode commits the registration of a run. Without the leadership of journal 0 the
	// error is metadata.ErrNotController.
	StartNode(node segment.ID, run metadata.Run, done func(Registered))
}

// Registered is the answer to a request to be registered.
type Registered struct {
	ID  int32 // the broker id, if Err is nil
	Err error
}
