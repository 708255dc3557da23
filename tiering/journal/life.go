package journal

import (
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// Stage is where a Life stands.
type Stage uint8

// The stages of a Life, which come again and again in this order.
const (
	StageFollows   Stage = iota // it applies all that is committed
	StageTakesOver              // it reads to the end, fences and settles
	StageLeads                  // it commits, until it is deposed or resigns
)

// Life is the Machine of a journal over all that a node does with it. It follows, takes
// over, leads, and follows again, on one chain and one state. Each leadership has a Machine
// of its own, which is used once: Ended is its end, whether another node has fenced, or it
// was given up. All Machines of a Life apply to the same state (metadata/CLUSTER.md, rule 1).
//
// It decides nothing about the protocol, which is the matter of Core, and nothing about
// which node is to lead. It has no goroutine, clock or I/O, and is owned by the goroutine
// of its Owner.
type Life struct {
	owner   *Owner
	follows Machine
	leads   Machine // of the present leadership, or the way to it; nil: it follows
	led     bool    // leads has the journal
	onLost  func(err error) error
}

// NewLife returns the Machine for an Owner. follows is its part without a leadership.
// onLost is called after the end of each leadership, and of each way to one, with the
// reason; nil: it was given up. The Owner ends with the error that it returns, and
// follows on if it returns nil.
func NewLife(o *Owner, follows Machine, onLost func(err error) error) *Life {
	return &Life{owner: o, follows: follows, onLost: onLost}
}

// Stand has a Life that follows take the journal over, for the Machine of the leadership.
// The incarnation names that leadership, and was never used before.
func (l *Life) Stand(m Machine, incarnation segment.ID) {
	if l.leads != nil {
		panic("journal: stands during a leadership")
	}
	l.leads = m
	l.owner.Stand(incarnation)
}

// Resign ends the leadership, or the way to it. err is the reason for it, and may be nil.
func (l *Life) Resign(err error) { l.owner.Resign(err) }

// Stage is where it stands.
func (l *Life) Stage() Stage {
	switch {
	case l.leads == nil:
		return StageFollows
	case !l.led:
		return StageTakesOver
	}
	return StageLeads
}

func (l *Life) present() Machine {
	if l.leads != nil {
		return l.leads
	}
	return l.follows
}

// Apply implements Machine.
func (l *Life) Apply(o *Object, own bool) error { return l.present().Apply(o, own) }

// Led implements Machine.
func (l *Life) Led(epoch uint32) {
	l.led = true
	l.leads.Led(epoch)
}

// Deposed implements Machine.
func (l *Life) Deposed(err error) error {
	m := l.leads
	l.leads, l.led = nil, false
	m.Ended(err)
	return l.onLost(err)
}

// AtHead implements Machine.
func (l *Life) AtHead() { l.present().AtHead() }

// Stalled implements Machine.
func (l *Life) Stalled(seq uint64) { l.present().Stalled(seq) }

// Progress implements Machine.
func (l *Life) Progress() (next time.Time, err error) { return l.present().Progress() }

// Ready implements Machine.
func (l *Life) Ready() bool { return l.present().Ready() }

// PlanCheckpoint implements Machine.
func (l *Life) PlanCheckpoint(chain Chain, history History) CheckpointJob {
	return l.present().PlanCheckpoint(chain, history)
}

// Checkpointed implements Machine.
func (l *Life) Checkpointed(res CheckpointResult) (hurry bool) { return l.present().Checkpointed(res) }

// Ended implements Machine.
func (l *Life) Ended(err error) {
	if m := l.leads; m != nil {
		l.leads, l.led = nil, false
		m.Ended(err)
	}
	l.follows.Ended(err)
}
