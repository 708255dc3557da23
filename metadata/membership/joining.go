package membership

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// The reasons why a node is not registered.
var (
	// ErrInUse: another process answers with the same data folder.
	ErrInUse = errors.New("another process runs with a copy of this data folder: start this one with an empty folder")
	// ErrWrongAddress: the node is not reached under the address that it advertises.
	ErrWrongAddress = errors.New("the node does not answer at the address that it advertises: other nodes must reach it there")
)

// joinTries is how many handshakes with an advertised address may time out.
const joinTries = 2

// join is a run that waits to be registered. It must answer at its address, and the run
// that is registered must not answer any more.
type join struct {
	node     segment.ID
	run      metadata.Run
	before   metadata.Run // zero: none is registered, or none is to be asked
	token    uint64       // of the handshake under way
	asked    time.Time
	checking bool // the handshake is with the run before
	tries    int
}

func (j *Judge) joining(ev Joining) {
	if !j.leading {
		j.do(Join{ev.Token, metadata.ErrNotController})
		return
	}
	n := j.cluster.Node(ev.Node)
	switch {
	case n != nil && n.State == metadata.StateRemoved:
		j.do(Join{ev.Token, metadata.ErrRemovedNode})
		return
	case ev.Node == j.self:
		j.do(Join{ev.Token, nil})
		return
	}
	x := &join{node: ev.Node, run: ev.Run}
	if n != nil && n.State != 0 && n.Run.Start != ev.Run.Start {
		x.before, x.checking = n.Run, true
	}
	j.joins[ev.Token] = x
	j.dialJoin(x)
}

func (j *Judge) dialJoin(x *join) {
	x.token, x.asked = j.detector.next(), j.now
	run := x.run
	if x.checking {
		run = x.before
	}
	j.do(Dial{x.token, x.node, run})
}

// dialedBack takes the end of a handshake with a node that joins.
func (j *Judge) dialedBack(ev Dialed) {
	for _, token := range sortedKeys(j.joins) {
		if x := j.joins[token]; x.token == ev.Token {
			j.judgeJoin(token, x, ev.Outcome)
		}
	}
}

func (j *Judge) judgeJoin(token uint64, x *join, o Outcome) {
	switch {
	case x.checking && o == Proved:
		j.answer(token, ErrInUse)
	case x.checking: // a run that does not answer has ended, as far as is known
		x.checking = false
		j.dialJoin(x)
	case o == Proved:
		j.answer(token, nil)
	case o == TimedOut && x.tries+1 < joinTries:
		x.tries++
		j.dialJoin(x)
	default:
		j.answer(token, fmt.Errorf("%w: %s, %s", ErrWrongAddress, addresses(x.run), o))
	}
}

// expireJoins gives up handshakes whose end was lost.
func (j *Judge) expireJoins() {
	for _, token := range sortedKeys(j.joins) {
		if x := j.joins[token]; j.now.Sub(x.asked) > 2*HandshakeLimit {
			j.judgeJoin(token, x, TimedOut)
		}
	}
}

func (j *Judge) answer(token uint64, err error) {
	delete(j.joins, token)
	j.do(Join{token, err})
}

func addresses(r metadata.Run) (all string) {
	for i, l := range r.Listeners {
		if i > 0 {
			all += ", "
		}
		all += fmt.Sprintf("%s://%s:%d", l.Name, l.Host, l.Port)
	}
	return all
}

func (o Outcome) String() string {
	switch o {
	case Proved:
		return "proved"
	case Refused:
		return "the connection is refused"
	case Replaced:
		return "another process answers there"
	}
	return "no answer"
}
