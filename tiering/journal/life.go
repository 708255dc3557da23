package journal

import (
	"errors"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// Stage is where a Life stands.
type Stage uint8

// The stages of a Life, which come again and again in this order.
const (
	StageFollows   Stage = iota // it applies all that is committed
	StageTakesOver              // it reads to the end, fences and settles
	StageLeads                  // it commits, until it is deposed, resigns or hands over
	StageHandsOver              // it sends the end entry, and nothing else
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
	over    bool    // and hands it over
	ended   *End    // of the newest leadership that was applied; nil: it did not end with an entry
	onLost  func(err error) error

	// OnEnd is called with each end entry of another leadership that is applied, with the
	// epoch of that. A later fence makes it void. It is set before the Owner starts, or nil.
	OnEnd func(epoch uint32, e End)
}

// NewLife returns the Machine for an Owner. follows is its part without a leadership.
// onLost is called after the end of each leadership, and of each way to one, with the
// reason; nil: it was given up. The Owner ends with the error that it returns, and
// follows on if it returns nil.
func NewLife(o *Owner, follows Machine, onLost func(err error) error) *Life {
	return &Life{owner: o, follows: follows, onLost: onLost}
}

// Stand has a Life that follows take the journal over, for the Machine of the leadership.
func (l *Life) Stand(m Machine, how Stand) {
	if l.leads != nil {
		panic("journal: stands during a leadership")
	}
	l.leads = m
	l.owner.Stand(how)
}

// Resign ends the leadership, or the way to it. err is the reason for it, and may be nil.
func (l *Life) Resign(err error) { l.owner.Resign(err) }

// errNoEnd is a journal whose readers may not know end entries.
var errNoEnd = errors.New("a node of this feature level cannot hand a journal over")

// HandOver has a leadership that leads end with an entry that names the next leader. The
// Machine of the leadership proposes nothing more, and has nothing under way. The end comes
// by Deposed, as if the leadership had been given up.
func (l *Life) HandOver(e End) error {
	switch {
	case !l.owner.Core().MayEnd():
		return errNoEnd
	case l.Stage() != StageLeads:
		return ErrEnded
	}
	l.over = true
	l.owner.HandOver(e)
	return nil
}

// TakeBack has a leadership that is handed over lead on, and reports whether it does. It
// does not once the end entry was sent: its outcome is waited for.
func (l *Life) TakeBack() bool {
	if l.over && !l.owner.Core().Ends() {
		l.owner.TakeBack()
		l.over = false
	}
	return l.Stage() == StageLeads
}

// Successor is the end entry of the newest leadership that was applied. It reports false
// if that goes on, or ended in another way, or ended before the checkpoint of the start.
func (l *Life) Successor() (End, bool) {
	if l.ended == nil {
		return End{}, false
	}
	return *l.ended, true
}

// Skipped takes note that the state has skipped to that of a newer checkpoint.
func (l *Life) Skipped() { l.ended = nil }

// Stage is where it stands.
func (l *Life) Stage() Stage {
	switch {
	case l.leads == nil:
		return StageFollows
	case !l.led:
		return StageTakesOver
	case l.over:
		return StageHandsOver
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
func (l *Life) Apply(o *Object, own bool) error {
	if err := l.present().Apply(o, own); err != nil {
		return err
	}
	h := &o.Footer.Header
	switch {
	case h.Kind == segment.KindFence:
		l.ended = nil
	case o.End != nil:
		l.ended = o.End
		if !own && l.OnEnd != nil {
			l.OnEnd(h.Epoch, *o.End)
		}
	}
	return nil
}

// Led implements Machine.
func (l *Life) Led(epoch uint32) {
	l.led = true
	l.leads.Led(epoch)
}

// Deposed implements Machine.
func (l *Life) Deposed(err error) error {
	m := l.leads
	l.leads, l.led, l.over = nil, false, false
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
		l.leads, l.led, l.over = nil, false, false
		m.Ended(err)
	}
	l.follows.Ended(err)
}
