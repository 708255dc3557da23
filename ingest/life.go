package ingest

import (
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// life is the journal.Machine of a data journal on this node, over all its leaderships: a
// machine each, and between them only the state moves on.
type life struct {
	*journal.Life
	pace *journal.Pace
	led  *machine // of the last leadership, or the way to it
}

func newLife(opt Options, o *journal.Owner) *life {
	apply := func(obj *journal.Object) error {
		if err := opt.State.Apply(obj.Footer, obj.Entries); err != nil {
			return err
		}
		opt.Followed(obj)
		return nil
	}
	l := &life{Life: journal.NewLife(o, journal.NewFollowing(o, apply, opt.Pace), opt.OnLost), pace: opt.Pace}
	l.OnEnd = opt.OnEnd
	return l
}

// lead begins to take the journal over. It follows now.
func (l *life) lead(m *machine, incarnation segment.ID) {
	m.resign, m.handOver, m.takeBack = l.Resign, l.HandOver, l.TakeBack
	l.led = m
	l.Stand(m, journal.Stand{Incarnation: incarnation})
}

// leads reports whether a leadership, or the way to it, goes on.
func (l *life) leads() bool { return l.Stage() != journal.StageFollows }

// full reports whether requests must wait.
func (l *life) full() bool { return l.leads() && (l.led.full() != nil || l.led.stopped) }

// signal returns the channel for the changes outside of the journal.
func (l *life) signal() <-chan struct{} {
	if l.leads() {
		return l.led.signal
	}
	return l.pace.Changed()
}
